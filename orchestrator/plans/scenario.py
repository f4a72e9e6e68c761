"""The scenario: what a user writes, field by field. Units stand in the names of the keys.

`orchestrator.plans.reading` reads it, `orchestrator.plans.resolve` turns it into plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, WrapValidator

from node.errors import ScenarioError
from node.plan import (
    Limits,
    Modality,
    ModelSpec,
    PartitionSpec,
    Policy,
    Precision,
    Relay,
    RobustRule,
    TaskSpec,
    TrainingSpec,
)

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=64)]
Family = Literal["mst", "line", "ring", "star", "complete", "random-geometric"]
ChannelName = Literal["published", "physical", "table"]


def _explained(why: str) -> WrapValidator:
    """One plain sentence in place of one complaint per alternative of a union."""

    def check(value: Any, inner: Callable[[Any], Any]) -> Any:
        try:
            return inner(_tuples(value))
        except ValueError:
            raise ValueError(why) from None

    return WrapValidator(check)


def _name_alone(key: str) -> WrapValidator:
    """Lets `channel: physical` stand for `channel: {model: physical}`."""

    def widen(value: Any, inner: Callable[[Any], Any]) -> Any:
        return inner({key: value} if isinstance(value, str) else _tuples(value))

    return WrapValidator(widen)


def _tuples(value: Any) -> Any:
    """Lists as tuples: a wrapped value has left JSON, where strictness takes a list for a tuple."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ConsensusSpec(Spec):
    """When averaging with the neighbours ends."""

    iterations: Count | None = None  # default: as many as the tolerance needs, from the graph's spectral gap
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01  # what remains of the disagreement, as a share


class MoveRule(Spec):
    """A link that vanishes, appears or changes its rate; later rules of a link win."""

    round: Annotated[int, Field(ge=0)]  # from then on
    link: tuple[str, str]  # both directions of it
    gone: bool = False
    rate_bps: Positive | None = None  # default: as the channel has it


class MobilitySpec(Spec):
    """Devices walk: independent normal steps along both axes."""

    step_m: Positive  # standard deviation of a step along one axis
    every: Count = 1  # rounds between two steps
    range_m: Positive | None = None  # longer links are gone; default: none is


class D2dSpec(Spec):
    """The device-to-device graph of each cluster; methods without D2D ignore it."""

    # mst: pairs within `within_m` metres, completed by the minimum spanning tree over the seconds of a payload
    # (as published). Or a list of pairs [[device-0, device-1], ...]. Or a graph per aggregator {edge-0: ring}.
    graph: Annotated[
        Family | tuple[tuple[str, str], ...] | dict[str, Family | tuple[tuple[str, str], ...]],
        _explained(
            "must be mst, line, ring, star, complete or random-geometric, "
            "a list of pairs [[device-00, device-01], ...], or one of these per aggregator {edge-0: ring}"
        ),
    ] = "mst"
    within_m: NonNegative = 30.0  # of `mst`, where devices have positions
    radius: Annotated[float, Field(gt=0, le=2)] = 0.5  # of `random-geometric`, in a square of side 1
    # random: drawn once, from the seed. rotating: every member in its turn, one per synchronisation with the tier
    # above, from a random one on. latency, energy: the head and the tree of the smallest modelled round time or
    # energy. Or one device of each cluster.
    heads: Annotated[
        Literal["random", "rotating", "latency", "energy"] | tuple[str | int, ...],
        _explained(
            "must be random, rotating, latency or energy, "
            "or one device of each cluster, such as [0, 4] or [device-00, device-04]"
        ),
    ] = "random"
    # shortest: the paths of the least time from each member to the head, as published. latency, energy: as above.
    tree: Literal["shortest", "latency", "energy"] | None = None  # default: as `heads`, or else shortest
    relay: Relay = Relay.STORE_AND_FORWARD
    # head: updates are collected and handed out. consensus: every device averages with its neighbours over the
    # whole graph, again and again, and nobody collects.
    exchange: Literal["head", "consensus"] = "head"
    consensus: ConsensusSpec = ConsensusSpec()
    # Graphs that move: routes follow, and a device that no link joins to the others takes its uplink.
    moves: tuple[MoveRule, ...] = ()
    mobility: MobilitySpec | None = None


class DrawnTopology(Spec):
    """A cloud, edge servers in a square, and a cluster of devices around each: the published random draw."""

    kind: Literal["drawn"]
    edge_servers: Count = 10
    devices_per_cluster: Count = 4
    area_m: Positive = 5000.0  # side of the square
    min_separation_m: NonNegative = 500.0  # between edge servers
    cluster_radius_m: Positive = 1000.0  # of a cluster's centre around its edge server
    device_radius_m: Positive = 500.0  # of a device around the centre of its cluster
    seed: Annotated[int, Field(ge=0)] | None = None  # of the draw; default: the scenario's
    d2d: D2dSpec = D2dSpec()


class TreeTopology(Spec):
    """An explicit tree of any depth. Either `fanout` or `tree` says who is below whom."""

    kind: Literal["tree"]
    tiers: Annotated[tuple[Name, ...], Field(min_length=1)] = ("cloud", "edge")  # from the root down
    fanout: tuple[Count, ...] | None = None  # children per node of each tier; the last number counts devices
    # Children of the root by name: a mapping per aggregator; at the lowest tier a number of devices, or names.
    tree: dict[str, Any] | None = None
    d2d: D2dSpec = D2dSpec()


class LinkRule(Spec):
    """Sets properties of the links that it matches; a later rule wins over an earlier one."""

    from_: Annotated[str, Field(alias="from")]  # a tier ("device", "edge"), a node, or a pattern ("edge-*")
    to: str
    both: bool = False  # the other direction as well
    from_round: Annotated[int, Field(ge=0)] = 0  # it matches in this round and in later ones
    profile: str | None = None  # of deploy/profiles, such as lte; what is set beside it wins
    rate_bps: Positive | None = None
    delay_s: NonNegative | None = None  # one way
    jitter_s: NonNegative | None = None
    loss: Annotated[float, Field(ge=0, lt=1)] | None = None
    power_w: NonNegative | None = None  # drawn by the sender while it sends
    receive_w: NonNegative | None = None  # drawn by the receiver meanwhile; default: not counted


class RadioSpec(Spec):
    """Constants of one kind of radio link to use in place of those of the model `physical`."""

    bandwidth_hz: Positive | None = None
    transmit_w: Positive | None = None  # radiated
    power_w: NonNegative | None = None  # drawn by the sender while it sends
    receive_w: NonNegative | None = None  # drawn by the receiver meanwhile; default: not counted
    delay_s: NonNegative | None = None


class ChannelSpec(Spec):
    """Where the rates of the links come from. What is set beside `model` belongs to that model only."""

    model: ChannelName = "physical"
    table: str | None = None  # a file of rules, such as `hffm links measure` writes, which `links` add to
    links: tuple[LinkRule, ...] = ()  # table: all rates; physical: exceptions
    uplink: RadioSpec = RadioSpec()
    downlink: RadioSpec = RadioSpec()
    d2d: RadioSpec = RadioSpec()
    # Of `physical`. drawn: with the places, as published, mean power 2; the others have mean power 1.
    fading: Literal["drawn", "none", "rayleigh", "rician"] = "drawn"
    rician_k_db: float = 9.0  # of `rician`: power of the line of sight over that of all other paths
    fading_rounds: Count | None = None  # block fading: rounds for which a draw holds; default: all
    shadowing_db: NonNegative = 0.0  # standard deviation of log-normal shadowing
    shadowing_rounds: Count | None = None  # rounds for which a draw holds; default: all
    # own: each link has the bandwidth to itself. The others divide an edge server's among the devices that send to
    # it at once (where modules go device to device, the heads alone): equal parts, or proportionally fair ones.
    spectrum: Literal["own", "equal", "proportional-fair"] = "own"


class RobustSpec(Spec):
    """How a module's updates are combined where the mean would let one lying sender decide the result.

    The rule looks at single updates: every one is kept until the round is closed, and relays must not aggregate.
    """

    rule: RobustRule
    tiers: tuple[str, ...] | None = None  # default: the lowest tier that averages the module
    trim: Annotated[float, Field(gt=0, lt=0.5)] = 0.2  # trimmed-mean: share cut off at either end
    norm: Positive | None = (
        None  # norm-clip: longest step from the last result; default: the median of all steps
    )
    liars: Count = 1  # multi-krum: how many may lie
    keep: Count | None = None  # multi-krum: how many are averaged; default: all but the liars


class CirculationRule(Spec):
    """How some modules travel, in place of what the method says; a later rule wins over an earlier one.

    The periods say the path too: those with `cluster` go device to device, and on from the head where a tier above
    is named as well; those without take the uplink.
    """

    modules: str  # pattern: "head/*"
    methods: str = "*"  # pattern: "hf-fm-*"
    # Tier -> every how many rounds; default: as the method.
    periods: Annotated[dict[str, Count], Field(min_length=1)] | None = None
    relay: Relay | None = None  # where they go device to device; default: as topology.d2d.relay
    robust: Annotated[RobustSpec, _name_alone("rule")] | None = None  # default: the weighted mean
    # On the wire; what int8 and bf16 leave out of one version is added to the next. Default: fp32.
    precision: Precision | None = None
    # What devices go on with: the aggregate, so much of it and the rest of their own, or their own alone.
    mix: (
        Annotated[
            Literal["replace", "keep"] | Share, _explained("must be replace, keep or a share between 0 and 1")
        ]
        | None
    ) = None  # default: replace


class NetworkSpec(Spec):
    """Where nodes listen."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    base_port: Annotated[int, Field(ge=1, le=65535)] = 47100  # of the root; the others count up from it


class BoardRule(Spec):
    """Where `--launcher ssh` runs the nodes that it matches; a later rule adds to an earlier one, and wins."""

    nodes: str = "*"  # a tier ("device", "edge"), a node, or a pattern ("edge-*")
    host: str | None = None  # name, address, or an entry of ~/.ssh/config; every node needs one
    address: str | None = None  # where the other nodes reach it; default: `host`
    user: str | None = None  # this and the next three: default: as ssh is set up
    port: Annotated[int, Field(ge=1, le=65535)] | None = None  # of sshd
    key: str | None = None  # file of the private key
    known_hosts: str | None = None  # file of the hosts' keys
    python: str | None = None  # the interpreter there that has hffm installed; default: python3
    interface: str | None = None  # which the kernel shapes, with links netem or tbf; default: eth0


class DeviceSpec(Spec):
    watts: Positive = 5.0  # computing power draw when busy: the fallback where no sensor is found
    # Training on one sample takes so long where computing is modelled (`--links lab`). The default is a board ten
    # times slower than the server core that took 1.15 ms for a sample of the built-in backbone.
    sample_s: NonNegative = 0.01


class DeviceRule(Spec):
    """What some devices are like, in place of `device` and of what is drawn; a later rule wins."""

    nodes: str  # a device or a pattern: "device-0*"
    tasks: tuple[str, ...] | None = None  # that they execute; default: all that their modalities allow
    modalities: tuple[Modality, ...] | None = None  # that they collect; default: all
    compute: Positive | None = None  # how many times as fast as `device.sample_s` says
    watts: Positive | None = None
    storage_bytes: NonNegative | None = (
        None  # for modules, four bytes per value; what does not fit is not held
    )
    battery_j: Positive | None = None  # for training and sending, as modelled; then they train no more


class Published(Spec):
    """Figures of a publication, to be shown beside those of this system."""

    latency_s: float | None = None
    energy_j: float | None = None
    accuracy: float | None = None  # percent


@dataclass(frozen=True)
class Origin:
    """Where a scenario was read from."""

    file: str = "scenario"
    lines: Mapping[str, int] = field(default_factory=dict)  # key path -> line
    text: str = ""

    def error(self, key: str, why: str) -> ScenarioError:
        """One line that names the file, the line, the key and what is wrong."""
        parent = key
        while parent and parent not in self.lines:
            parent = parent[: max(parent.rfind("."), parent.rfind("["), 0)]
        line = f":{self.lines[parent]}" if parent in self.lines else ""
        where = f"{self.file}{line}: {key}: " if key else f"{self.file}{line}: "
        return ScenarioError(" ".join((where + why).split()))


class Scenario(Spec):
    name: Name
    seed: Annotated[int, Field(ge=0)] = 0
    rounds: Count = 10  # rounds of the devices
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    topology: Annotated[DrawnTopology | TreeTopology, Field(discriminator="kind")]
    channel: Annotated[ChannelSpec, _name_alone("model")] = ChannelSpec()
    tasks: Annotated[tuple[TaskSpec, ...], Field(min_length=1)]
    model: ModelSpec = ModelSpec()
    partition: PartitionSpec = PartitionSpec()
    training: TrainingSpec = TrainingSpec()
    limits: Limits = Limits()
    circulation: tuple[CirculationRule, ...] = ()
    policy: Policy | None = None  # of the methods network-aware and network-aware+d2d
    # How transfers are held to the modelled rates; auto: by the best that the machine is capable of.
    links: Literal["auto", "none", "paced", "netem", "tbf", "uml", "lab"] = "paced"
    payload_bytes: Count | None = None  # what the modules of a round are padded to in all
    network: NetworkSpec = NetworkSpec()
    nodes_per_process: Count = 1  # devices that share a process, for hundreds of them on one machine
    boards: tuple[BoardRule, ...] = ()
    device: DeviceSpec = DeviceSpec()
    devices: tuple[DeviceRule, ...] = ()
    published: dict[str, Published] = {}  # method -> figures

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def text(self) -> str:
        """As the user wrote it."""
        return self._origin.text

    def error(self, key: str, why: str) -> ScenarioError:
        return self._origin.error(key, why)
