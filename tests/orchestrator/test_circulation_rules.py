"""Circulation rules in scenarios: what lands in the plan, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import ScenarioError
from node.plan import Plan, Precision, Relay
from orchestrator.plans.reading import load_scenario
from orchestrator.plans.resolve import resolve
from orchestrator.report.plan_text import sections
from tests.orchestrator.scenarios import SHIPPED

QUICKSTART = (SHIPPED / "quickstart.yaml").read_text()


def plan(tmp_path: Path, rules: str, method: str = "hf-fm-2") -> Plan:
    file = tmp_path / "circulation.yaml"
    file.write_text(f"{QUICKSTART}\ncirculation: {rules}\n")
    return resolve(load_scenario(file), method)


def test_each_field_of_a_later_rule_wins(tmp_path: Path) -> None:
    heads, adapter = "{modules: 'head/*', mix: keep}", "{modules: adapter, precision: int8}"
    rules = f"[{{modules: '*', precision: bf16, mix: 0.25}}, {heads}, {adapter}]"
    found = {m.name: (m.precision, m.mix) for m in plan(tmp_path, rules).modules}
    assert found["adapter"] == (Precision.INT8, 0.25)
    assert found["head/gqa"] == (Precision.BF16, 0.0)
    untouched = plan(tmp_path, "[{modules: 'head/*', mix: replace}]").modules
    assert {(m.precision, m.mix) for m in untouched} == {(Precision.FP32, 1.0)}


def test_the_plan_says_what_travels_how(tmp_path: Path) -> None:
    rules = "[{modules: adapter, precision: int8, mix: 0.5}, {modules: 'head/*', mix: keep}]"
    found = plan(tmp_path, rules, "hf-fm+d2d-2@aggregate")
    assert [found.modules[0].relay, found.modules[1].relay] == [Relay.CUT_THROUGH, None]
    circulation = list(sections(found))[1]
    cells = {line[0]: line[circulation.headers.index("travels")] for line in circulation.lines}
    size = found.modules[0].wire_bytes / 1e6
    assert cells["adapter"] == f"int8, {size:.3f} MB, cut-through, 0.5 of it is mixed in"
    assert cells["head/gqa"].endswith("devices keep their own")


def test_a_padded_payload_shrinks_with_the_precision(tmp_path: Path) -> None:
    every = "[{modules: '*', precision: bf16}]"
    whole, half = (
        plan(tmp_path, rules).replace(payload_bytes=6_000_000) for rules in ("[{modules: '*'}]", every)
    )
    names = [m.name for m in whole.modules]
    assert (whole.padded_bytes(names), half.padded_bytes(names)) == (6_000_000, 3_000_000)


@pytest.mark.parametrize(
    ("rule", "method", "why"),
    [
        ("precision: int4", "star", "circulation[0].precision: must be 'fp32', 'bf16' or 'int8', not 'int4'"),
        ("precision: int8", "hf-fm+d2d-2@consensus", "is a consensus, which is in fp32 only"),
        ("precision: bf16, relay: aggregate", "hf-fm+d2d-2", "relays that aggregate add up fp32 only"),
        ("mix: 1.5", "star", "circulation[0].mix: must be replace, keep or a share between 0 and 1"),
        ("mix: mine", "star", "circulation[0].mix: must be replace, keep or a share between 0 and 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, rule: str, method: str, why: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan(tmp_path, f"[{{modules: adapter, {rule}}}]", method)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
