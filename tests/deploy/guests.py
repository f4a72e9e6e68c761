"""Guests for tests: left out with the reason where one cannot be had, but failed under CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from deploy.links.uml import Kernel, debian_kernel, lab_kernel, run_in_guest
from node.errors import LaunchError

SMALL_MB = 512


def kernel(find: Callable[[], Kernel] = debian_kernel) -> Kernel:
    try:
        return find()
    except LaunchError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def lab() -> Kernel:
    return kernel(lab_kernel)


def python(out: Path, code: str, of: Kernel | None = None, timeout_s: float = 120.0) -> int:
    """Runs Python code in a guest; its exit code."""
    command = [sys.executable, "-c", code]
    with patch("tempfile.tempdir", str(out)):  # by which `guests` knows it
        return run_in_guest(command, out, dict(os.environ), SMALL_MB, timeout_s, of or kernel())


def guests(out: Path) -> list[int]:
    """Processes of this host that are guests of `python` with this folder, or run in them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"uml_dir={out}/".encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found
