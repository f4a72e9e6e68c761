"""`hffm compare` on the quickstart with each backend of links and each launcher that go together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.launch.inventory import Board
from deploy.links.capabilities import probe
from deploy.links.uml import debian_kernel, lab_kernel
from node.plan import load_plan
from tests.deploy.guests import kernel
from tests.deploy.machine import needs
from tests.emulation.test_boards import _board, _keys, inventory  # noqa: F401 (fixtures)
from tests.orchestrator.scenarios import SHIPPED
from tests.system.command import hffm, summary

METHODS = ("star", "hf-fm+d2d-2")  # uplinks alone, and with device-to-device links
ROUNDS = 2  # the cloud averages in every second one
PATIENCE_S = 1200.0
KERNEL = ("netem", "tbf") if probe().lacks("netem") is None else ("tbf",)
GUESTS = {"uml": debian_kernel, "lab": lab_kernel}  # whose kernels have netem, whatever the host's has
# Each backend and each launcher, without training and without TLS; with them, see below.
PAIRS = [
    ("forked", "paced"),
    ("processes", "paced"),
    *(("namespaces", links) for links in ("paced", *KERNEL, *GUESTS)),
    ("namespaces-processes", KERNEL[0]),
    *(("containers", links) for links in KERNEL),
    ("ssh", "paced"),
]


@pytest.mark.timeout(2 * PATIENCE_S + 60)
def test_nodes_in_containers_learn_what_nodes_of_one_process_do(request: Any, tmp_path: Path):
    plain = compare("forked", "none", request, tmp_path / "plain")
    contained = compare("containers", "paced", request, tmp_path / "contained")
    assert modules(contained) == modules(plain)


@pytest.mark.timeout(2 * PATIENCE_S + 60)
@pytest.mark.parametrize(("launcher", "links"), PAIRS, ids=lambda name: name)
def test_quickstart(launcher: str, links: str, reference: Any, request: Any, tmp_path: Path):
    """The noise that is averaged in place of trained modules is the same everywhere."""
    run = compare(launcher, links, request, tmp_path, "--without-training")
    for method in METHODS:
        found = summary(run / method)
        assert found["state"] == "complete"
        assert (found["links_backend"], found["rounds"]["done"]) == (links, ROUNDS)
        assert json.loads((run / method / "manifest.json").read_text())["launcher"] == launcher
    assert modules(run) == reference


@pytest.mark.timeout(2 * PATIENCE_S + 60)
def test_nodes_in_containers_speak_mutual_tls(reference: Any, request: Any, tmp_path: Path):
    """With certificates of which none is left."""
    run = compare("containers", "none", request, tmp_path, "--without-training", "--tls")
    for method in METHODS:
        said = (run / method / "events.jsonl").read_text().splitlines()
        joined = [event for event in map(json.loads, said) if event["kind"] == "joined"]
        assert {event["tls"] for event in joined} == {True}
        assert len(joined) == len(load_plan(run / method / "plan.json").nodes)
    assert modules(run) == reference
    assert not list(run.rglob("*.pem"))


@pytest.fixture(scope="module", name="reference")
def _reference(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("reference")
    return modules(compare("forked", "none", request, folder, "--without-training"))


def modules(run: Path) -> dict[str, Any]:
    """Method -> digests of the final modules."""
    return {method: summary(run / method)["modules"] for method in METHODS}


def compare(launcher: str, links: str, request: Any, folder: Path, *options: str) -> Path:
    folder.mkdir(exist_ok=True)
    if links in GUESTS:
        kernel(GUESTS[links])
    elif launcher in ("namespaces", "namespaces-processes", "containers"):
        needs("namespaces" if launcher.startswith("namespaces") else launcher)
    text = (SHIPPED / "quickstart.yaml").read_text()
    text = re.sub(r"^methods: .*$", f"methods: [{', '.join(METHODS)}]", text, flags=re.M)
    text += "limits: {connect_s: 600, join_s: 600, lease_s: 60}\n"  # of a busy machine
    if launcher == "ssh":
        board: Board = request.getfixturevalue("board")
        text += inventory(board)
    (folder / "quickstart.yaml").write_text(text)
    options = ("--rounds", str(ROUNDS), "--launcher", launcher, "--links", links, "--out", "run", *options)
    done = hffm(folder, "compare", "quickstart.yaml", *options, timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return folder / "run"
