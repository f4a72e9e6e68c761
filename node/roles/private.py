"""Values of one node alone, which never travel, but outlive it in its journal."""

from __future__ import annotations

from collections.abc import Mapping

from node.roles.held import Held

_BEFORE = "before/"


class Private:
    """By name, KIND:MODULE: the values of the last round, and those before it, since a round may be done again."""

    def __init__(self) -> None:
        self._last: dict[str, Held] = {}
        self._before: dict[str, Held] = {}

    def last(self, name: str) -> Held | None:
        return self._last.get(name)

    def before(self, name: str, round_index: int) -> Held | None:
        """As this round finds it, the first time and every other time."""
        last = self._last.get(name)
        return self._before.get(name) if last is not None and last.round == round_index else last

    def put(self, name: str, held: Held) -> None:
        """The values of `held.round`."""
        before = self.before(name, held.round)
        if before is not None:
            self._before[name] = before
        self._last[name] = held

    def kept(self) -> dict[str, Held]:
        return self._last | {_BEFORE + name: held for name, held in self._before.items()}

    def restore(self, kept: Mapping[str, Held]) -> None:
        for name, held in kept.items():
            known = self._before if name.startswith(_BEFORE) else self._last
            known[name.removeprefix(_BEFORE)] = held
