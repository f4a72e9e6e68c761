"""How long a device's battery lasts: as modelled, so that who trains in which round depends on the plan alone."""

from __future__ import annotations

from collections.abc import Mapping

from node.plan import Circulation, Plan


class Battery:
    """Joules for training (seconds per sample times computing power), and for sending its modules to its parent."""

    def __init__(self, plan: Plan, device: str, circulation: Circulation) -> None:
        self._plan = plan
        self._circulation = circulation
        self._node = plan.node(device)

    def lasts(self, round_index: int, train_samples: Mapping[str, int]) -> bool:
        """Whether it holds out for this round and those before it."""
        if self._node.battery_j is None:
            return True
        training_j = self._training_j(train_samples)
        spent_j = sum(training_j + self._sending_j(r) for r in range(round_index + 1))
        return spent_j <= self._node.battery_j

    def _training_j(self, train_samples: Mapping[str, int]) -> float:
        samples = self._plan.training.epochs * sum(train_samples.values())
        return samples * self._node.sample_s * self._node.watts

    def _sending_j(self, round_index: int) -> float:
        parent = self._plan.node(self._node.parent or "")
        link = self._plan.link_at(self._node.id, parent.id, round_index)
        due = [m for m in self._plan.modules if self._circulation.due(m, parent.tier, round_index)]
        own = [m.name for m in due if self._plan.holds(self._node.id, m.name)]
        if link is None or not own:
            return 0.0
        return 8 * self._plan.padded_bytes(own) / link.rate_bps * link.power_w
