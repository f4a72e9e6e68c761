"""Robust rules in scenarios: where they land in the plan, and where they cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import ScenarioError
from orchestrator.plans.reading import load_scenario
from orchestrator.plans.resolve import resolve
from orchestrator.report.plan_text import sections
from tests.orchestrator.scenarios import SHIPPED

QUICKSTART = (SHIPPED / "quickstart.yaml").read_text()


def plan(tmp_path: Path, rule: str, method: str = "hf-fm-2", text: str = QUICKSTART):
    file = tmp_path / "robust.yaml"
    file.write_text(text + f'\ncirculation:\n  - {{modules: "adapter", robust: {rule}}}\n')
    return resolve(load_scenario(file), method)


@pytest.mark.parametrize(
    ("method", "tier"), [("star", "cloud"), ("hf-fm-2", "edge"), ("hf-fm+d2d-2", "cluster")]
)
def test_by_default_where_devices_are_collected(tmp_path, method, tier):
    found = plan(tmp_path, "median", method).module("adapter")
    assert (found.robust.rule, found.robust.tiers) == ("median", (tier,))
    assert plan(tmp_path, "median", method).module("head/gqa").robust is None


def test_the_plan_says_what_is_kept_for_it(tmp_path):
    circulation = list(sections(plan(tmp_path, "{rule: trimmed-mean, trim: 0.3}")))[1]
    line = next(line for line in circulation.lines if line[0] == "adapter")
    assert any("trimmed-mean of up to 4, 1.07 MB kept for it" in cell for cell in line)


@pytest.mark.parametrize(
    ("rule", "method", "why"),
    [
        ("{rule: multi-krum, liars: 1}", "hf-fm-2", "needs 5 updates, and 'edge-0' gets 4"),
        ("{rule: median, tiers: [cloud]}", "hf-fm-2", "needs 3 updates, and 'cloud' gets 2"),
        ("{rule: median, tiers: [edge]}", "hf-fm+d2d-2", "needs 3 updates, and 'edge-0' gets 1"),
        ("{rule: median, tiers: [edge]}", "star", "not averaged at 'edge', only at cloud"),
        ("median", "hf-fm+d2d-2@aggregate", "relays that aggregate hide the single updates"),
        ("median", "hf-fm+d2d-2@consensus", "nobody who sees every update"),
        ("mode", "star", "circulation[0].robust: must be 'median', 'trimmed-mean'"),
        ("{rule: trimmed-mean, trim: 0.5}", "star", "must be less than 0.5"),
    ],
)
def test_what_cannot_work_is_refused_when_the_plan_is_made(tmp_path, rule, method, why):
    with pytest.raises(ScenarioError) as caught:
        plan(tmp_path, rule, method)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
