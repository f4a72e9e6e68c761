"""Event streams of made-up runs: what nodes of a plan would say if every link did exactly as modelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from node.plan import (
    CLUSTER_TIER,
    Cluster,
    Limits,
    Link,
    LinkKind,
    ModelSpec,
    Module,
    Node,
    PartitionSpec,
    Plan,
    Relay,
    Role,
    TaskSpec,
    Tensor,
    TrainingSpec,
)

Event = dict[str, Any]


def module(name: str, size: int, task: str | None = None, **periods: int) -> Module:
    return Module(name=name, tensors=(Tensor(name="w", shape=(size,)),), task=task, periods=periods)


def link(src: str, dst: str, kind: str, seconds_per_kb: float, power_w: float = 1.0) -> Link:
    """No delay: 1000 bytes take `seconds_per_kb`."""
    return Link(src=src, dst=dst, kind=LinkKind(kind), rate_bps=8000 / seconds_per_kb, power_w=power_w)


def plan(
    parents: Mapping[str, str],
    links: Iterable[Link],
    modules: Iterable[Module],
    *,
    clusters: Iterable[Cluster] = (),
    method: str = "hf-fm-2",
    root: str = "cloud",
    tasks: tuple[str, ...] = ("t",),
    **more: Any,
) -> Plan:
    """`parents`: child -> parent. Who has no children is a device; the others are tiers by their names."""
    inner = set(parents.values())
    nodes = [Node(id=root, role=Role.CLOUD, tier="cloud")]
    for child, parent in parents.items():
        role = Role.EDGE if child in inner else Role.DEVICE
        tier = child.rstrip("0123456789-") if child in inner else "device"
        nodes.append(Node(id=child, role=role, tier=tier, parent=parent))
    given: dict[str, Any] = {
        "run_id": f"test-{method}",
        "scenario": "test",
        "method": method,
        "channel": "table",
        "seed": 1,
        "rounds": 2,
        "nodes": tuple(nodes),
        "links": tuple(links),
        "clusters": tuple(clusters),
        "modules": tuple(modules),
        "model": ModelSpec(),
        "tasks": tuple(TaskSpec(name=t, source="builtin:gqa") for t in tasks),
        "partition": PartitionSpec(),
        "training": TrainingSpec(),
        "limits": Limits(),
    }
    return Plan(**{**given, **more})


def _one(node: str, round_index: int) -> float:
    return 1.0


def _half(node: str, task: str, round_index: int, when: str) -> tuple[int, int]:
    return 5, 10


@dataclass
class Stream:
    """Plays the circulation of a plan. The clock runs, but only seconds within events matter."""

    plan: Plan
    train_s: Callable[[str, int], float] = _one
    score: Callable[[str, str, int, str], tuple[int, int]] = _half  # right answers, questions
    stretch: Callable[[Link], float] = lambda link: 1.0  # measured over modelled
    gone: Callable[[str, int], bool] = lambda node, r: False
    events: list[Event] = field(default_factory=list)

    def play(self, rounds: int, t: float = 1000.0) -> list[Event]:
        for n in self.plan.nodes:
            self._say(n.id, "joined", t, role=n.role.value, parent=n.parent, pid=1, host="h", version="0")
        for d in self.plan.devices:
            self._say(d.id, "ready", t, samples={m.name: 10 for m in self.plan.modules})
        self._run(self.plan.root.id, 0, rounds, t)
        return self.events

    def _say(self, node: str, kind: str, t: float, **fields: Any) -> None:
        self.events.append({"t": t, "node": node, "kind": kind, **fields})

    def _run(self, node: str, first: int, count: int, t: float) -> float:
        """Rounds of one aggregator; when it is done."""
        at, end, tier = first, first + count, self.plan.by_id[node].tier
        while at < end:
            stride = self.plan.stride(tier, end - at, at)
            last, start = at + stride - 1, t
            t = max(self._child(c, node, at, stride, start) for c in self.plan.children(node))
            missing = [f"{c}: silent" for c in self.plan.children(node) if self.gone(c, last)]
            self._say(node, "phase", t, phase="aggregate", round=last, wall_s=0.01, cpu_s=0.01,
                      energy_j=0.05, energy_source="model: CPU seconds x 5 W")  # fmt: skip
            self._average(node, tier, last, self.plan.subtree(node), t)
            self._say(node, "round", start, round=last, rounds=stride, tier=tier, wall_s=t - start,
                      missing=missing)  # fmt: skip
            due = [m for m in self.plan.modules if m.due(tier, last)]
            above = self.plan.by_id[node].parent
            if due and (above is None or not due[0].due(self.plan.by_id[above].tier, last)):
                t = self._install(node, last, [m.name for m in due], t)
            at = last + 1
        return t

    def _child(self, child: str, parent: str, first: int, count: int, t: float) -> float:
        last = first + count - 1
        if self.gone(child, last):
            return t
        due = [m.name for m in self.plan.modules if m.due(self.plan.by_id[parent].tier, last)]
        if self.plan.by_id[child].role is not Role.DEVICE:
            return self._send(child, parent, last, "update", due, self._run(child, first, count, t))
        cluster = self.plan.cluster_of(child)
        if cluster is None:
            for r in range(first, last + 1):
                t = self._train(child, r, t)
                self._score(child, r, "aggregated", t) if r < last else None
            return self._send(child, parent, last, "update", due, t)
        if child != cluster.head:
            return t  # plays with its head
        for r in range(first, last + 1):
            t = self._exchange(cluster, r, t, back=r < last or not due)
        return self._send(child, parent, last, "update", due, t)

    def _exchange(self, cluster: Cluster, r: int, t: float, back: bool) -> float:
        names = [m.name for m in self.plan.modules if m.due(CLUSTER_TIER, r)]
        members = cluster.subtree(cluster.head)
        ready = {m: self._train(m, r, t) for m in members}
        origins = [cluster.head] if cluster.relay is Relay.AGGREGATE else members
        done = max(self._towards(cluster, m, r, names, ready) for m in origins)
        self._average(cluster.head, CLUSTER_TIER, r, members, done)
        return self._away(cluster, cluster.head, r, names, done) if back else done

    def _towards(self, c: Cluster, origin: str, r: int, names: list[str], ready: dict[str, float]) -> float:
        if c.relay is Relay.AGGREGATE:
            below = [self._towards(c, far, r, names, ready) for far in c.children(origin)]
            t = max([ready[origin], *below]) if origin != c.head else ready[origin]
            near = c.toward_head.get(origin)
            return self._send(origin, near, r, "update", names, t) if near else max([t, *below])
        t, node = ready[origin], origin
        while node != c.head:
            t = self._send(node, c.toward_head[node], r, "update", names, t, origin)
            node = c.toward_head[node]
        return t

    def _away(self, c: Cluster, node: str, r: int, names: list[str], t: float) -> float:
        self._score(node, r, "aggregated", t)
        ends = [self._away(c, far, r, names, self._send(node, far, r, "aggregate", names, t, c.head))
                for far in c.children(node)]  # fmt: skip
        return max(ends, default=t)

    def _install(self, node: str, r: int, names: list[str], t: float) -> float:
        ends = []
        for child in self.plan.children(node):
            if self.gone(child, r):
                continue
            there = self._send(node, child, r, "aggregate", names, t, teller=child)
            if self.plan.by_id[child].role is Role.DEVICE:
                self._score(child, r, "aggregated", there)
                ends.append(there)
            else:
                ends.append(self._install(child, r, names, there))
        end = max(ends, default=t)
        self._say(node, "installed", end, round=r, wall_s=end - t)
        return end

    def _train(self, node: str, r: int, t: float) -> float:
        if self.gone(node, r):
            return t
        s = self.train_s(node, r)
        self._say(node, "phase", t, phase="train", round=r, wall_s=2 * s, cpu_s=s, energy_j=5 * s,
                  energy_source="model: CPU seconds x 5 W")  # fmt: skip
        self._score(node, r, "local", t + 2 * s)
        return t + 2 * s

    def _score(self, node: str, r: int, when: str, t: float) -> None:
        if self.gone(node, r):
            return
        for task in self.plan.tasks:
            correct, total = self.score(node, task.name, r, when)
            names = [m.name for m in self.plan.modules if m.task in (None, task.name)]
            self._say(node, "metric", t, round=r, task=task.name, when=when, correct=correct, total=total,
                      accuracy=correct / total, loss=1.0 if when == "local" else None, train_samples=10,
                      baseline=0.2, modules=names)  # fmt: skip

    def _average(self, node: str, tier: str, r: int, members: Iterable[str], t: float) -> None:
        who = sorted(d.id for d in self.plan.devices if d.id in set(members) and not self.gone(d.id, r))
        for m in self.plan.modules:
            if m.due(tier, r):
                self._say(node, "aggregated", t, round=r, module=m.name, tier=tier, contributors=who,
                          weight=10.0 * len(who), sha256="ab" * 32)  # fmt: skip

    def _send(self, src: str, dst: str, r: int, purpose: str, names: list[str], t: float,
              origin: str | None = None, teller: str | None = None) -> float:  # fmt: skip
        if not names or self.gone(src, r):
            return t
        found, size = self.plan.link(src, dst), self.plan.padded_bytes(names)
        seconds = found.seconds(size) * self.stretch(found) if found else 0.001
        down = purpose == "aggregate"
        self._say(teller or src, "transfer", t, src=src, dst=dst, round=r, purpose=purpose, modules=names,
                  link=found.kind.value if found else "downlink" if down else "uplink", bytes=size,
                  origins=[origin or src], seconds=seconds, modelled_s=found.seconds(size) if found else None,
                  energy_j=seconds * found.power_w if found else 0.0,
                  energy_source="model: seconds x 1 W")  # fmt: skip
        return t + seconds
