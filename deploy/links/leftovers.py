"""The networks of namespaces that this software has made on this host, also those of runs that crashed.

Everything of ours can be told by its name: namespaces are called hffm-ID and hffm-ID-NODE, the one interface on the
host carries the alias hffm:ID. Nothing else is ever touched. Who uses a network holds a lock on its mark in
/run/hffm; the lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from deploy.links.commands import attempt, run
from node.errors import LinksError

_MARKS = Path("/run/hffm")
_NAMESPACES = Path("/run/netns")  # where iproute2 keeps them
_INTERFACES = Path("/sys/class/net")
_NAME = re.compile(r"hffm-([0-9a-f]{8})(?:-.+)?")
_TRIAL = re.compile(r"hffm-trial-(\d+)")  # of a probe of capabilities that was killed


@dataclass(frozen=True)
class Found:
    """One network on this host."""

    ident: str
    namespaces: tuple[str, ...]
    about: dict[str, Any]  # scenario, method, links, pid; empty where the mark is gone
    in_use: bool  # by a process that runs


def namespace(ident: str, node: str | None = None) -> str:
    if node is None:
        return f"hffm-{ident}"
    if "/" in node or not node.isprintable():
        raise LinksError(f"'{node}' cannot be the name of a namespace; name the node without slashes")
    return f"hffm-{ident}-{node}"


def interface(ident: str) -> str:
    return f"hffm{ident}"  # 12 of the 15 characters that Linux has for it


def alias(ident: str) -> str:
    return f"hffm:{ident}"


class Mark:
    """Says on disk what a network is for, and by its lock that somebody uses it."""

    def __init__(self, ident: str, about: dict[str, Any]) -> None:
        _MARKS.mkdir(exist_ok=True)
        self._file = (_MARKS / ident).open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        json.dump({**about, "pid": os.getpid()}, self._file)
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def find() -> list[Found]:
    names: dict[str, list[str]] = {}
    for path in _listed(_NAMESPACES):
        if match := _NAME.fullmatch(path.name):
            names.setdefault(match[1], []).append(path.name)
    for ident in (*_aliased(), *(path.name for path in _listed(_MARKS))):
        names.setdefault(ident, [])
    return [Found(ident, tuple(sorted(names[ident])), *_state(ident)) for ident in sorted(names)]


def remove(ident: str) -> None:
    """Interface, namespaces and mark. What is gone already does not matter; raises LinksError for what stays."""
    if ident in _aliased() or (_INTERFACES / interface(ident)).exists():
        attempt("ip", "link", "del", interface(ident))
    for path in _listed(_NAMESPACES):
        match = _NAME.fullmatch(path.name)
        if match and match[1] == ident:
            said = attempt("ip", "netns", "del", path.name)
            if said.returncode and path.exists():
                raise LinksError(
                    f"namespace {path.name} stays: {said.stderr.strip()}; run `hffm links clear` as root"
                )
    (_MARKS / ident).unlink(missing_ok=True)


def remove_trials() -> None:
    """Namespaces of probes whose process has ended."""
    for path in _listed(_NAMESPACES):
        match = _TRIAL.fullmatch(path.name)
        if match and not Path("/proc", match[1]).exists():
            attempt("ip", "netns", "del", path.name)


def taken_blocks() -> list[IPv4Network]:
    """The IPv4 networks that this host knows a way to, other than by default."""
    routes = json.loads(run("ip", "-j", "-4", "route") or "[]")
    return [IPv4Network(r["dst"], strict=False) for r in routes if r["dst"] != "default"]


def _state(ident: str) -> tuple[dict[str, Any], bool]:
    try:
        with (_MARKS / ident).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                in_use = False
            except BlockingIOError:
                in_use = True
            return json.loads(file.read() or "{}"), in_use
    except (OSError, ValueError):
        return {}, False


def _aliased() -> Iterator[str]:
    """Of the interfaces on this host that say to be ours."""
    for path in _listed(_INTERFACES):
        with suppress(OSError):
            if match := re.fullmatch(r"hffm:([0-9a-f]{8})", (path / "ifalias").read_text().strip()):
                yield match[1]


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
