"""A plan as tables for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.plan import CLUSTER_TIER, Cluster, LinkKind, Module, Plan
from node.routing import path
from orchestrator.plans.robust import senders


@dataclass(frozen=True)
class Section:
    title: str
    headers: Sequence[str]
    lines: Sequence[Sequence[str]]
    numbers_from: int  # first column of numbers


def sections(plan: Plan) -> Iterator[Section]:
    yield _summary(plan)
    yield _circulation(plan)
    yield _nodes(plan)
    if any(d.modules is not None for d in plan.devices):
        yield _devices(plan)
    if plan.clusters:
        yield _clusters(plan)
    yield _routes(plan)
    yield _links(plan)


def _summary(plan: Plan) -> Section:
    size = plan.padded_bytes([m.name for m in plan.modules])
    counts = [
        f"{sum(n.tier == tier for n in plan.nodes)} {tier}"
        for tier in dict.fromkeys(n.tier for n in plan.nodes)
    ]
    padded = " (padded)" if plan.payload_bytes else ""
    lines = [
        ["method", plan.method],
        ["channel", plan.channel],
        ["seed", str(plan.seed)],
        ["rounds", str(plan.rounds)],
        ["nodes", ", ".join(counts)],
        ["payload", f"{size / 1e6:.3f} MB{padded}"],
        ["links", f"{len(plan.links)}, {plan.links_backend}"],
    ]
    return Section(f"Plan {plan.run_id}", ["", ""], lines, 2)


def _circulation(plan: Plan) -> Section:
    """What is averaged where and when."""
    tiers = list(dict.fromkeys(n.tier for n in reversed(plan.nodes)))[1:]
    if any(m.over_d2d for m in plan.modules):
        tiers = [CLUSTER_TIER, *tiers]
    lines = [
        [
            m.name,
            m.task or (f"all with {m.modality}" if m.modality else "all"),
            _travels(m),
            f"{m.size:,}",
            *(_when(plan, m, tier) for tier in tiers),
        ]
        for m in plan.modules
    ]
    headers = ["module", "trained by task", "travels", "values", *(f"averaged at {tier}" for tier in tiers)]
    return Section("Circulation", headers, lines, 3)


def _travels(module: Module) -> str:
    """In what form, over what relays, and what devices make of it."""
    relay = f", {module.relay.value}" if module.relay is not None and module.over_d2d else ""
    made = {1.0: "", 0.0: ", devices keep their own"}.get(module.mix, f", {module.mix:g} of it is mixed in")
    return f"{module.precision.value}, {module.wire_bytes / 1e6:.3f} MB{relay}{made}"


def _when(plan: Plan, module: Module, tier: str) -> str:
    period = module.periods.get(tier)
    if period is None:
        return "never"
    when = "every round" if period == 1 else f"every {period} rounds"
    if module.robust is None or tier not in module.robust.tiers:
        return when
    most = max(senders(plan, module, tier).values())
    return f"{when}: {module.robust.rule} of up to {most}, {4e-6 * most * module.size:.2f} MB kept for it"


def _nodes(plan: Plan) -> Section:
    lines = [
        [
            n.id,
            n.tier,
            n.parent or "-",
            n.address or "-",
            "-" if n.position_m is None else "{:.0f}, {:.0f}".format(*n.position_m),
        ]
        for n in plan.nodes
    ]
    return Section("Nodes", ["node", "tier", "parent", "listens at", "position m"], lines, 4)


def _devices(plan: Plan) -> Section:
    """What devices do, where not all of them do the same."""
    lines = []
    for device in plan.devices:
        tasks = [t.name for t in plan.tasks if plan.executes(device.id, t.name)]
        lacking = [m.name for m in plan.modules if not plan.holds(device.id, m.name)]
        held = sum(m.size for m in plan.modules if plan.holds(device.id, m.name))
        collected = "all" if device.modalities is None else ", ".join(device.modalities)
        lines.append(
            [device.id, collected, ", ".join(tasks) or "-", ", ".join(lacking) or "-", f"{4e-6 * held:.3f}"]
        )
    return Section("Devices", ["device", "collects", "executes", "lacks", "holds MB"], lines, 4)


def _clusters(plan: Plan) -> Section:
    lines = [[c.parent, _heads(c), _exchange(c), c.objective, _tree(c)] for c in plan.clusters]
    headers = ["below", "head", "relays", "chosen by", "tree (towards the head)"]
    return Section("Device-to-device clusters", headers, lines, 5)


def _heads(cluster: Cluster) -> str:
    """In their turns, where there are several."""
    return ", ".join(dict.fromkeys([cluster.head, *(turn.head for turn in cluster.turns)]))


def _exchange(cluster: Cluster) -> str:
    if cluster.gossip is None:
        return cluster.relay.value
    gap = 1 - cluster.gossip.contraction
    return f"consensus, {cluster.gossip.iterations} iterations, spectral gap {gap:.3f}"


def _tree(cluster: Cluster) -> str:
    return ", ".join(f"{node} > {hop}" for node, hop in sorted(cluster.toward_head.items())) or "-"


def _routes(plan: Plan) -> Section:
    """The way up of each device: device to device where its modules travel so, then from parent to parent."""
    lines: list[list[str]] = []
    tops = {m.name: _top(plan, m) for m in plan.modules}
    for device in plan.devices:
        cluster = plan.cluster_of(device.id)
        for top in dict.fromkeys(tops.values()):
            names = [m.name for m in plan.modules if tops[m.name] == top]
            way = [device.id]
            if top[1] and cluster is not None:
                way += [b for _, b in path(cluster.toward_head, device.id)]
            way += _above(plan, way[-1], top[0])
            lines.append(
                [device.id, ", ".join(names) if len(set(tops.values())) > 1 else "all", " > ".join(way)]
            )
    return Section("Routes of updates", ["device", "modules", "way up"], lines, 3)


def _top(plan: Plan, module: Module) -> tuple[tuple[str, ...], bool]:
    """The tiers of aggregators that average a module, and whether it goes device to device."""
    return tuple(t for t in module.periods if t != CLUSTER_TIER), module.over_d2d


def _above(plan: Plan, node: str, tiers: Sequence[str]) -> list[str]:
    found: list[str] = []
    parent = plan.by_id[node].parent
    while parent is not None and plan.by_id[parent].tier in tiers:
        found.append(parent)
        parent = plan.by_id[parent].parent
    return found


def _links(plan: Plan) -> Section:
    size = plan.padded_bytes([m.name for m in plan.modules])
    lines = [
        [
            link.kind.value,
            link.src,
            link.dst,
            f"{link.rate_bps / 1e6:.2f}",
            f"{link.delay_s * 1e3:g}",
            f"{link.both_w:g}",
            f"{link.seconds(size):.3f}",
        ]
        for kind in LinkKind
        for link in plan.links
        if link.kind is kind
    ]
    headers = ["link", "from", "to", "Mbit/s", "delay ms", "power W", "payload s"]
    moving = len({(link.src, link.dst) for move in plan.moves for link in move.links})
    later = f" in round 0; {moving} have other rates later" if moving else ""
    return Section(f"Links, as modelled{later}", headers, lines, 3)
