"""Ways of relaying, modelled and measured, on clusters of the published case study (arXiv 2509.03695, Section IV):

    python -m tests.benchmarks.relays [--clusters edge-2 edge-5] [--rounds 4] [--repeats 3]

Every node is a process of its own; its links are held to the published rates, and payloads to the published 6 MB.
A time is that of one exchange: from the first byte that any member sends to the last receipt. It is compared with
the model of what the nodes do: links are shared, and the first chunk of a payload takes its time on each hop. The
ways of relaying take turns, in `repeats` runs of each, and the figure is the median over the rounds of all runs,
with the least beside it, since other work on the machine only adds to a time.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from node.learning.learner import Trained
from node.payload import Values
from node.plan import Cluster, Plan, Relay
from orchestrator.cost.relaying import away_s, hop, towards_s
from orchestrator.plans.reading import load_scenario
from orchestrator.plans.resolve import resolve
from tests.benchmarks.contest import table
from tests.federation import ArithmeticLearner, Federation, make_plan, module
from tests.processes import in_processes

STUDY = Path(__file__).parents[2] / "deploy" / "scenarios" / "case-study.yaml"
PAYLOAD_BYTES = 6_000_000
WAYS = ("update", "aggregate")
CLUSTERS = [f"edge-{i}" for i in range(10)]


class QuickLearner(ArithmeticLearner):
    """All devices are ready at the same moment, as the model has it, and not one core after the other."""

    def __init__(self, plan: Plan, device_id: str) -> None:
        super().__init__(plan, device_id)
        self._weight = 10 + int(device_id.rsplit("-", 1)[1])
        self.samples = dict.fromkeys(self.samples, self._weight)

    def train(self, modules: Mapping[str, Values], round_index: int) -> Trained:
        new = {name: values + np.float32(self._weight) for name, values in modules.items()}
        return Trained(new, dict(self.samples), {"t": 0.5})


def cluster_plan(study: Plan, cluster: Cluster, relay: Relay, values: int = PAYLOAD_BYTES // 4) -> Plan:
    """One cluster of the study below its edge server, with one module that fills the payload."""
    members = cluster.subtree(cluster.head)
    parents = {"cloud": None, cluster.parent: "cloud", **dict.fromkeys(members, cluster.parent)}
    links = tuple(link for link in study.links if {link.src, link.dst} <= set(members))
    return make_plan(
        parents,
        {"cloud": "cloud", cluster.parent: "edge"},
        (module("adapter", values, cluster=1),),
        links,
        (cluster.model_copy(update={"relay": relay}),),
    )


def modelled_s(plan: Plan) -> dict[str, float]:
    cluster = plan.clusters[0]
    hops = {(k.src, k.dst): hop(k, PAYLOAD_BYTES, chunks_count=True) for k in plan.links}
    up = towards_s(cluster, hops, cluster.relay, links_are_shared=True)
    return {"update": up, "aggregate": away_s(cluster, hops, cluster.relay)}


async def exchanges(running: Federation, pids: dict[str, int]) -> list[dict[str, Any]]:
    """The transfers of as many rounds as the plan has, each begun by all devices at once."""
    for _ in range(running.plan.rounds):
        await running.rounds(1)
    return running.kind("transfer")


def measured_s(transfers: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Of each round but the first, which opens the connections."""
    found: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for one in transfers:
        if one["round"] > 0:
            found[one["round"], one["purpose"]].append(one)
    spans: dict[str, list[float]] = {way: [] for way in WAYS}
    for (_, way), sent in found.items():
        spans[way].append(max(e["t"] + e["seconds"] for e in sent) - min(e["t"] for e in sent))
    return spans


@dataclass(frozen=True)
class Times:
    """Seconds of one exchange in one direction."""

    modelled: float
    measured: Sequence[float]

    @property
    def typical(self) -> float:
        return median(self.measured)

    @property
    def cells(self) -> str:
        ratio = self.typical / self.modelled
        return f"{self.modelled:11.3f}{self.typical:11.3f}{min(self.measured):11.3f}{ratio:11.3f}"


def compare(cluster_name: str, rounds: int, repeats: int) -> dict[Relay, dict[str, Times]]:
    """Way of relaying -> direction -> seconds."""
    study = resolve(load_scenario(STUDY), "hf-fm+d2d-2", "published")
    cluster = next((c for c in study.clusters if c.parent == cluster_name), None)
    if cluster is None:
        raise SystemExit(f"no cluster '{cluster_name}'; they are {', '.join(CLUSTERS)}")
    clocks: dict[Relay, dict[str, list[float]]] = {relay: {way: [] for way in WAYS} for relay in Relay}
    for _ in range(repeats):
        for relay in Relay:
            plan = cluster_plan(study, cluster, relay).replace(rounds=rounds + 1)
            for way, spans in measured_s(in_processes(plan, exchanges, QuickLearner)).items():
                clocks[relay][way] += spans
    models = {relay: modelled_s(cluster_plan(study, cluster, relay)) for relay in Relay}
    return {relay: {way: Times(models[relay][way], clocks[relay][way]) for way in WAYS} for relay in Relay}


def show(name: str, found: dict[Relay, dict[str, Times]]) -> None:
    for relay, ways in found.items():
        print(f"{name:8} {relay.value:18}" + "".join(f"{'':12}{times.cells}" for times in ways.values()))
    cells = ""
    for way in WAYS:
        whole, added = found[Relay.STORE_AND_FORWARD][way], found[Relay.AGGREGATE][way]
        model, clock = whole.modelled / added.modelled, whole.typical / added.typical
        cells += f"{'':12}{model:11.3f}{clock:11.3f}{'':11}{clock / model:11.3f}"
    print(f"{name:8} {'first over last':18}{cells}", flush=True)


def section(clusters: Sequence[str], rounds: int, repeats: int, say: Callable[[str], None]) -> str:
    """As a part of docs/benchmarks.md: seconds to the head, modelled and measured."""
    rows = []
    for name in clusters:
        found = compare(name, rounds, repeats)
        whole = found[Relay.STORE_AND_FORWARD]["update"]
        for relay, ways in found.items():
            up = ways["update"]
            say(f"{name} {relay.value}: modelled {up.modelled:.3f} s, measured {up.typical:.3f} s")
            rows.append(
                [
                    name,
                    relay.value,
                    f"{up.modelled:.2f}",
                    f"{up.typical:.2f}",
                    f"{up.typical / up.modelled:.3f}",
                    f"{whole.modelled / up.modelled:.2f}",
                    f"{whole.typical / up.typical:.2f}",
                ]
            )
    head = [
        "cluster",
        "relay",
        "modelled s",
        "measured s",
        "over model",
        "faster, modelled",
        "faster, measured",
    ]
    return "\n\n".join(["## Device to device", _ABOUT, table(head, rows)])


_ABOUT = """Clusters of the published case study, 6 MB from every member to the head over links paced to the
published rates. Medians; the last two columns are store-and-forward's seconds over the row's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clusters", nargs="+", default=CLUSTERS, help="default: all ten")
    parser.add_argument("--rounds", type=int, default=4, help="of each run, after the one that connects")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way of relaying")
    options = parser.parse_args()
    columns = f"{'modelled s':>11}{'median s':>11}{'least s':>11}{'med/model':>11}"
    print(f"{'cluster':8} {'relay':18}" + "".join(f"{way:>11}:{columns}" for way in ("to the head", "back")))
    for name in options.clusters:
        show(name, compare(name, options.rounds, options.repeats))


if __name__ == "__main__":
    main()
