"""The plan as a whole, consistent, with what can be looked up in it."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Collection
from functools import cached_property
from itertools import pairwise
from math import gcd
from operator import itemgetter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from node.errors import PlanError
from node.plan.cluster import Cluster
from node.plan.frozen import Frozen
from node.plan.limits import Limits
from node.plan.modules import CLUSTER_TIER, Module, Precision
from node.plan.network import Link, Move, Node, Role
from node.plan.policy import Policy
from node.plan.tasks import TaskSpec
from node.plan.work import ModelSpec, PartitionSpec, TrainingSpec

PLAN_FORMAT: Literal[1] = 1


class Plan(Frozen):
    format: Literal[1] = PLAN_FORMAT
    run_id: str
    scenario: str  # its name
    method: str
    channel: str
    seed: int
    rounds: Annotated[int, Field(ge=1)]
    # none: as fast as the machine can; paced: by the sender, in user space; netem, tbf: by the kernel of the
    # namespaces, or whatever else, that the nodes run in, tbf leaving the delay to the sender; uml, lab: netem in
    # the kernel of a User-Mode Linux guest, in real and in virtual time.
    links_backend: Literal["none", "paced", "netem", "tbf", "uml", "lab"] = "paced"
    # Devices that share a process, where the launcher can: each with its own port and its own identity.
    nodes_per_process: Annotated[int, Field(ge=1)] = 1
    # measured: as long as this machine takes; modelled: each device rests until its `sample_s` has passed for each
    # sample, for clocks that do not see computing (virtual time).
    computing: Literal["measured", "modelled"] = "measured"
    # All modules of a round are padded to this, in fp32; in fewer bytes per value, to as much less.
    payload_bytes: Annotated[int, Field(ge=0)] | None = None
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    clusters: tuple[Cluster, ...] = ()
    # In ascending order: links whose rates change from round to round. Of device-to-device links that vanish, the
    # turns of the clusters say so.
    moves: tuple[Move, ...] = ()
    modules: tuple[Module, ...]
    policy: Policy | None = None  # given: the circulation of the modules is what it has decided
    model: ModelSpec
    tasks: tuple[TaskSpec, ...]
    partition: PartitionSpec
    training: TrainingSpec
    limits: Limits

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        known = {n.id for n in self.nodes}
        if len(known) != len(self.nodes):
            raise ValueError("two nodes have the same id")
        if sum(n.parent is None for n in self.nodes) != 1:
            raise ValueError("exactly one node, the root, has no parent")
        for n in self.nodes:
            seen = {n.id}
            while n.parent is not None:
                if n.parent not in known or n.parent in seen:
                    raise ValueError(f"node '{n.id}': parent '{n.parent}' is unknown or below it")
                seen.add(n.parent)
                n = self.by_id[n.parent]
            if n.role is Role.DEVICE:
                raise ValueError("the root is a device")
        for link in (*self.links, *(link for move in self.moves for link in move.links)):
            if not {link.src, link.dst} <= known or link.src == link.dst:
                raise ValueError(f"link {link.src} -> {link.dst}: not two nodes of the plan")
        if any(a.first_round >= b.first_round for a, b in pairwise(self.moves)):
            raise ValueError("moves: their rounds do not ascend")
        for cluster in self.clusters:
            for one in (cluster, *(cluster.turned(t.head, t.edges, cluster.gossip) for t in cluster.turns)):
                if len(one.edges) != len(one.members) - 1 or len(one.toward_head) != len(one.members) - 1:
                    raise ValueError(f"cluster of '{one.parent}': its edges are not a tree that spans it")
                if not set(one.members) <= set(cluster.members):
                    raise ValueError(f"cluster of '{one.parent}': a turn has a member that is not of it")
            if any(m not in known or self.by_id[m].parent != cluster.parent for m in cluster.members):
                raise ValueError(f"cluster of '{cluster.parent}': a member is not its child")
        for m in self.modules:
            quantised = m.precision is not Precision.FP32
            if quantised and m.over_d2d and any(c.hides(m) for c in self.clusters):
                raise ValueError(f"module '{m.name}': sums in transit, and a consensus, are in fp32 only")
            if (
                m.robust is not None
                and CLUSTER_TIER in m.robust.tiers
                and any(c.hides(m) for c in self.clusters)
            ):
                raise ValueError(
                    f"module '{m.name}': a robust rule at a head that does not see single updates"
                )
        return self

    @cached_property
    def by_id(self) -> dict[str, Node]:
        return {n.id: n for n in self.nodes}

    @cached_property
    def root(self) -> Node:
        return next(n for n in self.nodes if n.parent is None)

    @cached_property
    def devices(self) -> tuple[Node, ...]:
        """In the order of the plan, which is the order of the data shards."""
        return tuple(n for n in self.nodes if n.role is Role.DEVICE)

    @cached_property
    def _links(self) -> dict[tuple[str, str], Link]:
        return {(link.src, link.dst): link for link in self.links}

    @cached_property
    def _reached(self) -> dict[str, list[str]]:
        """Node -> those that it has a link to, in the order of the links."""
        found: dict[str, list[str]] = {}
        for link in self.links:
            found.setdefault(link.src, []).append(link.dst)
        return found

    @cached_property
    def _moved(self) -> dict[tuple[str, str], list[tuple[int, Link]]]:
        """Pair -> the rounds at which its link changes, in ascending order, with the link from then on."""
        found: dict[tuple[str, str], list[tuple[int, Link]]] = {}
        for move in self.moves:
            for link in move.links:
                found.setdefault((link.src, link.dst), []).append((move.first_round, link))
        return found

    @cached_property
    def _clusters(self) -> dict[str, Cluster]:
        return {member: cluster for cluster in self.clusters for member in cluster.members}

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for n in sorted(self.nodes, key=lambda n: n.id):
            if n.parent is not None:
                found.setdefault(n.parent, []).append(n.id)
        return found

    def node(self, node_id: str) -> Node:
        """Raises PlanError for an unknown name."""
        try:
            return self.by_id[node_id]
        except KeyError:
            near = ", ".join(list(self.by_id)[:5])
            raise PlanError(f"plan has no node '{node_id}'; it has {near}, ... ({len(self.nodes)})") from None

    def children(self, node_id: str) -> list[str]:
        """In ascending order."""
        return list(self._children.get(node_id, ()))

    def link(self, src: str, dst: str) -> Link | None:
        return self._links.get((src, dst))

    def link_at(self, src: str, dst: str, round_index: int) -> Link | None:
        """The same in this round: links may move."""
        later = self._moved.get((src, dst), ())
        count = bisect_right(later, round_index, key=itemgetter(0))
        return later[count - 1][1] if count else self.link(src, dst)

    def outgoing(self, src: str, round_index: int = 0) -> list[Link]:
        """What a node sends over in this round. Raises PlanError for an unknown name."""
        self.node(src)
        found = (self.link_at(src, dst, round_index) for dst in self._reached.get(src, ()))
        return [link for link in found if link is not None]

    def module(self, name: str) -> Module | None:
        return next((m for m in self.modules if m.name == name), None)

    def holds(self, node_id: str, module: str) -> bool:
        """Whether a module concerns a node: a device that has it, or whoever is above one that has."""
        return module in self._holdings[node_id]

    def holders(self, module: str) -> list[str]:
        """The devices that have it, in the order of the plan."""
        return [d.id for d in self.devices if self.holds(d.id, module)]

    def executes(self, device: str, task: str) -> bool:
        """Whether a device has samples of a task, and a head for them."""
        node, spec = self.node(device), next(t for t in self.tasks if t.name == task)
        collected = node.modalities is None or set(spec.modalities) <= set(node.modalities)
        listed = node.tasks is None or task in node.tasks
        return listed and collected and self.holds(device, f"head/{task}")

    @cached_property
    def _holdings(self) -> dict[str, frozenset[str]]:
        every = frozenset(m.name for m in self.modules)
        found = {d.id: every if d.modules is None else frozenset(d.modules) for d in self.devices}
        for node in self.nodes:
            if node.role is not Role.DEVICE:
                below = [found[d] for d in self.subtree(node.id) if self.by_id[d].role is Role.DEVICE]
                found[node.id] = frozenset().union(*below)
        return found

    def most_samples(self, module: Module) -> float:
        """Training samples that one device can have behind a module, if it had all of the data."""
        return sum(t.most_samples for t in self.tasks if module.task in (None, t.name))

    def subtree(self, node_id: str) -> list[str]:
        """The node and everything below it."""
        found = [node_id]
        for member in found:
            found.extend(self.children(member))
        return found

    def height(self, node_id: str) -> int:
        """Links on the longest way down from here; 0 for a device."""
        return 1 + max(map(self.height, self.children(node_id)), default=-1)

    def padded_bytes(self, modules: Collection[str]) -> int:
        """Modelled size of a payload of these modules: of `payload_bytes`, which is that of all in fp32, as much as
        they take on the wire.

        Without `payload_bytes`, what their values take.
        """
        size = sum(m.wire_bytes for m in self.modules if m.name in modules)
        if self.payload_bytes is None:
            return size
        return round(self.payload_bytes * size / (4 * sum(m.size for m in self.modules)))

    def cluster_of(self, device: str) -> Cluster | None:
        """The device-to-device cluster that a device belongs to."""
        return self._clusters.get(device)

    def stride(self, tier: str, remaining: int, next_round: int) -> int:
        """Rounds that an aggregator of `tier` lets its children run before it acts again."""
        periods = [m.periods[tier] for m in self.modules if tier in m.periods]
        if not periods:
            return remaining
        step = gcd(*periods)
        return min(remaining, step - next_round % step)

    def replace(self, **fields: Any) -> Plan:
        """A plan with other fields, checked anew (`model_copy` would keep what was derived from the old ones)."""
        return Plan(**{name: getattr(self, name) for name in Plan.model_fields} | fields)

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(dump_plan(self).encode()).digest()


def dump_plan(plan: Plan) -> str:
    """The plan file: JSON, the same bytes for the same plan."""
    return json.dumps(plan.model_dump(mode="json"), indent=1) + "\n"
