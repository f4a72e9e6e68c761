"""What can be wrong with a scenario: one line with the file, the key and the remedy; never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import cli
from tests.orchestrator.scenarios import SHIPPED

QUICKSTART, TREE = ((SHIPPED / f"{name}.yaml").read_text() for name in ("quickstart", "three-tiers"))

# (scenario, what is replaced, by what, key that the message names, words of the remedy)
WRONG = [
    (QUICKSTART, "edge_servers: 2", "edge_serverz: 2", "topology.edge_serverz", "did you mean 'edge_servers'"),
    (QUICKSTART, "seed: 7", "sneed: 7", "sneed", "did you mean 'seed'"),
    (QUICKSTART, "edge_servers: 2", "edge_servers: two", "topology.edge_servers", "a whole number, not 'two'"),
    (QUICKSTART, "per_cluster: 4", "per_cluster: 0", "topology.devices_per_cluster", "must be at least 1, not 0"),
    (QUICKSTART, "per_cluster: 4", "per_cluster: 99999999", "topology", "at most 65000"),
    (QUICKSTART, "hf-fm-2,", "hf-fm-0,", "methods[2]", "E, from 1"),
    (QUICKSTART, "hf-fm-2,", "hffm-2,", "methods[2]", "did you mean 'hf-fm-2'"),
    (QUICKSTART, "hf-fm-2,", "star,", "methods[2]", "listed twice"),
    (QUICKSTART, "concentration: 0.1", "concentration: 0", "partition.concentration", "must be more than 0"),
    (QUICKSTART, "kind: drawn", "kind: grid", "topology.kind", "'drawn' or 'tree', not 'grid'"),
    (QUICKSTART, "  kind: drawn\n", "", "topology.kind", "write kind: drawn"),
    (QUICKSTART, "name: quickstart", "name: quick/start", "name", "must be a name"),
    (QUICKSTART, "name: quickstart\n", "", "name", "missing; add the key"),
    (QUICKSTART, "seed: 7", "seed: 7\nseed: 8", "'seed'", "written twice"),
    (QUICKSTART, "rounds: 10", "rounds: 1.5", "rounds", "must be a whole number"),
    (QUICKSTART, "rounds: 10", "rounds: on", "rounds", "must be a whole number, not 'on'"),
    (QUICKSTART, "seed: 7", "seed: -1", "seed", "must be at least 0"),
    (QUICKSTART, "area_m: 2000", "area_m: .inf", "topology.area_m", "finite"),
    (QUICKSTART, "area_m: 2000", "area_m: 100", "topology", "lower min_separation_m"),
    (QUICKSTART, "heads: random", "heads: [1]", "topology.d2d.heads", "no head for the cluster of 'edge-1'"),
    (QUICKSTART, "heads: random", "heads: [1, 2]", "topology.d2d.heads[1]", "keep one"),
    (QUICKSTART, "heads: random", "heads: [1, 99]", "topology.d2d.heads[1]", "from 0 to 7"),
    (QUICKSTART, "heads: random", "heads: [1, x]", "topology.d2d.heads[1]", "no device 'x'"),
    (QUICKSTART, "heads: random", "heads: 3", "topology.d2d.heads", "must be random, rotating, latency"),
    (QUICKSTART, "graph: mst", "graph: tree", "topology.d2d.graph", "must be mst, line, ring"),
    (QUICKSTART, "channel: physical", "channel: 5g", "channel", "'physical' or 'table', not '5g'"),
    (QUICKSTART, "channel: physical", "channel: {model: table}", "channel.links", "add {from: device, to: device"),
    (QUICKSTART, "channel: physical", "channel: {model: physical, uplnk: {}}", "channel.uplnk", "'uplink'"),
    (QUICKSTART, "channel: physical", "channel: {model: published, links: []}", "channel.links", "are fixed"),
    (QUICKSTART, "builtin:tiny-vilt", "./nothing", "model.backbone", "no folder"),
    (QUICKSTART, "links: paced", "links: fibre", "links", "'none'"),
    (QUICKSTART, "links: paced", "network: {base_port: 65530}", "network.base_port", "at most 65525"),
    (QUICKSTART, "digits, source", "gqa, source", "tasks[2].name", "two tasks are named 'gqa'"),
    (QUICKSTART, "builtin:art,", "builtin:art, answers: 99,", "tasks", "ask for at most 10"),
    (QUICKSTART, "builtin:art,", "builtin:art, images: .,", "tasks[1].images", "reads no files"),
    (QUICKSTART, "builtin:art,", "vizwiz,", "tasks[1].annotations", "missing"),
    (QUICKSTART, "builtin:art,", "vizwiz, answers: 5, annotations: none.json,", "tasks[1].annotations", "no file"),
    (QUICKSTART, "builtin:art,", "vizwiz, annotations: wrong.yaml, images: gone,", "tasks[1].images", "no folder"),
    (TREE, "edge-b: 3", "edge-b: 0", "topology.tree.north.edge-b", "1 or more"),
    (TREE, "edge-b: 3", "edge-b: 300000000", "topology.tree.north.edge-b", "at most 65000"),
    (TREE, "edge-b: 3", "edge b: 3", "topology.tree.north.edge b", "is no name"),
    (TREE, "[cloud, region, edge]", "[cloud, edge]", "topology.tree.north", "number of its devices"),
    (TREE, "[cloud, region, edge]", "[cloud, a, region, edge]", "topology.tree.north.edge-a", "tier 'edge'"),
    (TREE, "[cloud, region, edge]", "[cloud, cluster, edge]", "topology.tiers[1]", "taken"),
    (TREE, "  kind: tree", "  kind: tree\n  fanout: [1, 2, 3]", "topology", "either fanout"),
    (TREE, "[phone, watch, glasses]", "[phone, north]", "topology.tree", "'north' is taken"),
    (TREE, "[phone, watch], [phone, glasses]", "[phone, watch]", "topology.d2d.graph.edge-c", "add the missing"),
    (TREE, "[phone, glasses]", "[phone, device-00]", "topology.d2d.graph.edge-c", "not two devices of one cluster"),
    (TREE, "edge-a: ring", "edge-x: ring", "topology.d2d.graph.edge-x", "no such aggregator"),
    (TREE, 'methods: "hf-fm-*", periods: {edge: 1, region: 4}', "periods: {cluster: 3, edge: 4}",
     "circulation[0].periods.edge", "no multiple of the 3"),
    (TREE, 'methods: "hf-fm-*", periods: {edge: 1, region: 4}', "periods: {region: 4}",
     "circulation[0].periods", "'edge' is missing"),
    (TREE, 'methods: "hf-fm-*", periods: {edge: 1, region: 4}', "periods: {edgy: 4}",
     "circulation[0].periods", "has no tier 'edgy'"),
    (TREE, '"head/*"', '"heads/*"', "circulation[0].modules", "there are adapter"),
    (TREE, "from: watch", "from: wach", "channel.links[6].from", "neither a tier"),
    (TREE, "model: table", "model: physical", "channel.model", "needs places"),
    (TREE, "rate_bps: 20e6", "rate_bps: 0", "channel.links[0].rate_bps", "must be more than 0"),
    (TREE, "loss: 0.001", "loss: 1", "channel.links[7].loss", "must be less than 1"),
]  # fmt: skip

NOT_SCENARIOS = {
    b"": "is empty",
    b"# nothing\n": "is empty",
    b"- a\n- b\n": "not a mapping",
    b"just text\n": "not a mapping",
    b"a: [1,\n": "not YAML",
    b"\t a: 1": "not YAML",
    b"a: *b": "not YAML",
    b"? [a]: b\n": "not YAML",
    b"name: !!python/object:os.system x\n": "not YAML",
    b"a: 1\n---\nb: 2\n": "not YAML",
    b"\xff\xfe\x00": "not UTF-8",
    b"a: &x [*x]\n": "contains itself",
    b"a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
    b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e]\n": "too large",
}  # fmt: skip


def hffm(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["hffm", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: [^\n]+\n", err)
    return err


@pytest.mark.parametrize(
    ("text", "old", "new", "key", "remedy"), WRONG, ids=[w[2].strip() or "gone" for w in WRONG]
)
def test_wrong_scenarios(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    old: str,
    new: str,
    key: str,
    remedy: str,
) -> None:
    assert old in text
    file = tmp_path / "wrong.yaml"
    file.write_text(text.replace(old, new, 1))
    assert hffm(monkeypatch, "plan", str(file), "--json") == 10
    line = one_line(capsys)
    assert f"{file}" in line
    assert f" {key}" in line
    assert remedy in line


@pytest.mark.parametrize(("content", "why"), NOT_SCENARIOS.items(), ids=range(len(NOT_SCENARIOS)))
def test_files_that_are_no_scenarios(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    why: str,
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_bytes(content)
    assert hffm(monkeypatch, "cost", str(file)) == 10
    assert why in one_line(capsys)


def test_the_message_names_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: x\nmethods: [star]\ntopology:\n  kind: drawn\n  area_m: -1\ntasks: []\n")
    assert hffm(monkeypatch, "plan", str(file)) == 10
    assert f"{file}:5: topology.area_m: must be more than 0" in one_line(capsys)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    lines = data.draw(st.sampled_from([QUICKSTART, TREE])).splitlines()
    i = data.draw(st.integers(0, len(lines) - 1))
    old = data.draw(st.sampled_from(re.findall(r"[\w.]+|[{}\[\]:,]", lines[i]) or [lines[i]]))
    lines[i] = lines[i].replace(
        old, data.draw(st.sampled_from(["", "0", "-1", "x", "[]", "{}", "null", "1e9", ":", "'"])), 1
    )
    file = tmp_path / "damaged.yaml"
    file.write_text("\n".join(lines))
    if hffm(monkeypatch, "plan", str(file), "--json") == 0:
        capsys.readouterr()
    else:
        one_line(capsys)
