"""Figures of small made-up runs, worked out by hand, and the critical path against the modelled cost."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from node.plan import Cluster, LinkKind, Plan, Relay
from orchestrator.cost.phases import own_rounds
from orchestrator.cost.pricing import Rules, price
from orchestrator.plans.resolve import resolve
from orchestrator.record.critical_path import is_priced, period
from orchestrator.record.events import Transfer, read_events
from orchestrator.record.metrics import metric_lines
from orchestrator.record.summary import Summary, summarize
from orchestrator.report.notes import footnotes
from tests.orchestrator.scenarios import shipped
from tests.orchestrator.streams import Event, Stream, link, module, plan

KB = 250  # values in 1000 bytes


def star(**more: Any) -> Plan:
    links = [link("a", "cloud", "uplink", 2), link("b", "cloud", "uplink", 3, power_w=10)]
    return plan({"a": "cloud", "b": "cloud"}, links, [module("adapter", KB, cloud=1)], method="star", **more)


def hf_fm(*modules: Any, **more: Any) -> Plan:
    """Uplinks of 1, 2 and 4 seconds per kilobyte, backhauls of 10 and 3."""
    parents = {"edge-1": "cloud", "edge-2": "cloud", "a": "edge-1", "b": "edge-1", "c": "edge-2"}
    links = [
        link("a", "edge-1", "uplink", 1),
        link("b", "edge-1", "uplink", 2),
        link("c", "edge-2", "uplink", 4),
        link("edge-1", "cloud", "backhaul", 10),
        link("edge-2", "cloud", "backhaul", 3),
    ]
    return plan(parents, links, modules or [module("adapter", KB, edge=1, cloud=2)], **more)


def line(relay: Relay = Relay.STORE_AND_FORWARD, every: int = 2) -> Plan:
    """a - b - h, h the head: 1 and 2 seconds towards it, 3 and 4 back; uplink 5, backhaul 7."""
    parents = {"edge": "cloud", "a": "edge", "b": "edge", "h": "edge"}
    links = [
        link("a", "b", "d2d", 1),
        link("b", "h", "d2d", 2),
        link("h", "b", "d2d", 3),
        link("b", "a", "d2d", 4),
        link("h", "edge", "uplink", 5),
        link("edge", "cloud", "backhaul", 7),
    ]
    cluster = Cluster(parent="edge", head="h", edges=(("a", "b"), ("b", "h")), relay=relay)
    adapter = module("adapter", KB, cluster=1, edge=every, cloud=every)
    return plan(parents, links, [adapter], clusters=[cluster], method=f"hf-fm+d2d-{every}")


def run(of: Plan, rounds: int = 2, **stream: Any) -> Summary:
    return summarize(of, Stream(of, **stream).play(rounds))


def test_star() -> None:
    seconds = {"a": 1.0, "b": 0.5}
    found = run(star(), train_s=lambda node, r: seconds[node])
    assert found.latency_s.measured_transfers == pytest.approx(3)
    assert found.latency_s.measured == pytest.approx(3.5)
    assert found.latency_s.measured_parts == pytest.approx({"train": 0.5, "uplink": 3})
    assert found.energy_j.measured == pytest.approx(2 * 1 + 3 * 10)
    assert found.energy_j.compute == pytest.approx(5 * 1.5 + 0.05)
    assert found.energy_j.source == {"measured": "model", "compute": "model"}
    assert found.latency_s.wall == pytest.approx(
        4 + 0.001
    )  # its training takes twice its CPU time on the wall
    assert found.latency_s.install_s == pytest.approx(0.001)
    assert found.bytes.by_kind_bytes == {"downlink": 2000, "uplink": 2000}


def test_slow_training_moves_the_critical_path() -> None:
    found = run(star(), train_s=lambda node, r: 9.0 if node == "a" else 0.0)
    assert found.latency_s.measured == pytest.approx(11)
    assert found.latency_s.measured_parts == pytest.approx({"train": 9, "uplink": 2})


def test_hierarchy_amortises_the_backhaul_over_its_period() -> None:
    found = run(hf_fm())
    # Two rounds of max(1, 2) and 10 more, against two rounds of 4 and 3 more; each round trains for 1 s.
    assert found.latency_s.measured_transfers == pytest.approx((2 * 2 + 10) / 2)
    assert found.latency_s.measured == pytest.approx((2 * 3 + 10) / 2)
    assert found.energy_j.measured == pytest.approx(1 + 2 + 4 + (10 + 3) / 2)
    assert found.energy_j.measured_parts == pytest.approx({"backhaul": 6.5, "uplink": 7})
    assert found.rounds.complete_period
    assert found.rounds.period == 2


def test_rounds_after_the_last_whole_period_are_left_out() -> None:
    found = run(hf_fm(), rounds=3)
    assert (found.rounds.done, found.rounds.used) == (3, 2)
    assert found.latency_s.measured_transfers == pytest.approx(7)


def test_less_than_a_period_uses_what_happened() -> None:
    found = run(hf_fm(module("adapter", KB, edge=1, cloud=8)))
    assert not found.rounds.complete_period
    assert found.latency_s.measured_transfers == pytest.approx(4)
    assert "backhaul" not in found.energy_j.measured_parts


def test_modules_of_different_periods() -> None:
    often, rarely = module("adapter", KB, edge=1), module("head/t", 2 * KB, edge=2, cloud=2)
    found = run(hf_fm(often, rarely))
    # edge-1: 2, then 2 + 4, then 20; edge-2: 4, then 4 + 8, then 6.
    assert found.latency_s.measured_transfers == pytest.approx((2 + 6 + 20) / 2)


def test_a_deeper_tree() -> None:
    parents = {"region": "cloud", "edge": "region", "a": "edge"}
    links = [
        link("a", "edge", "uplink", 1),
        link("edge", "region", "backhaul", 10),
        link("region", "cloud", "backhaul", 100),
    ]
    deep = plan(parents, links, [module("adapter", KB, edge=1, region=2, cloud=4)])
    found = run(deep, rounds=4)
    assert found.latency_s.measured_transfers == pytest.approx((4 * 1 + 2 * 10 + 100) / 4)


@pytest.mark.parametrize(("relay", "joules_up"), [(Relay.STORE_AND_FORWARD, 5), (Relay.AGGREGATE, 3)])
def test_line_of_devices(relay: Relay, joules_up: float) -> None:
    found = run(line(relay))
    up, down = 3, 7  # a payload of one chunk takes one hop after the other
    # Up and down, then up and the head's uplink and backhaul.
    assert found.latency_s.measured_transfers == pytest.approx((up + down + up + 5 + 7) / 2)
    assert found.latency_s.measured == pytest.approx((up + down + up + 5 + 7 + 2) / 2)
    assert found.energy_j.measured == pytest.approx((2 * joules_up + 7 + 5 + 7) / 2)
    assert found.latency_s.measured_parts == pytest.approx(
        {"train": 1, "d2d": up + down / 2, "uplink": 2.5, "backhaul": 3.5}
    )


@pytest.mark.parametrize(("relay", "expected"), [(Relay.STORE_AND_FORWARD, 8), (Relay.AGGREGATE, 9)])
def test_a_chain_starts_with_the_training_of_its_origin(relay: Relay, expected: float) -> None:
    """Or, where relays do not wait for whole payloads, with the last training of all."""
    slow = {"a": 0.0, "b": 6.0, "h": 1.0}
    found = run(line(relay, every=1), train_s=lambda node, r: slow[node], rounds=1)
    # b trains for 6 and sends for 2; what relays send on as it comes, for 3 in all.
    assert found.latency_s.measured == pytest.approx(expected + 5 + 7)


def test_an_exchange_that_was_done_again_counts_once() -> None:
    events = Stream(line()).play(2)
    first = next(e for e in events if e["kind"] == "aggregated" and e["tier"] == "cluster")
    anew = {**first, "node": "b", "attempt": 1, "contributors": ["b", "h"], "weight": 20.0}
    regrouped = {"t": 0, "node": "edge", "kind": "regrouped", "round": 1, "attempt": 1, "again": True, "head": "b",
                 "lost": ["a"]}  # fmt: skip
    found = summarize(line(), [*events, anew, regrouped])
    (cluster,) = [c for c in found.circulation if c.tier == "cluster" and c.round == 0]
    assert (cluster.nodes, cluster.weight, cluster.contributors, cluster.absent) == (1, 20.0, 2, ("a",))
    weights = {
        m["node"]: m["weight"] for m in metric_lines(line(), read_events([*events, anew])) if m["round"] == 0
    }
    assert weights == {"a": 0.0, "b": 10.0, "h": 10.0}


def test_the_aggregate_that_comes_back_over_d2d_when_the_parent_averaged_is_not_in_the_model() -> None:
    def told(round_index: int) -> Transfer:
        return Transfer(t=0, node="h", src="h", dst="b", link="d2d", round=round_index, purpose="aggregate",
                        modules=("adapter",), bytes=1, seconds=1)  # fmt: skip

    assert is_priced(line(), told(0))
    assert not is_priced(line(), told(1))


def test_answers_count_where_the_plan_has_links_for_them() -> None:
    bare = hf_fm()
    answered = bare.model_copy(
        update={
            "links": (
                *bare.links,
                link("edge-1", "b", "downlink", 0.5, 2),
                link("edge-2", "c", "downlink", 9),
            )
        }
    )
    without, found = run(bare), run(answered)
    assert without.latency_s.install_s is not None
    assert without.latency_s.install_s > 0
    # edge-2: two rounds of 4 and 9, then 3.
    assert found.latency_s.measured_transfers == pytest.approx((2 * 13 + 3) / 2)
    assert found.energy_j.measured_parts["answer"] == pytest.approx(0.5 * 2 + 9)


@pytest.mark.parametrize("scenario", ["quickstart", "case-study"])
def test_links_that_do_as_modelled_give_the_modelled_figures(scenario: str) -> None:
    rules = Rules(head_uplink_is_mean=False, edge_only_every=None, links_are_shared=False, answers=True)
    loaded = shipped(scenario)
    for method in loaded.methods:
        resolved = resolve(loaded, method)
        modelled = price(resolved, rules=replace(rules, answers=resolved.channel != "published"))
        found = summarize(resolved, Stream(resolved).play(period(resolved)), modelled)
        assert found.latency_s.measured_transfers == pytest.approx(modelled.latency_s), method
        assert found.latency_s.replayed == pytest.approx(modelled.latency_s), method
        assert found.energy_j.measured == pytest.approx(modelled.energy_j), method


def test_order_of_arrival_does_not_matter() -> None:
    events = Stream(line(), train_s=lambda node, r: {"a": 1.0, "b": 0.2, "h": 3.0}[node]).play(4)
    shuffled = random.Random(0).sample(events, len(events))
    ours, theirs = summarize(line(), events), summarize(line(), shuffled)
    assert ours.latency_s == pytest.approx(theirs.latency_s) or ours.latency_s.model_dump() == pytest.approx(
        theirs.latency_s.model_dump()
    )
    assert ours.accuracy == theirs.accuracy
    assert ours.circulation == theirs.circulation


def test_a_transfer_that_both_ends_tell_of_counts_once() -> None:
    events = Stream(star()).play(1)
    twice = [*events, *({**e, "node": e["dst"]} for e in events if e.get("purpose") == "update")]
    assert summarize(star(), twice).energy_j.measured == summarize(star(), events).energy_j.measured


def test_a_missing_device_adds_nothing_and_makes_the_round_incomplete() -> None:
    found = run(hf_fm(), rounds=4, gone=lambda node, r: node == "b" and r == 2)
    # Rounds 0, 1, 3: 2; round 2 without b: 1; edge-2 is slower all the same: 4 x 4 + 2 x 3 against 7 + 20.
    assert found.latency_s.measured_transfers == pytest.approx((7 + 20) / 4)
    assert found.accuracy.local.incomplete == {2: ("b",)}
    assert [r.round for r in found.accuracy.local.by_round] == [0, 1, 3]
    assert [(m.round, m.node) for m in found.missing] == [(2, "edge-1")]
    edge = [c for c in found.circulation if c.tier == "edge" and c.round == 2]
    assert [(c.contributors, c.nodes, c.absent) for c in edge] == [(2, 2, ("b",))]


def test_a_device_that_never_speaks_leaves_no_complete_round() -> None:
    found = run(hf_fm(), gone=lambda node, r: node == "c")
    assert found.accuracy.local.last is None
    assert found.accuracy.local.incomplete == {0: ("c",), 1: ("c",)}
    assert found.latency_s.measured_transfers == pytest.approx((2 * 2 + 10) / 2)


def test_nothing_happened() -> None:
    found = summarize(star(), [], price(star()))
    assert found.rounds.done == 0
    assert found.latency_s.modelled == pytest.approx(3)
    assert found.latency_s.measured is None
    assert found.energy_j.measured is None


def test_accuracy_is_weighted_by_test_samples() -> None:
    right = {("a", 0): (1, 10), ("b", 0): (3, 10), ("c", 0): (20, 20), ("a", 1): (2, 10), ("b", 1): (8, 10),
             ("c", 1): (10, 20)}  # fmt: skip
    found = run(hf_fm(), score=lambda node, task, r, when: right[node, r]).accuracy
    assert [r.overall for r in found.local.by_round] == pytest.approx([24 / 40, 20 / 40])
    assert found.local.last is not None
    assert found.local.last.round == 1
    assert found.local.last.clusters == pytest.approx({"edge-1": 0.5, "edge-2": 0.5})
    assert found.local.last.devices == pytest.approx({"a": 0.2, "b": 0.8, "c": 0.5})
    assert found.local.last_period is not None
    assert found.local.last_period.rounds == (0, 1)
    assert found.local.last_period.overall == pytest.approx((0.6 + 0.5) / 2)
    assert found.baseline == pytest.approx(0.2)


def test_tasks_are_told_apart() -> None:
    two = hf_fm(tasks=("t", "u"))
    found = run(two, score=lambda node, task, r, when: (4 if task == "t" else 2, 8)).accuracy
    assert found.aggregated.last is not None
    assert found.aggregated.last.tasks == pytest.approx({"t": 0.5, "u": 0.25})
    assert found.aggregated.last.overall == pytest.approx(0.375)


def test_bytes_of_a_transfer_are_split_by_the_sizes_of_its_modules() -> None:
    found = run(hf_fm(module("adapter", KB, edge=1), module("head/t", 3 * KB, edge=1)), rounds=1)
    assert found.bytes.by_module_bytes["head/t"] == pytest.approx(3 * found.bytes.by_module_bytes["adapter"])
    assert found.bytes.per_round_bytes == pytest.approx(found.bytes.total_bytes)


def test_links_measured_beside_modelled() -> None:
    found = run(star(), stretch=lambda over: 1.5 if over.src == "a" else 1.0)
    ratios = {(t.src, t.purpose): t.ratio for t in found.links if t.src != "cloud"}
    assert ratios == {("a", "update"): pytest.approx(1.5), ("b", "update"): pytest.approx(1.0)}


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "transfer"},
        {"kind": 3},
        {"kind": "phase", "t": float("nan"), "node": "a", "phase": "train", "wall_s": 1},
        {"kind": "phase", "t": 1, "node": "a", "phase": "train", "wall_s": -1},
        {"kind": "metric", "t": 1, "node": "a", "round": 10**30, "task": "t", "when": "local", "correct": 1,
         "total": 1},
        {"kind": "phase", "t": 10**400, "node": "a", "phase": "train", "wall_s": 1},
        {},
    ],
)  # fmt: skip
def test_events_that_do_not_read_are_counted_and_left_out(broken: Event) -> None:
    events = Stream(star()).play(1)
    found = summarize(star(), [broken, *events])
    assert found.events.unreadable == 1
    assert found.latency_s == summarize(star(), events).latency_s


def test_strangers_are_left_out() -> None:
    strange = [{**e, **{k: "x" for k in ("node", "src", "dst") if k in e}} for e in Stream(star()).play(1)]
    assert summarize(star(), strange).rounds.done == 0
    assert read_events(strange).unreadable == 0


def test_own_rounds() -> None:
    assert own_rounds(hf_fm(), "cloud", range(5)) == [range(2), range(2, 4), range(4, 5)]
    assert own_rounds(hf_fm(), "edge", range(2, 4)) == [range(2, 3), range(3, 4)]
    assert own_rounds(hf_fm(), "nobody", range(3)) == [range(3)]
    assert own_rounds(hf_fm(), "edge", range(0)) == []


def test_summary_survives_json() -> None:
    found = run(line())
    assert Summary.model_validate_json(found.model_dump_json()) == found
    assert {t.kind for t in found.links} >= {LinkKind.D2D.value, "uplink"}


def test_who_was_refused_and_who_is_out():
    stream = Stream(star()).play(1)
    why = "values are not all finite"
    told = [
        {
            "kind": "refused",
            "peer": "a",
            "call": "Push",
            "error": "PayloadRefused",
            "message": why,
            "count": n,
        }
        for n in (1, 2)
    ]
    told.append({"kind": "excluded", "peer": "a", "reason": why})
    summary = summarize(star(), [*stream, *({"t": 9.0, "node": "cloud", **event} for event in told)])
    assert [(r.node, r.peer, r.error, r.count) for r in summary.refused] == [
        ("cloud", "a", "PayloadRefused", 2)
    ]
    assert [(e.peer, e.reason) for e in summary.excluded] == [("a", why)]
    assert summary.events.unreadable == 0
    notes = [note.text for note in footnotes([summary])]
    assert "2 payloads were refused, of a; excluded: a" in notes
