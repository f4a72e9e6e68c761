"""Where nodes stand in the picture of a plan: on the map if they have positions, else tier by tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import atan2, ceil, cos, floor, hypot, log10, pi, sin

from node.plan import CLUSTER_TIER, Link, LinkKind, Node, Plan, Role

Point = tuple[float, float]


@dataclass(frozen=True)
class Ground:
    """The square of a map, from round number to round number, with a line at every step. In metres."""

    left: float
    bottom: float
    span: float
    step: float

    def lines(self, start: float) -> list[float]:
        return [start + i * self.step for i in range(round(self.span / self.step) + 1)]


@dataclass(frozen=True)
class Layout:
    points: dict[str, Point]
    ground: Ground | None  # None: not a map


def layout(plan: Plan) -> Layout:
    placed = {n.id: n.position_m for n in plan.nodes if n.position_m is not None}
    if not all(n.id in placed for n in plan.nodes if n.role is not Role.CLOUD):
        return Layout(_layers(plan), None)
    ground = _ground(list(placed.values()))
    # The cloud has no place: it hovers above the map.
    cloud = (ground.left + ground.span / 2, ground.bottom + 1.11 * ground.span)
    return Layout({**_apart(placed, 0.024 * ground.span), plan.root.id: cloud}, ground)


def _ground(points: Sequence[Point]) -> Ground:
    xs, ys = zip(*points, strict=True)
    extent = max(max(xs) - min(xs), max(ys) - min(ys), 1.0)
    power = 10.0 ** floor(log10(extent / 4))
    step = max(s * power for s in (1, 2, 2.5, 5) if s * power <= extent / 4)
    starts = [max(0.0, floor(((max(v) + min(v)) / 2 - extent / 2) / step) * step) for v in (xs, ys)]
    ends = [ceil(max(v) / step) * step for v in (xs, ys)]
    span = max(extent, *(end - start for end, start in zip(ends, starts, strict=True)))
    return Ground(starts[0], starts[1], ceil(span / step - 1e-9) * step, step)


def _apart(points: dict[str, Point], least: float) -> dict[str, Point]:
    """Points nearer to each other than the width of a dot, moved apart until both can be seen."""
    moved = {name: [x, y] for name, (x, y) in points.items()}
    if len(moved) > 200:  # dots overlap anyway
        return points
    for _ in range(60):
        for (i, a), (j, b) in combinations(enumerate(moved.values()), 2):
            dx, dy = b[0] - a[0], b[1] - a[1]
            gap = hypot(dx, dy)
            if gap >= least:
                continue
            turn = atan2(dy, dx) if gap > 0 else float(i + j)
            push = (least - gap) / 2 + 0.001 * least
            for point, sign in ((a, -1), (b, 1)):
                point[0] += sign * push * cos(turn)
                point[1] += sign * push * sin(turn)
    return {name: (x, y) for name, (x, y) in moved.items()}


def _layers(plan: Plan) -> dict[str, Point]:
    """The root on top, the devices of each lowest aggregator in a circle below it, parents above the middle."""
    points: dict[str, Point] = {}
    next_x = 0.0

    def place(node: Node, depth: int) -> float:
        nonlocal next_x
        children = [plan.by_id[c] for c in plan.children(node.id)]
        devices = [c for c in children if c.role is Role.DEVICE]
        inner = [place(c, depth + 1) for c in children if c.role is not Role.DEVICE]
        if devices:
            radius = max(0.4, 0.1 * len(devices))
            x = next_x + radius
            next_x += 2 * radius + 0.7
            for i, device in enumerate(devices):
                turn = pi / 2 - 2 * pi * (i + 0.5) / len(devices)
                points[device.id] = (x + radius * cos(turn), -(depth + 0.75) - radius * (1 - sin(turn)))
            inner.append(x)
        x = (min(inner) + max(inner)) / 2
        points[node.id] = (x, -float(depth))
        return x

    place(plan.root, 0)
    return points


def used_links(plan: Plan) -> list[Link]:
    """The links that carry updates under this plan, upward; of a pair of devices, the slower direction."""
    direct = any(not m.over_d2d for m in plan.modules)
    averaged = {tier for m in plan.modules for tier in m.periods if tier != CLUSTER_TIER}
    heads = {c.head for c in plan.clusters}
    found: list[Link] = []
    for node in plan.nodes:
        if node.parent is None or (link := plan.link(node.id, node.parent)) is None:
            continue
        lonely = plan.cluster_of(node.id) is None
        reports = node.role is not Role.DEVICE or direct or lonely or node.id in heads
        if reports and plan.by_id[node.parent].tier in averaged:
            found.append(link)
    for cluster in plan.clusters:
        for a, b in cluster.edges:
            ways = [link for link in (plan.link(a, b), plan.link(b, a)) if link is not None]
            found += sorted(ways, key=lambda link: link.rate_bps)[:1]
    return sorted(found, key=lambda link: (link.kind is LinkKind.D2D, link.rate_bps))


def rounded_hull(points: Sequence[Point], pad: float) -> list[Point]:
    """Convex hull of discs of radius `pad` (Andrew's monotone chain over samples of their rims)."""
    turns = [2 * pi * i / 32 for i in range(32)]
    rim = sorted({(x + pad * cos(t), y + pad * sin(t)) for x, y in points for t in turns})
    hull: list[Point] = []
    for side in (rim, rim[::-1]):
        chain: list[Point] = []
        for p in side:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        hull += chain[:-1]
    return hull


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
