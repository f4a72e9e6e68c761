"""`hffm plan` and `hffm cost` as a user and a script see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from node.plan import dump_plan, load_plan
from orchestrator import cli
from orchestrator.plans.resolve import resolve
from tests.orchestrator.scenarios import SHIPPED, shipped

QUICKSTART, STUDY, TREE = (str(SHIPPED / f"{n}.yaml") for n in ("quickstart", "case-study", "three-tiers"))


def hffm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["hffm", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return (int(end.value.code or 0), *capsys.readouterr())


def test_cost_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = hffm(monkeypatch, capsys, "cost", STUDY, "--json")
    rows = json.loads(out)["rows"]
    assert (code, err) == (0, "")
    assert sum("way" not in row for row in rows) == 14
    assert len({(row["channel"], row["method"]) for row in rows}) == len(rows)
    star = rows[0]
    assert (star["method"], star["channel"], star["published_energy_j"]) == ("star", "published", 387.2)
    assert (star["latency_s"], star["energy_j"]) == (pytest.approx(12.1), pytest.approx(387.2))


def test_cost_as_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = hffm(monkeypatch, capsys, "cost", STUDY)
    assert code == 0
    line = next(line for line in out.splitlines() if "hf-fm+d2d-2" in line)
    assert line.split()[1:3] == line.split()[-2:] == ["8.86", "67.57"]


def test_plan_as_json_is_the_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    code, out, _ = hffm(
        monkeypatch, capsys, "plan", QUICKSTART, "-m", "hf-fm-2", "--json", "--out", str(file)
    )
    assert code == 0
    assert out == file.read_text() == dump_plan(resolve(shipped("quickstart"), "hf-fm-2"))
    assert load_plan(file).method == "hf-fm-2"
    assert {"src", "dst", "kind", "rate_bps", "delay_s", "power_w"} <= set(json.loads(out)["links"][0])


@pytest.mark.parametrize("scenario", [QUICKSTART, STUDY, TREE])
def test_plan_tells_a_person_everything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scenario: str
) -> None:
    code, out, err = hffm(monkeypatch, capsys, "plan", scenario)
    assert (code, err) == (0, "")
    for word in ("Circulation", "every round", "Nodes", "head", "Routes", " > cloud", "Mbit/s"):
        assert word in out


def test_routes_go_hop_by_hop_to_the_head(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = hffm(monkeypatch, capsys, "plan", STUDY, "-m", "hf-fm+d2d-2")
    assert "device-02 > device-01 > device-00 > edge-0 > cloud" in out
    _, out, _ = hffm(monkeypatch, capsys, "plan", STUDY, "-m", "star")
    assert "device-02 > cloud" in out


@pytest.mark.parametrize("scenario", [QUICKSTART, STUDY, TREE])
@pytest.mark.parametrize("method", ["star", "hf-fm-2", "hf-fm+d2d-2"])
def test_the_picture_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    scenario: str,
    method: str,
) -> None:
    file = tmp_path / "topology.png"
    assert hffm(monkeypatch, capsys, "plan", scenario, "-m", method, "--png", str(file))[0] == 0
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, ""),
        (("plan",), 2, "Missing argument"),
        (("plan", QUICKSTART, "--channel", "5g"), 2, "5g"),
        (("nonsense",), 2, "nonsense"),
        (("plan", "none.yaml"), 10, "cannot read the scenario"),
        (("cost", str(SHIPPED)), 10, "cannot read the scenario"),
        (("plan", QUICKSTART, "-m", "flat"), 10, "unknown method 'flat'"),
        (("plan", QUICKSTART, "--png", "x.unknown"), 60, "name a .png"),
        (("plan", QUICKSTART, "--out", "/nowhere/plan.json"), 60, "choose another --out"),
    ],
)
def test_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    why: str,
) -> None:
    found, _, err = hffm(monkeypatch, capsys, *arguments)
    assert found == code
    assert why in err
    assert "Traceback" not in err


def test_help_needs_neither_torch_nor_matplotlib_nor_pydantic() -> None:
    script = (
        "import sys; sys.argv = ['hffm', '--help']\n"
        "from orchestrator.cli import main\n"
        "try: main()\n"
        "finally: print('|', sorted({'torch', 'matplotlib', 'pydantic', 'numpy', 'grpc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("| []")


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m orchestrator.cli plan {STUDY} --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")
