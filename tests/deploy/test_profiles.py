"""Profiles of networks: each number has a source, and scenarios can use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.links.profiles import profile, profile_names
from node.errors import ScenarioError
from node.plan import LinkKind, Plan
from orchestrator.plans.resolve import resolve
from tests.orchestrator.scenarios import scenario

FOLDER = Path(__file__).parents[2] / "deploy" / "profiles"
TREE = {"kind": "tree", "tiers": ["cloud", "edge"], "fanout": [1, 2]}


def plan(tmp_path: Path, rules: list[dict[str, Any]], method: str = "hf-fm+d2d-2", **channel: Any) -> Plan:
    spec = {"model": "table", "links": rules, **channel}
    return resolve(scenario(tmp_path, topology=TREE, channel=spec, methods=[method]), method)


def test_there_is_one_for_each_kind_of_network():
    wanted = {"lte", "nr", "wifi", "wifi-direct", "bluetooth-le", "ethernet", "satellite"}
    assert wanted <= set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_every_number_of_the_way_up_says_where_it_is_from(name: str):
    assert profile(name).name == name
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    start = lines.index("up:")
    end = lines.index("down:") if "down:" in lines else len(lines)
    for above, line in zip(lines[start:end], lines[start + 1 : end], strict=False):
        if not line.lstrip().startswith("#"):
            assert "#" in line or above.lstrip().startswith("#"), f"{name}: {line}"


def test_directions_and_exceptions(tmp_path: Path):
    rules = [
        {"from": "device", "to": "edge", "both": True, "profile": "lte", "loss": 0.01},
        {"from": "device", "to": "device", "profile": "wifi-direct"},
        {"from": "edge", "to": "cloud", "both": True, "profile": "satellite", "delay_s": 0.3},
    ]
    found = plan(tmp_path, rules)
    lte, satellite = profile("lte"), profile("satellite")
    assert lte.down is not None
    assert satellite.down is not None
    expected = {
        ("device-00", "edge-0"): (LinkKind.UPLINK, lte.up.rate_bps, lte.up.delay_s, 0.01),
        ("edge-0", "device-00"): (LinkKind.DOWNLINK, lte.down.rate_bps, lte.down.delay_s, 0.01),
        ("edge-0", "cloud"): (LinkKind.BACKHAUL, satellite.up.rate_bps, 0.3, 0.004),
        ("cloud", "edge-0"): (LinkKind.BACKHAUL, satellite.down.rate_bps, 0.3, 0.004),
        ("device-00", "device-01"): (LinkKind.D2D, 32.5e6, 0.002, 0.0),
    }
    for (src, dst), (kind, *numbers) in expected.items():
        link = found.link(src, dst)
        assert link is not None
        assert (link.kind, [link.rate_bps, link.delay_s, link.loss]) == (kind, numbers)


def test_an_unknown_profile_is_one_line(tmp_path: Path):
    with pytest.raises(
        ScenarioError, match=r"channel.links\[0\].profile: no profile '6g'; there are .*lte"
    ) as error:
        plan(tmp_path, [{"from": "device", "to": "edge", "both": True, "profile": "6g"}], "edge-only")
    assert "\n" not in str(error.value)


def test_a_link_table_comes_before_the_rules(tmp_path: Path):
    table = tmp_path / "measured.yaml"
    table.write_text(
        'links:\n  - {from: "device-00", to: "edge-0", rate_bps: 1e6}\n  - {from: edge, to: cloud, rate_bps: 2e6}\n'
    )
    rules = [
        {"from": "device-01", "to": "edge", "rate_bps": 3e6},
        {"from": "edge", "to": "cloud", "delay_s": 0.5},
    ]
    found = plan(tmp_path, rules, "edge-only", table="measured.yaml")
    rates = {(link.src, link.dst): (link.rate_bps, link.delay_s) for link in found.links}
    assert rates == {
        ("device-00", "edge-0"): (1e6, 0),
        ("device-01", "edge-0"): (3e6, 0),
        ("edge-0", "cloud"): (2e6, 0.5),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot read"),
        ("links: [", "no YAML"),
        ("links: 3", "links"),
        ("links: [{from: device, to: edge, rate_bps: 0}]", "greater than 0"),
        ("links: [{from: nobody, to: edge, rate_bps: 1}]", "'nobody' is neither a tier"),
    ],
)
def test_a_broken_link_table_is_one_line(tmp_path: Path, text: str | None, says: str):
    if text is not None:
        (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ScenarioError, match=says) as error:
        plan(tmp_path, [], "edge-only", table="t.yaml")
    assert "channel.table" in str(error.value)
    assert "\n" not in str(error.value)
