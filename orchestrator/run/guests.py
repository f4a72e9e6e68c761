"""A command of `hffm` once more, inside a User-Mode Linux guest: `--links uml` and `--links lab`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy.links.uml import debian_kernel, lab_kernel, run_in_guest
from node.errors import RunFolderError

# Backend -> its kernel. In both, netem shapes the links between namespaces.
KERNELS = {"uml": debian_kernel, "lab": lab_kernel}
_INSIDE = "HFFM_GUEST"  # environment of the command inside: the backend
# What a guest's memory is made for: the system with torch imported once, and what a node has of its own.
_SYSTEM_MB, _NODE_MB = 2048, 160
# On the host's clock. The nodes' own limits end a run before, unless something spins and virtual time stands still.
_TIMEOUT_S = 6 * 3600.0
_NOT_HANDED_ON = ("TMPDIR", "COLUMNS", "LINES")


def inside() -> str | None:
    """The backend whose guest this process runs in."""
    return os.environ.get(_INSIDE)


def again(links: str, arguments: Sequence[str], out: Path, nodes: int) -> int:
    """Runs `hffm` with these arguments in a guest with room for so many nodes; its exit code.

    `out` is all that it can write to. Raises LaunchError, and RunFolderError when `out` cannot be made.
    """
    kernel = KERNELS[links]()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{out}: {error.strerror}; name another folder with --out") from error
    command = [sys.executable, "-m", "orchestrator.cli", *arguments]
    memory_mb = _SYSTEM_MB + _NODE_MB * nodes
    try:
        return run_in_guest(command, out, _environment(links), memory_mb, _TIMEOUT_S, kernel)
    finally:
        with suppress(OSError):  # only if nothing was written
            out.rmdir()


def _environment(links: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON}
    kept |= {_INSIDE: links, "PYTHONUNBUFFERED": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    # Whatever goes through a set of strings has the same order in every run.
    return kept | ({"PYTHONHASHSEED": "0"} if links == "lab" else {})
