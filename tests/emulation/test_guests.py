"""Whole commands inside guests: `--links uml` in real time, `--links lab` in virtual time."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from deploy.links.uml import debian_kernel, lab_kernel
from tests.deploy.guests import kernel, lab, python
from tests.system.command import hffm, processes_of, scenario, started, summary, until

KERNELS = {"uml": debian_kernel, "lab": lab_kernel}
_PATIENCE_S = 900.0  # on the host's clock: a guest imports torch slowly, and shares its host


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Guests lie below it, so that `processes_of` finds them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.timeout(_PATIENCE_S)
@pytest.mark.parametrize("links", KERNELS)
def test_a_run_in_a_guest_leaves_a_whole_run_folder(links: str, folder: Path) -> None:
    kernel(KERNELS[links])
    options = ("-m", "hf-fm+d2d-2", "--links", links, "--without-training", "--out", "out", "--json")
    done = hffm(folder, "run", scenario(folder), *options, timeout_s=_PATIENCE_S)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    found = summary(folder / "out")
    assert (found["state"], found["links_backend"], row["links_backend"]) == ("complete", links, links)
    assert found["rounds"]["done"] == 2
    assert "User-Mode Linux" in json.loads((folder / "out/manifest.json").read_text())["links_why"]
    assert (folder / "out/report.html").is_file()
    assert (folder / "out/modules/cloud/adapter.safetensors").is_file()
    assert processes_of(folder) == []


@pytest.mark.timeout(_PATIENCE_S)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_a_run_that_is_ended_leaves_no_guest(number: signal.Signals, code: int, folder: Path) -> None:
    kernel()
    options = ("--rounds", "500", "--links", "uml", "--without-training", "--out", "out")
    run = started(folder, "run", scenario(folder), *options)
    with run:
        until(lambda: "round 1/500" in (run.stderr.readline() if run.stderr else ""), "a round", _PATIENCE_S)
        run.send_signal(number)
        run.communicate(timeout=_PATIENCE_S)
        assert run.returncode == code
    until(lambda: not processes_of(folder), "the guest is gone", 30.0)
    if number is not signal.SIGKILL:
        assert summary(folder / "out")["state"] == "interrupted"


@pytest.mark.timeout(_PATIENCE_S)
def test_links_in_virtual_time_are_as_modelled(folder: Path) -> None:
    """All at once, whatever else this host does meanwhile."""
    lab()
    options = ("--links", "lab", "--concurrent", "--bytes", "2000000", "--json")
    done = hffm(folder, "links", "check", scenario(folder), *options, timeout_s=_PATIENCE_S)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 24
    assert max(abs(row["error"]) for row in rows) < 0.03, rows


def test_a_thousand_seconds_pass_at_once_in_virtual_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    of = lab()
    started_at = time.monotonic()
    assert python(tmp_path, "import time; a = time.time(); time.sleep(1000); print(time.time() - a)", of) == 0
    assert float(capfd.readouterr().out) == pytest.approx(1000, abs=0.01)
    assert time.monotonic() - started_at < 1000
