"""Debian packages without rights: downloaded by apt-get, unpacked beside each other into a cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node.errors import LaunchError

CACHE = "HFFM_CACHE"  # environment: the folder for what is fetched or built once; default ~/.cache/hffm
_FETCH_S = 600.0


def cache_folder() -> Path:
    """Where what is fetched or built once is kept. Raises LaunchError if it cannot be made."""
    folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "hffm") / "uml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(
            f"{folder}: {error.strerror}; set {CACHE} to a folder that can be written"
        ) from error
    return folder


def unpacked(name: str, packages: Sequence[str]) -> Path:
    """The folder `name` of the cache, with these packages unpacked in it; fetched if it is not there yet."""
    folder = cache_folder() / name
    with only_one(cache_folder() / f"{name}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=folder.parent) as scratch:
                root = Path(scratch) / "root"
                _fetch(packages, Path(scratch), root)
                root.rename(folder)
    return folder


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Held by one process at a time; free again when its holder ends, however it does."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(packages: Sequence[str], scratch: Path, root: Path) -> None:
    names = " ".join(packages)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise LaunchError(
            f"this needs the Debian packages {names}, and apt-get or dpkg is not here: install what they hold"
        )
    # apt-get downloads into the working folder; the sandbox user could not write to it.
    _run(["apt-get", "-o", "APT::Sandbox::User=", "download", *packages], scratch, names)
    for archive in sorted(scratch.glob("*.deb")):
        _run(["dpkg", "-x", str(archive), str(root)], scratch, names)


def _run(command: list[str], folder: Path, names: str) -> None:
    try:
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (str(error.stderr or "").strip().splitlines() or ["it took too long"])[-1]
        raise LaunchError(
            f"cannot fetch the Debian packages {names}: {said}; run `apt-get update` as root, or install them"
        ) from error
