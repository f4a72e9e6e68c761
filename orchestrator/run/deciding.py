"""Who decides on circulation, and when: the orchestrator, each time all tiers have averaged all that they average.

It orders the rounds in parts of the policy's longest period. Before each it decides from what the nodes have said
until then, prices links at the rates that were measured on them, and tells the root, which keeps the decision in
its journal, logs it, and says it with every command to run rounds: a node that is late, or in a new life, hears it
with the command that it obeys. The house's cost model stands above the nodes; so does who decides by it, and the
budget is held in the same figures that the tables print.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from node.plan import CirculationChange, Link, Plan, Policy
from node.waiting import Change
from orchestrator.cost.phases import at_round
from orchestrator.policy import Rates, decide
from orchestrator.record.events import Aggregated, Events, Transfer, read_events

_LEAST_BYTES = 16_384  # of a transfer that says something about a link's rate


class Keeping(Protocol):
    """What is kept of a run."""

    def event(self, event: dict[str, Any]) -> None: ...

    def add_module(self, holder: str, module: str, data: bytes) -> None: ...


class Deciding:
    """Hears what is kept of the run, and hands it on."""

    def __init__(self, plan: Plan, policy: Policy, keep: Keeping) -> None:
        self._plan = plan
        self._policy = policy
        self._keep = keep
        self._heard: list[dict[str, Any]] = []
        self._closed = -1  # the last round that the root has closed
        self._more = Change()

    def event(self, event: dict[str, Any]) -> None:
        self._keep.event(event)
        if event.get("kind") in ("aggregated", "transfer"):
            self._heard.append(event)
        if event.get("kind") == "round" and event.get("node") == self._plan.root.id:
            self._closed = max(self._closed, int(event["round"]))
            self._more.happened()

    def add_module(self, holder: str, module: str, data: bytes) -> None:
        self._keep.add_module(holder, module, data)

    async def next(self, done: int, missing: int) -> tuple[int, CirculationChange | None, str]:
        """How many rounds to order, how they circulate, and why (JSON). None: as those before them."""
        longest = self._policy.longest
        count = min(missing, longest - done % longest)
        if done % longest:
            return count, None, ""
        deadline = time.monotonic() + self._plan.limits.lease_s
        while self._closed < done - 1 and (left_s := deadline - time.monotonic()) > 0:
            await self._more.wait(left_s)
        rates, links = drift_rates(self._so_far(done)), measured_rates(self._plan, self._so_far(done), done)
        found = decide(
            with_rates(at_round(self._plan, done), links), self._policy, self._policy.modules, rates, done
        )
        why = {
            **{k: v for k, v in asdict(found).items() if k not in ("first_round", "periods")},
            "drift_per_round": {
                f"{module} at {tier}": rate for (module, tier), rate in sorted(rates.items())
            },
            "measured_bps": {f"{src} > {dst}": rate for (src, dst), rate in sorted(links.items())},
        }
        return count, CirculationChange(first_round=done, periods=found.periods), json.dumps(why)

    def _so_far(self, done: int) -> Events:
        return read_events(e for e in self._heard if isinstance(e.get("round"), int) and e["round"] < done)


def drift_rates(events: Events) -> Rates:
    """Drift per round as a share of the norm, by module and tier: of the last round in which several senders met,
    the mean over the tier's nodes by weight. Drift is taken to grow evenly between two averages."""
    last: dict[tuple[str, str], list[Aggregated]] = {}
    for e in events.aggregated:
        if e.drift is None or not e.norm or not e.rounds or (e.senders or 0) < 2:
            continue
        known = last.get((e.module, e.tier), [])
        if not known or known[0].round < e.round:
            last[e.module, e.tier] = [e]
        elif known[0].round == e.round:
            known.append(e)
    return {
        key: sum(e.weight * (e.drift or 0) / (e.norm or 1) / (e.rounds or 1) for e in same)
        / sum(e.weight for e in same)
        for key, same in last.items()
    }


def measured_rates(plan: Plan, events: Events, done: int) -> dict[tuple[str, str], float]:
    """Bits per second of each link over the last `longest` rounds, without its delay; empty where nothing holds
    transfers to the modelled rates, so that measuring them would measure this machine."""
    if plan.links_backend == "none" or plan.policy is None:
        return {}
    found: dict[tuple[str, str], list[Transfer]] = defaultdict(list)
    for t in events.transfers:
        link = plan.link_at(t.src, t.dst, t.round or 0)
        if link and t.bytes >= _LEAST_BYTES and (t.round or 0) >= done - plan.policy.longest:
            found[t.src, t.dst].append(t)
    rates = {pair: _rate_bps(plan, pair, same) for pair, same in found.items()}
    return {pair: rate for pair, rate in rates.items() if rate is not None}


def _rate_bps(plan: Plan, pair: tuple[str, str], transfers: Iterable[Transfer]) -> float | None:
    size, seconds = 0.0, 0.0
    for t in transfers:
        link = plan.link_at(*pair, t.round or 0)
        sending_s = t.seconds - t.waited_s - (link.delay_s if link else 0.0)
        if sending_s > 0:
            size, seconds = size + 8 * t.bytes, seconds + sending_s
    return size / seconds if seconds > 0 else None


def with_rates(plan: Plan, rates: Mapping[tuple[str, str], float]) -> Plan:
    """The plan with what was measured in the place of what was modelled: losses and headers are in it."""
    if not rates:
        return plan

    def known(link: Link) -> Link:
        rate = rates.get((link.src, link.dst))
        return link if rate is None else link.model_copy(update={"rate_bps": rate, "loss": 0.0})

    return plan.replace(links=tuple(map(known, plan.links)), links_backend="paced")
