"""What a run amounts to: summary.json, computed from the plan and the events alone.

run_id, scenario, method, channel, seed    as in the plan
state                    `complete`, or how it ended; only a complete run is compared
error                    one line, when it failed
links_backend            what shaped the links: the plan's links_backend, `none` for as fast as the machine can
security                 of the connections, as the nodes said when they joined
payload_bytes            what the modules of a round are padded to in all; null: not padded
training_left_out        devices rested for its modelled time and sent noise: there are no accuracies
module_bytes             the modules themselves, four bytes per value
rounds                   {asked, done, period, used, complete_period}: latency, energy and bytes are means
                         over `used` rounds from the start: whole periods, where one was done
latency_s                seconds per round: see latency.Latency
energy_j                 joules per round, all nodes: see traffic.Energy
accuracy                 shares from 0 to 1: see accuracy.Accuracy
published                {latency_s, energy_j, accuracy} of the publication for this method, where known
bytes, links, phases     see traffic
circulation              per round, module and tier: how many trained what was averaged, and who did not
missing, lost, warnings  what went wrong on the way
refused                  [{node, peer, error, count, message}]: who refused whom, how often, and the last reason
excluded                 [{node, peer, reason}]: who was refused too often
modules                  {holder: {module: sha256 of the file in modules/}}
events                   {total, unreadable}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from node.plan import CLUSTER_TIER, Plan
from orchestrator.cost.pricing import Cost
from orchestrator.record.accuracy import Accuracy, accuracy
from orchestrator.record.course import Course
from orchestrator.record.critical_path import period
from orchestrator.record.events import Aggregated, Amount, Events, read_events
from orchestrator.record.latency import Latency, latency
from orchestrator.record.metrics import counted
from orchestrator.record.traffic import (
    Energy,
    LinkTraffic,
    PhaseTime,
    Traffic,
    energy,
    links,
    phases,
    traffic,
)

COMPLETE = "complete"
_MOST_WARNINGS = 50


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Rounds(_Frozen):
    asked: int
    done: int
    period: int
    used: int
    complete_period: bool


class Averaged(_Frozen):
    """One module at one tier in one round."""

    round: int
    module: str
    tier: str
    nodes: int  # aggregators that averaged it
    weight: Amount
    contributors: int
    absent: tuple[str, ...]  # devices below them whose training is not in it: missing, or without samples


class Missing(_Frozen):
    round: int
    node: str  # who missed them
    missing: tuple[str, ...]


class LostChild(_Frozen):
    node: str
    child: str
    reason: str


class RefusedPeer(_Frozen):
    node: str
    peer: str  # empty: somebody outside the plan
    error: str
    count: int
    message: str  # the last one told


class ExcludedPeer(_Frozen):
    node: str
    peer: str
    reason: str


class Published(_Frozen):
    latency_s: Amount | None = None
    energy_j: Amount | None = None
    accuracy: Amount | None = None  # a share from 0 to 1


class EventCount(_Frozen):
    total: int = 0
    unreadable: int = 0


class Summary(_Frozen):
    format: Literal[1] = 1
    run_id: str
    scenario: str
    method: str
    channel: str
    seed: int
    state: str
    error: str | None = None
    links_backend: str
    security: str = ""
    payload_bytes: int | None
    training_left_out: bool = False
    module_bytes: int
    nodes: int
    devices: int
    rounds: Rounds
    latency_s: Latency
    energy_j: Energy
    accuracy: Accuracy
    published: Published | None = None
    bytes: Traffic
    links: tuple[LinkTraffic, ...]
    phases: tuple[PhaseTime, ...]
    circulation: tuple[Averaged, ...]
    missing: tuple[Missing, ...]
    lost: tuple[LostChild, ...]
    refused: tuple[RefusedPeer, ...] = ()
    excluded: tuple[ExcludedPeer, ...] = ()
    warnings: tuple[str, ...]
    modules: dict[str, dict[str, str]]
    events: EventCount


def summarize(
    plan: Plan,
    raw_events: Iterable[Mapping[str, Any]] | Events,
    modelled: Cost | None = None,
    *,
    state: str = COMPLETE,
    error: str | None = None,
    modules: Mapping[str, Mapping[str, str]] | None = None,
    published: Published | None = None,
) -> Summary:
    """`modules`: holder -> module -> sha256."""
    events = raw_events if isinstance(raw_events, Events) else read_events(raw_events)
    rounds = _rounds(plan, events)
    used = range(rounds.used)
    if modelled is not None and events.decided and used:
        modelled = Course(plan, events).price(used)
    costs = modelled.parts if modelled else {}
    return Summary(
        run_id=plan.run_id,
        scenario=plan.scenario,
        method=plan.method,
        channel=plan.channel,
        seed=plan.seed,
        state=state,
        error=error,
        links_backend=plan.links_backend,
        security=_security(plan, events),
        payload_bytes=plan.payload_bytes,
        training_left_out=plan.training.left_out,
        module_bytes=4 * sum(m.size for m in plan.modules),
        nodes=len(plan.nodes),
        devices=len(plan.devices),
        rounds=rounds,
        latency_s=latency(plan, events, used, modelled),
        energy_j=energy(
            plan, events, used, modelled.energy_j if modelled else None, costs.get("energy_j", {})
        ),
        accuracy=accuracy(plan, events.metrics, rounds.period),
        published=published,
        bytes=traffic(plan, events.transfers, used),
        links=links(events.transfers),
        phases=phases(plan, events.phases),
        circulation=_circulation(plan, counted(plan, events.aggregated)),
        missing=_missing(events),
        lost=tuple(LostChild(node=e.node, child=e.child, reason=e.reason) for e in events.lost),
        refused=_refused(events),
        excluded=tuple(ExcludedPeer(node=e.node, peer=e.peer, reason=e.reason) for e in events.excluded),
        warnings=tuple(f"{e.node}: {e.message}" for e in events.warnings[:_MOST_WARNINGS]),
        modules={holder: dict(sorted(found.items())) for holder, found in sorted((modules or {}).items())},
        events=EventCount(total=events.total, unreadable=events.unreadable),
    )


def _security(plan: Plan, events: Events) -> str:
    if not events.joined:
        return ""
    if all(e.tls for e in events.joined):
        return "mutual TLS"
    return "no TLS: loopback only" if all(n.on_loopback for n in plan.nodes) else "no TLS"


def _rounds(plan: Plan, events: Events) -> Rounds:
    """Rounds are done when the root closed them; without a word from the root, when devices tell scores."""
    closed = [e.round for e in events.rounds if e.node == plan.root.id]
    done = 1 + max(closed or [m.round for m in events.metrics if m.node in plan.by_id], default=-1)
    every = period(plan)
    whole = done - done % every
    return Rounds(
        asked=plan.rounds,
        done=done,
        period=every,
        used=whole or done,
        complete_period=whole > 0,
    )


def _circulation(plan: Plan, aggregated: Iterable[Aggregated]) -> tuple[Averaged, ...]:
    grouped: dict[tuple[int, str, str], list[Aggregated]] = defaultdict(list)
    for e in aggregated:
        grouped[e.round, e.module, e.tier].append(e)
    below = _Below(plan)
    averaged = []
    for (r, module, tier), same in sorted(grouped.items()):
        who = {device for e in same for device in e.contributors}
        entitled = {device for e in same for device in below.devices(e.node, e.tier)}
        averaged.append(
            Averaged(
                round=r,
                module=module,
                tier=tier,
                nodes=len(same),
                weight=sum(e.weight for e in same),
                contributors=len(who),
                absent=tuple(sorted(entitled - who)),
            )
        )
    return tuple(averaged)


class _Below:
    """Devices whose training an average covers."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._found: dict[tuple[str, str], frozenset[str]] = {}

    def devices(self, node: str, tier: str) -> frozenset[str]:
        if (node, tier) not in self._found:
            cluster = self._plan.cluster_of(node) if tier == CLUSTER_TIER else None
            below = cluster.members if cluster else self._plan.subtree(node)
            self._found[node, tier] = frozenset(below) & {d.id for d in self._plan.devices}
        return self._found[node, tier]


def _refused(events: Events) -> tuple[RefusedPeer, ...]:
    last = {(e.node, e.peer, e.error): e for e in events.refused}
    return tuple(
        RefusedPeer(node=node, peer=peer, error=error, count=e.count, message=e.message)
        for (node, peer, error), e in sorted(last.items())
    )


def _missing(events: Events) -> tuple[Missing, ...]:
    found = [e for e in events.rounds if e.missing]
    return tuple(
        Missing(round=e.round, node=e.node, missing=e.missing)
        for e in sorted(found, key=lambda e: (e.round, e.node))
    )
