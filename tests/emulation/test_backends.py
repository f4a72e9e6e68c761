"""`hffm compare` on the quickstart with each backend of links and each launcher that go together; see also
test_guests.py, for netem in the kernel of a guest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.launch.inventory import Board
from deploy.links.capabilities import probe
from tests.deploy.machine import needs
from tests.emulation.test_boards import _board, _keys, inventory  # noqa: F401 (fixtures)
from tests.orchestrator.scenarios import SHIPPED
from tests.system.command import hffm, summary

METHODS = ("star", "hf-fm+d2d-2")  # uplinks alone, and with device-to-device links
ROUNDS = 2  # the cloud averages in every second one
PATIENCE_S = 1200.0
KERNEL = ("netem", "tbf") if probe().lacks("netem") is None else ("tbf",)
PAIRS = [
    ("forked", "none"),
    ("forked", "paced"),
    ("processes", "paced"),
    *(("namespaces", links) for links in ("none", "paced", *KERNEL)),
    ("namespaces-processes", KERNEL[0]),
    *(("containers", links) for links in ("paced", *KERNEL)),
    ("ssh", "paced"),
]


@pytest.mark.timeout(PATIENCE_S + 60)
@pytest.mark.parametrize(("launcher", "links"), PAIRS, ids=lambda name: name)
def test_quickstart(launcher: str, links: str, reference: Any, request: Any, tmp_path: Path):
    run = compare(launcher, links, request, tmp_path)
    for method in METHODS:
        found = summary(run / method)
        assert found["state"] == "complete"
        assert (found["links_backend"], found["rounds"]["done"]) == (links, ROUNDS)
        assert json.loads((run / method / "manifest.json").read_text())["launcher"] == launcher
        # Where nodes run and what holds their links is nothing that they learn from.
        assert found["modules"] == reference[method], f"{method}: other modules than with forked, none"


@pytest.fixture(scope="module", name="reference")
def _reference(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Method -> digests of the final modules."""
    run = compare("forked", "none", request, tmp_path_factory.mktemp("reference"))
    return {method: summary(run / method)["modules"] for method in METHODS}


def compare(launcher: str, links: str, request: Any, folder: Path) -> Path:
    if launcher in ("namespaces", "namespaces-processes", "containers"):
        needs("namespaces" if launcher.startswith("namespaces") else launcher)
    text = (SHIPPED / "quickstart.yaml").read_text()
    text = re.sub(r"^methods: .*$", f"methods: [{', '.join(METHODS)}]", text, flags=re.M)
    if launcher == "ssh":
        board: Board = request.getfixturevalue("board")
        text += inventory(board)
    (folder / "quickstart.yaml").write_text(text)
    options = ("--rounds", str(ROUNDS), "--launcher", launcher, "--links", links, "--out", "run")
    done = hffm(folder, "compare", "quickstart.yaml", *options, timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return folder / "run"
