"""Events as typed values: what `node/log.py` promises, checked at the door.

A kind that is not known, or an event that does not read, is counted and left out; nothing is guessed.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Finite = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Round = Annotated[int, Field(ge=-1, le=10**6)]  # -1: before the first
Names = tuple[str, ...]


class Said(BaseModel):
    """Any event: who says it, and when (Unix seconds)."""

    # Fields that, with the kind, the node and the round, say what is told of.
    about: ClassVar[tuple[str, ...]] = ()
    model_config = ConfigDict(frozen=True, extra="ignore")
    t: Finite
    node: str


class Joined(Said):
    role: str = ""
    host: str = ""
    tls: bool = False


class Ready(Said):
    samples: dict[str, Amount] = {}  # module -> training samples


class Lost(Said):
    child: str
    reason: str = ""


class Regrouped(Said):
    """A cluster goes on without a device or a link that was lost."""

    round: Round
    attempt: int
    again: bool = False  # what its devices had exchanged in this round is exchanged anew
    head: str
    lost: Names = ()  # all devices that are by now
    broken: tuple[tuple[str, str], ...] = ()  # and links
    uplink: Names = ()  # devices without a link to the others, which report to the parent themselves
    reason: str = ""


class Phase(Said):
    """Computing of one node; the energy is of computing only."""

    about = ("phase",)
    phase: str
    round: Round | None = None
    wall_s: Amount
    cpu_s: Amount = 0.0
    energy_j: Amount = 0.0
    energy_source: str = "model"


class Transfer(Said):
    about = ("src", "dst", "purpose", "modules", "origins")
    src: str
    dst: str
    link: str
    round: Round | None = None
    purpose: Literal["update", "aggregate", "snapshot"] = "update"
    modules: Names = ()
    origins: Names = ()  # whose values these are; a relay leaves them as they were
    bytes: Amount
    seconds: Amount  # from the first byte to the receipt
    waited_s: Amount = 0.0  # of these: for what is sent on, for room where it goes, or for the link
    modelled_s: Amount | None = None
    energy_j: Amount = 0.0
    energy_source: str = "model"


class Metric(Said):
    about = ("task", "when")
    round: Round
    task: str
    when: Literal["local", "aggregated"]
    correct: Amount
    total: Amount
    loss: Finite | None = None
    train_samples: Amount | None = None
    baseline: Amount | None = None  # share answered right by guessing from the question alone
    modules: Names = ()


class Aggregated(Said):
    about = ("module", "tier", "attempt")
    round: Round
    module: str
    tier: str
    attempt: int = 0  # in a cluster: of several, the highest counts
    contributors: Names = ()
    weight: Amount = 0.0
    sha256: str = ""
    rounds: Annotated[int, Field(ge=0)] | None = None  # since the version before
    senders: Annotated[int, Field(ge=1)] | None = None
    drift: Amount | None = None  # root mean square distance of what they sent to the mean
    step: Amount | None = None  # of the mean, from where they began
    norm: Amount | None = None  # of the mean


class Decided(Said):
    """How modules circulate from a round on."""

    round: Round
    periods: dict[str, dict[str, Annotated[int, Field(ge=1)]]]
    reason: str = ""  # JSON


class Consented(Said):
    """One iteration of a consensus at one device."""

    about = ("module", "step")
    round: Round
    module: str
    step: int
    iterations: int
    disagreement: Amount | None = None  # root mean square, before this iteration


class RoundClosed(Said):
    """An aggregator closed a round of its own, the last of `rounds` rounds of the devices."""

    round: Round
    rounds: Annotated[int, Field(ge=1)] = 1
    tier: str = ""
    wall_s: Amount = 0.0
    missing: Names = ()


class Installed(Said):
    """The children of an aggregator hold its versions."""

    round: Round
    wall_s: Amount = 0.0


class Refused(Said):
    """A payload, a call or a message that a node did not take."""

    peer: str = ""  # empty: not in the plan
    call: str = ""
    error: str
    message: str = ""
    count: Annotated[int, Field(ge=1)] = 1  # of this peer and error so far: not each one is told


class Excluded(Said):
    """A node that was refused too often takes no part any more."""

    peer: str
    reason: str = ""


class Warned(Said):
    message: str


class Failed(Said):
    error: str = ""
    message: str = ""


@dataclass
class Events:
    """All events of a run by kind, in the order in which they were read."""

    joined: list[Joined] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    regrouped: list[Regrouped] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    aggregated: list[Aggregated] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    consensus: list[Consented] = field(default_factory=list)
    rounds: list[RoundClosed] = field(default_factory=list)
    installed: list[Installed] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    total: int = 0
    unreadable: int = 0


_KINDS: dict[str, tuple[str, type[Said]]] = {
    "joined": ("joined", Joined),
    "ready": ("ready", Ready),
    "lost": ("lost", Lost),
    "regrouped": ("regrouped", Regrouped),
    "phase": ("phases", Phase),
    "transfer": ("transfers", Transfer),
    "metric": ("metrics", Metric),
    "aggregated": ("aggregated", Aggregated),
    "decided": ("decided", Decided),
    "consensus": ("consensus", Consented),
    "round": ("rounds", RoundClosed),
    "installed": ("installed", Installed),
    "refused": ("refused", Refused),
    "excluded": ("excluded", Excluded),
    "warning": ("warnings", Warned),
    "failed": ("failed", Failed),
}


# Kinds that nothing is computed from.
_PASSED_OVER = frozenset({"left", "returned", "resumed", "discarded", "failed_round", "failed_transfer"})


def read_events(raw: Iterable[Mapping[str, Any]]) -> Events:
    """Sorts events by kind. A transfer that both ends tell of counts once, as its sender tells it; and of a round
    that a node does again after it was started anew, what it told of it before does not count."""
    events = Events()
    read: list[tuple[str, Said]] = []
    for one in raw:
        events.total += 1
        kind = one.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            events.unreadable += kind not in _PASSED_OVER
            continue
        name, model = _KINDS[kind]
        try:
            event = model.model_validate(one)
        except (ValidationError, OverflowError, RecursionError):
            events.unreadable += 1
            continue
        read.append((name, event))
    for name, event in _of_the_last_life(read):
        getattr(events, name).append(event)
    events.transfers = _told_once(events.transfers)
    return events


def _of_the_last_life(read: Sequence[tuple[str, Said]]) -> Iterator[tuple[str, Said]]:
    """What a node told of the same in several of its lives, as the last of them told it. Each begins by joining."""
    births: dict[str, list[float]] = defaultdict(list)
    for _, event in read:
        if isinstance(event, Joined):
            insort(births[event.node], event.t)

    def life(event: Said) -> int:
        return bisect(births[event.node], event.t)

    def told_of(name: str, event: Said) -> tuple[object, ...]:
        return name, event.node, getattr(event, "round", None), *(getattr(event, key) for key in event.about)

    last: dict[tuple[object, ...], int] = {}
    for name, event in read:
        what = told_of(name, event)
        last[what] = max(last.get(what, 0), life(event))
    for name, event in read:
        what = told_of(name, event)
        if what[2] is None or last[what] == life(event):
            yield name, event


def _told_once(transfers: list[Transfer]) -> list[Transfer]:
    by_sender = {_name(t) for t in transfers if t.node == t.src}
    return [t for t in transfers if t.node == t.src or _name(t) not in by_sender]


def _name(t: Transfer) -> tuple[object, ...]:
    return (t.src, t.dst, t.round, t.purpose, t.modules, t.origins)
