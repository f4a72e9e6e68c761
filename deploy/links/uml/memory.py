"""Where a guest's memory lies: in a file that is unlinked at once, of which only the touched pages exist."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from node.errors import LaunchError

_ST_NOEXEC = 8  # statvfs flag: a kernel's memory is executed


def memory_folder(memory_mb: int) -> Path:
    """A folder with room for it whose files may be executed, in memory if possible. Raises LaunchError."""
    folders = [Path("/dev/shm"), Path(tempfile.gettempdir()), Path.home()]
    for folder in folders:
        if folder.is_dir() and os.access(folder, os.W_OK) and _serves(folder, memory_mb):
            return folder
    names = ", ".join(map(str, folders))
    raise LaunchError(
        f"a guest of {memory_mb} MB needs as much room in one of {names}, not mounted noexec: "
        "make room there, or set TMPDIR to a folder that has it"
    )


def _serves(folder: Path, memory_mb: int) -> bool:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize >= memory_mb << 20 and not state.f_flag & _ST_NOEXEC
