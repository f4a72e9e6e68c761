"""Shadowing, fading and shared spectrum: the statistics of the draws, and what they do to a plan."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

import pytest

from node.errors import ScenarioError
from node.plan import LinkKind, Plan
from orchestrator.plans.propagation import Fading, fading_gain, shadowing_gain
from orchestrator.plans.resolve import resolve
from tests.orchestrator.scenarios import scenario, table

TOPOLOGY = {"kind": "drawn", "edge_servers": 2, "devices_per_cluster": 4, "area_m": 2000}
NAMES = [f"n{i}" for i in range(4000)]


def plan(tmp_path: Path, **channel: Any) -> Plan:
    spec = {"model": "physical", **channel}
    return resolve(
        scenario(tmp_path, topology=TOPOLOGY, channel=spec, methods=["hf-fm+d2d-2"]), "hf-fm+d2d-2"
    )


def rates(plan: Plan) -> dict[tuple[str, str], float]:
    return {(link.src, link.dst): link.rate_bps for link in plan.links}


@pytest.mark.parametrize(
    ("kind", "k_db", "middle", "spread"),
    # Exponential: median ln 2, deviation 1. Rician of K: variance (1 + 2K) / (1 + K)^2.
    [("rayleigh", 9.0, 0.693, 1.0), ("rician", 10.0, 0.95, 0.417), ("none", 9.0, 1.0, 0.0)],
)
def test_fading_has_mean_power_one(kind: Fading, k_db: float, middle: float, spread: float):
    gains = [fading_gain(1, "edge", name, kind, k_db) for name in NAMES]
    assert fmean(gains) == pytest.approx(1, abs=0.05)
    assert median(gains) == pytest.approx(middle, abs=0.05)
    assert pstdev(gains) == pytest.approx(spread, abs=0.05)


def test_shadowing_is_normal_in_db_and_the_same_both_ways():
    from math import log10

    gains = [10 * log10(shadowing_gain(1, "edge", name, 6.0)) for name in NAMES]
    assert fmean(gains) == pytest.approx(0, abs=0.3)
    assert pstdev(gains) == pytest.approx(6, abs=0.3)
    assert shadowing_gain(1, "a", "b", 6.0) == shadowing_gain(1, "b", "a", 6.0)
    assert shadowing_gain(1, "a", "b", 6.0) != shadowing_gain(2, "a", "b", 6.0)


def test_the_default_is_the_published_draw(tmp_path: Path):
    assert rates(plan(tmp_path)) == rates(plan(tmp_path, fading="drawn", shadowing_db=0, spectrum="own"))
    assert rates(plan(tmp_path)) != rates(plan(tmp_path, fading="rayleigh"))
    assert rates(plan(tmp_path, fading="rician")) == rates(plan(tmp_path, fading="rician"))


def test_devices_divide_the_bandwidth_of_their_server(tmp_path: Path):
    """A device keeps its power, so that it gets more than its quarter of the rate; a server divides its own."""
    own, equal = rates(plan(tmp_path)), rates(plan(tmp_path, spectrum="equal"))
    for link in plan(tmp_path).links:
        share = equal[link.src, link.dst] / own[link.src, link.dst]
        if link.kind is LinkKind.UPLINK:
            assert 0.25 < share < 1
        else:
            assert share == pytest.approx(0.25 if link.kind is LinkKind.DOWNLINK else 1)


@pytest.mark.parametrize(
    ("channel", "says"),
    [
        ({"fading": "weibull"}, "channel.fading: must be 'drawn', 'none', 'rayleigh' or 'rician'"),
        ({"shadowing_db": -1}, "channel.shadowing_db: must be"),
        (
            {**table(device_edge=1e6, edge_cloud=1e6), "spectrum": "equal"},
            "channel.spectrum: a table has no radio",
        ),
        ({"model": "published", "fading": "none"}, "channel.fading: the published constants are fixed"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, channel: dict[str, Any], says: str):
    with pytest.raises(ScenarioError, match=says) as error:
        plan(tmp_path, **channel)
    assert "\n" not in str(error.value)
