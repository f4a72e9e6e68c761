"""`hffm modules`: what aggregators measured, by module and tier."""

from __future__ import annotations

import numpy as np
import pytest

from node.payload import Payload
from orchestrator.record.folder import RunRecord
from orchestrator.record.modules import module_figures
from orchestrator.record.runs import load_run
from tests.orchestrator.streams import link, module, plan

PARENTS = {"edge-0": "cloud", "edge-1": "cloud", "a": "edge-0", "b": "edge-0", "c": "edge-1", "d": "edge-1"}
LINKS = [link(child, parent, "uplink", 1.0) for child, parent in PARENTS.items()]


def said(node, module, tier, r, who, drift, weight=10.0, **more):
    return {
        **{"t": 1.0 + r, "node": node, "kind": "aggregated", "round": r, "module": module, "tier": tier},
        **{"contributors": who, "weight": weight, "sha256": f"{node}{module}{r}", "senders": len(who)},
        **{"drift": drift, "step": 1.0, "norm": 2.0, "rounds": 1, **more},
    }


@pytest.fixture
def run(tmp_path):
    modules = [module("adapter", 3, edge=1, cloud=2), module("head/t", 2, edge=1)]
    record = RunRecord.create(tmp_path / "run", plan(PARENTS, LINKS, modules))
    for r in (0, 1):
        record.event(said("edge-0", "adapter", "edge", r, ["a", "b"], 0.2 * (r + 1), weight=30.0))
        record.event(said("edge-1", "adapter", "edge", r, ["c", "d"], 0.6 * (r + 1), weight=10.0))
        record.event(said("edge-0", "head/t", "edge", r, ["a"], None, senders=1))
        record.event(said("edge-1", "head/t", "edge", r, ["c", "d"], 0.1))
    record.event(said("cloud", "adapter", "cloud", 1, ["a", "b", "c", "d"], 0.5, senders=2))
    for edge, value in (("edge-0", 1.0), ("edge-1", 3.0)):
        record.add_module(edge, "head/t", Payload(modules[1], np.full(2, value, np.float32)).to_bytes())
    record.finish()
    return load_run(tmp_path / "run")


def test_each_tier_tells_its_versions_contributors_and_drift(run):
    adapter, head = module_figures(run)
    assert (adapter.module, adapter.values, adapter.bytes, adapter.holders) == ("adapter", 3, 12, 4)
    edge, cloud = adapter.tiers
    assert (edge.tier, edge.every, edge.nodes, edge.versions) == ("edge", (1,), 2, 4)
    assert (cloud.tier, cloud.every, cloud.nodes, cloud.versions) == ("cloud", (2,), 1, 1)
    assert (cloud.contributors, cloud.last_contributors) == (4, 4)
    # As a share of the norm, and the heavier cluster counts more.
    assert edge.drift == pytest.approx({0: 0.1 * 0.75 + 0.3 * 0.25, 1: 0.2 * 0.75 + 0.6 * 0.25})
    assert cloud.drift == pytest.approx({1: 0.25})
    assert head.tiers[0].contributors == 3
    assert head.tiers[0].drift == pytest.approx({0: 0.05, 1: 0.05}), "one sender alone says nothing"


def test_versions_that_never_met_are_compared_in_the_end(run):
    adapter, head = module_figures(run)
    assert head.apart_at_end == pytest.approx(0.5)  # 1 and 3 around 2
    assert adapter.apart_at_end is None
