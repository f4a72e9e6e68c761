"""What a guest's kernel needs on processors with more registers than it knows: see registers.c."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.links.uml.packages import cache_folder, only_one
from node.errors import LaunchError

_SOURCE = Path(__file__).with_name("registers.c")
_TOO_MANY = "amx_tile"  # flag in /proc/cpuinfo of processors whose registers outgrow the kernel's buffer
_COMPILE_S = 60.0


def preloaded() -> dict[str, str]:
    """Environment for a guest's kernel on this machine's processor. Raises LaunchError."""
    return {"LD_PRELOAD": str(_library())} if _TOO_MANY in Path("/proc/cpuinfo").read_text().split() else {}


def _library() -> Path:
    """Compiled once, and kept in the cache."""
    library = cache_folder() / f"registers-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}.so"
    with only_one(library.with_suffix(".lock")):
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
                made = Path(scratch) / library.name
                _compile(made)
                made.rename(library)
    return library


def _compile(made: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise LaunchError(
            "guests on a processor with AMX need a small library compiled, and there is no C compiler: "
            "apt-get install gcc libc6-dev"
        )
    try:
        subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(_SOURCE), "-ldl"],
            check=True, capture_output=True, text=True, timeout=_COMPILE_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (str(error.stderr or "").strip().splitlines() or ["it took too long"])[-1]
        raise LaunchError(
            f"{_SOURCE.name} does not compile: {said}; apt-get install gcc libc6-dev"
        ) from error
