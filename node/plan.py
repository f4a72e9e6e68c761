"""The plan: what a scenario resolves to, and the one file that every node reads.

Tiers are named; "device" is the lowest. With device-to-device links the tier "cluster" stands for the head
of each cluster, between the devices and their parent. Rounds count from 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from enum import StrEnum
from functools import cached_property
from math import gcd, prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from node.errors import PlanError

PLAN_FORMAT: Literal[1] = 1
CLUSTER_TIER = "cluster"


class Role(StrEnum):
    DEVICE = "device"
    EDGE = "edge"
    CLOUD = "cloud"


class LinkKind(StrEnum):
    D2D = "d2d"
    UPLINK = "uplink"
    DOWNLINK = "downlink"
    BACKHAUL = "backhaul"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(Frozen):
    """One identity with one role."""

    id: str
    role: Role
    tier: str
    parent: str | None = None  # None for the root only
    address: str | None = None  # "host:port" where it listens; None for a node that nobody connects to
    position_m: tuple[float, float] | None = None
    watts: float = 5.0  # computing power draw when busy: the fallback where no sensor is found
    sample_s: Annotated[float, Field(ge=0)] = 0.01  # to train on one sample, where that is modelled


class Link(Frozen):
    """Directed. A pair of nodes without a link between them is not shaped."""

    src: str
    dst: str
    kind: LinkKind
    rate_bps: Annotated[float, Field(gt=0)]
    delay_s: Annotated[float, Field(ge=0)] = 0.0  # propagation and core network, one way
    jitter_s: Annotated[float, Field(ge=0)] = 0.0
    loss: Annotated[float, Field(ge=0, lt=1)] = 0.0
    power_w: Annotated[float, Field(ge=0)] = 0.0  # drawn by the sender while it sends

    def seconds(self, size_bytes: float) -> float:
        """Modelled time from the first byte sent to the last byte received."""
        return self.delay_s + 8 * size_bytes / self.rate_bps


class Tensor(Frozen):
    """One float32 tensor of a module."""

    name: str
    shape: tuple[int, ...]
    init_std: float = 0.0  # initial values: normal with this deviation, or zero

    @property
    def size(self) -> int:
        return prod(self.shape)


class Relay(StrEnum):
    """What a relay does with the payloads that pass through it."""

    STORE_AND_FORWARD = "store-and-forward"  # each payload whole, one by one: as published
    CUT_THROUGH = "cut-through"  # each payload's chunks as they come
    AGGREGATE = "aggregate"  # its own update and its subtree's combined into one, chunk by chunk as they come


class Module(Frozen):
    """A named set of tensors that is trained, shipped and averaged as one, and its circulation."""

    name: str
    tensors: tuple[Tensor, ...]  # in ascending order of name
    task: str | None = None  # the only task that trains it; None: all tasks do
    # Tier -> every how many rounds that tier averages it. A tier that is not named never does.
    periods: dict[str, Annotated[int, Field(ge=1)]] = {}
    relay: Relay | None = None  # of what travels device to device; None: as its cluster does

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(t.size for t in self.tensors)

    @property
    def over_d2d(self) -> bool:
        """Whether it travels device to device to the cluster's head."""
        return CLUSTER_TIER in self.periods

    def due(self, tier: str, round_index: int) -> bool:
        """Whether `tier` averages it at the end of this round."""
        period = self.periods.get(tier)
        return period is not None and (round_index + 1) % period == 0


class Gossip(Frozen):
    """Consensus in the place of a head: every device averages with its neighbours, so many times."""

    edges: tuple[tuple[str, str], ...]  # the whole undirected graph, in ascending order
    iterations: Annotated[int, Field(ge=1)]
    # Second largest modulus of the eigenvalues of the Metropolis matrix over `edges`: what remains of the
    # disagreement after one more iteration. 1 less this is the spectral gap.
    contraction: Annotated[float, Field(ge=0, lt=1)]


class Turn(Frozen):
    """Head and tree of a cluster from some round on. Members that it leaves out take their uplinks."""

    first_round: Annotated[int, Field(ge=0)]
    head: str
    edges: tuple[tuple[str, str], ...]


class Cluster(Frozen):
    """The devices below one aggregator that are joined by device-to-device links."""

    parent: str  # the aggregator that the head reports to
    head: str
    edges: tuple[tuple[str, str], ...]  # the undirected spanning tree that payloads follow
    relay: Relay = Relay.STORE_AND_FORWARD
    gossip: Gossip | None = None  # given: nobody collects; the head is only who reports to the parent
    objective: str = ""  # how the head and the tree were chosen
    turns: tuple[Turn, ...] = ()  # in ascending order, the first from round 0; none: always as above
    repeats_after: Annotated[int, Field(ge=1)] | None = None  # rounds, after which the turns begin again

    @cached_property
    def toward_head(self) -> dict[str, str]:
        """Next hop of every member except the head."""
        hops: dict[str, str] = {}
        frontier = [self.head]
        while frontier:
            node = frontier.pop(0)
            for a, b in self.edges:
                for near, far in ((a, b), (b, a)):
                    if near == node and far != self.head and far not in hops:
                        hops[far] = node
                        frontier.append(far)
        return hops

    @property
    def members(self) -> list[str]:
        """In ascending order."""
        return sorted({self.head, *(node for edge in self.edges for node in edge)})

    def at(self, round_index: int) -> Cluster:
        """The cluster in this round: its head and its tree may change."""
        r = round_index % self.repeats_after if self.repeats_after else round_index
        return next((self._turned[i] for i, t in _backwards(self.turns) if t.first_round <= r), self)

    def turned(self, head: str, edges: tuple[tuple[str, str], ...]) -> Cluster:
        """With another head and tree, for good (`model_copy` would keep what was derived from the old ones)."""
        kept = {name: getattr(self, name) for name in ("parent", "relay", "gossip", "objective")}
        return Cluster(head=head, edges=edges, **kept)

    @cached_property
    def _turned(self) -> list[Cluster]:
        return [self.turned(t.head, t.edges) for t in self.turns]

    def relays(self, module: Module) -> Relay:
        """How this module goes from device to device here."""
        return module.relay or self.relay

    def children(self, node: str) -> list[str]:
        """Members whose next hop towards the head is `node`."""
        return sorted(far for far, near in self.toward_head.items() if near == node)

    def subtree(self, node: str) -> list[str]:
        """`node` and all members whose way to the head leads through it, in ascending order."""
        found = [node]
        for member in found:
            found.extend(self.children(member))
        return sorted(found)


def _backwards(turns: tuple[Turn, ...]) -> Iterator[tuple[int, Turn]]:
    return reversed(list(enumerate(turns)))


class Move(Frozen):
    """Device-to-device links from some round on: these in the place of what was between the same nodes."""

    first_round: Annotated[int, Field(ge=1)]
    links: tuple[Link, ...]


class TaskSpec(Frozen):
    """One task: questions about images, answered by choosing one of `answers`."""

    name: str
    # builtin:* are generated or bundled; the others are formats of annotation files on disk.
    source: Literal["builtin:gqa", "builtin:art", "builtin:digits", "gqa", "art", "vizwiz"]
    answers: Annotated[int, Field(ge=2)] | None = None  # None: as many as the built-in source has
    samples_per_answer: Annotated[int, Field(ge=1)] = 60  # the cap per answer, training and test together
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    annotations: str | None = None  # absolute path of the annotation file
    images: str | None = None  # absolute path of the image folder


class PartitionSpec(Frozen):
    """How the training samples of each task are dealt to the devices; test shards are IID."""

    kind: Literal["dirichlet", "iid"] = "dirichlet"
    concentration: Annotated[float, Field(gt=0)] = 0.1


class ModelSpec(Frozen):
    backbone: str = "builtin:tiny-vilt"  # or a local folder, or a hub name
    bottleneck: Annotated[int, Field(ge=1)] = 32  # of each of the two parallel adapters per layer


class TrainingSpec(Frozen):
    """AdamW over the tasks one after the other, a fresh optimizer in each round."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    epochs: Annotated[int, Field(ge=1)] = 1  # local epochs per round
    threads: Annotated[int, Field(ge=1)] = 1


class Limits(Frozen):
    """Where patience ends."""

    heartbeat_s: Annotated[float, Field(gt=0)] = 1.0
    lease_s: Annotated[float, Field(gt=0)] = 15.0  # silence after which a parent or a child counts as lost
    connect_s: Annotated[float, Field(gt=0)] = 60.0  # from the start of a child until its parent answers
    join_s: Annotated[float, Field(gt=0)] = 300.0  # from the start until all are ready
    round_s: Annotated[float, Field(gt=0)] = 900.0  # one round of devices, from command to report
    stall_s: Annotated[float, Field(gt=0)] = 30.0  # a transfer without progress
    quorum: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the children that must report


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
    # measured: as long as this machine takes; modelled: each device rests until its `sample_s` has passed for each
    # sample, for clocks that do not see computing (virtual time).
    computing: Literal["measured", "modelled"] = "measured"
    payload_bytes: Annotated[int, Field(ge=0)] | None = None  # modules of a round are padded to this in all
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    clusters: tuple[Cluster, ...] = ()
    moves: tuple[Move, ...] = ()  # in ascending order; of links that vanish, the turns of the clusters say so
    modules: tuple[Module, ...]
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
        for link in self.links:
            if not {link.src, link.dst} <= known or link.src == link.dst:
                raise ValueError(f"link {link.src} -> {link.dst}: not two nodes of the plan")
        for cluster in self.clusters:
            for one in (cluster, *(cluster.turned(t.head, t.edges) for t in cluster.turns)):
                if len(one.edges) != len(one.members) - 1 or len(one.toward_head) != len(one.members) - 1:
                    raise ValueError(f"cluster of '{one.parent}': its edges are not a tree that spans it")
                if not set(one.members) <= set(cluster.members):
                    raise ValueError(f"cluster of '{one.parent}': a turn has a member that is not of it")
            if any(m not in known or self.by_id[m].parent != cluster.parent for m in cluster.members):
                raise ValueError(f"cluster of '{cluster.parent}': a member is not its child")
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
        for move in reversed(self.moves):
            if move.first_round <= round_index:
                found = next((k for k in move.links if (k.src, k.dst) == (src, dst)), None)
                if found is not None:
                    return found
        return self.link(src, dst)

    def module(self, name: str) -> Module | None:
        return next((m for m in self.modules if m.name == name), None)

    def subtree(self, node_id: str) -> list[str]:
        """The node and everything below it."""
        found = [node_id]
        for member in found:
            found.extend(self.children(member))
        return found

    def padded_bytes(self, modules: Collection[str]) -> int:
        """Modelled size of a payload of these modules: their share, by values, of `payload_bytes`.

        Without `payload_bytes`, four bytes per value.
        """
        values = sum(m.size for m in self.modules if m.name in modules)
        if self.payload_bytes is None:
            return 4 * values
        return round(self.payload_bytes * values / sum(m.size for m in self.modules))

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

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(dump_plan(self).encode()).digest()


def dump_plan(plan: Plan) -> str:
    """The plan file: JSON, the same bytes for the same plan."""
    return json.dumps(plan.model_dump(mode="json"), indent=1) + "\n"


def load_plan(path: Path) -> Plan:
    """Reads a plan file. Raises PlanError, naming the file, the key and the remedy."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        why = f"cannot read the plan: {error.strerror}; write one with `hffm plan`"
        raise PlanError(f"{path}: {why}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(whole file)"
        raise PlanError(f"{path}: {key}: {first['msg']}; write the plan anew with `hffm plan`") from error
