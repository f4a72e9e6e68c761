"""What a run is called among others: its method, and as much more as tells it apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orchestrator.record.summary import Summary


def labels(summaries: Sequence[Summary]) -> list[str]:
    """In the order given, no two alike; printable on one line."""
    names = [printable(s.method) for s in summaries]
    for more in (lambda s: s.channel, lambda s: f"seed {s.seed}", lambda s: s.scenario, lambda s: s.run_id):
        if len(set(names)) == len(names):
            return names
        if len({more(s) for s in summaries}) > 1:
            twice = {name for name, count in Counter(names).items() if count > 1}
            names = [
                f"{name}, {printable(more(s))}" if name in twice else name
                for name, s in zip(names, summaries, strict=True)
            ]
    seen: Counter[str] = Counter()
    for i, name in enumerate(names):
        seen[name] += 1
        names[i] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return names


def printable(name: str) -> str:
    """Names come from files: no line breaks, no terminal codes, not endlessly long."""
    return "".join(c if c.isprintable() else "?" for c in name)[:40]
