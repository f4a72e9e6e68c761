"""What this machine can do for links, found out by doing it in a throwaway network namespace."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.links.commands import attempt
from node.errors import LinksError

_RIGHTS = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}  # bit numbers of linux/capability.h
_STATUS = Path("/proc/self/status")
_UNPRIVILEGED = "or use --links paced, which needs neither root nor a module"


@dataclass(frozen=True)
class Check:
    """One thing that a backend may need."""

    name: str
    ok: bool
    why: str = ""  # it is not there: reason and remedy, in one line


# What is needed, in the order in which it is worth complaining about. A probe checks what its place is about: this
# host's namespaces (`probe`) or its containers (`deploy.launch.probing`).
_NAMESPACES = ("linux", "ip", "rights", "netns", "veth", "bridge")
_CONTAINERS = ("docker", "compose", "image")
_KERNEL = (*_CONTAINERS, *_NAMESPACES, "tc", "sch_htb", "cls_u32")
NEEDS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "paced": (),
    "namespaces": _NAMESPACES,  # the launcher, whatever the links
    "containers": _CONTAINERS,  # the same
    "tbf": (*_KERNEL, "sch_tbf"),
    "netem": (*_KERNEL, "sch_netem"),
}

# In the throwaway namespace: name -> (tool, its arguments, kernel option)
TRIALS: Mapping[str, tuple[str, str, str]] = {
    "veth": ("ip", "link add trial0 type veth peer name trial1", "CONFIG_VETH"),
    "bridge": ("ip", "link add trial2 type bridge", "CONFIG_BRIDGE"),
    "sch_htb": ("tc", "qdisc add dev lo root handle 1: htb default 0", "CONFIG_NET_SCH_HTB"),
    "cls_u32": (
        "tc",
        "filter add dev lo parent 1: protocol ip prio 1 u32 match ip dst 127.0.0.2/32 flowid 1:1",
        "CONFIG_NET_CLS_U32",
    ),
    "sch_tbf": (
        "tc",
        "qdisc replace dev lo root handle 2: tbf rate 1mbit burst 2000 limit 9000",
        "CONFIG_NET_SCH_TBF",
    ),
    "sch_netem": (
        "tc",
        "qdisc replace dev lo root handle 3: netem delay 1ms rate 1mbit",
        "CONFIG_NET_SCH_NETEM",
    ),
}


@dataclass(frozen=True)
class Capabilities:
    checks: Mapping[str, Check]

    def lacks(self, what: str) -> Check | None:
        """The first thing missing for a backend, or for a launcher of `NEEDS`."""
        found = (self.checks[name] for name in NEEDS[what] if name in self.checks)
        return next((check for check in found if not check.ok), None)

    def require(self, what: str) -> None:
        """Raises LinksError with reason and remedy."""
        if missing := self.lacks(what):
            label = f"--launcher {what}" if what in ("namespaces", "containers") else f"--links {what}"
            raise LinksError(f"{label}: {missing.why}")


def require_own_interface() -> None:
    """What it takes to shape an interface of one's own, in a container or on a board. Raises LinksError."""
    for check in (_linux(), _tool("ip"), _tool("tc"), _rights("CAP_NET_ADMIN")):
        if not check.ok:
            raise LinksError(f"shaping an interface: {check.why}")


def explained(error: LinksError, shaper: str) -> LinksError:
    """What tc said, with the remedy where it is a kernel that lacks something."""
    if "is unknown" not in str(error):
        return error
    return LinksError(f"{error}; {_remedy(f'sch_{shaper}')}")


def probe() -> Capabilities:
    """Leaves nothing behind."""
    return Capabilities({check.name: check for check in _checks()})


def _checks() -> Iterator[Check]:
    first = [_linux(), _tool("ip"), _tool("tc"), _rights()]
    yield from first
    blocked = next((c for c in first if not c.ok and c.name != "tc"), None)
    if blocked is not None:
        yield from (Check(name, False, blocked.why) for name in ("netns", *TRIALS))
        return
    name = f"hffm-trial-{os.getpid()}"
    made = attempt("ip", "netns", "add", name)
    if made.returncode:
        why = (
            f"this machine makes no network namespaces ({_one_line(made.stderr)}): run outside of a container"
        )
        yield from (Check(n, False, f"{why}, {_UNPRIVILEGED}") for n in ("netns", *TRIALS))
        return
    try:
        yield Check("netns", True)
        yield from (_trial(name, what, has_tc=first[2].ok) for what in TRIALS)
    finally:
        with suppress(LinksError):
            attempt("ip", "netns", "del", name)


def _trial(namespace: str, what: str, has_tc: bool) -> Check:
    tool, arguments, _ = TRIALS[what]
    if tool == "tc" and not has_tc:
        return Check(what, False, _tool("tc").why)
    said = attempt(tool, "-n", namespace, *arguments.split())
    return Check(what, True) if said.returncode == 0 else lacking(what, said.stderr)


def lacking(what: str, complaint: str) -> Check:
    """Of a trial that failed with this complaint."""
    return Check(what, False, f"the kernel has no {what} ({_one_line(complaint)}): {_remedy(what)}")


def _remedy(what: str) -> str:
    other = "or use --links tbf or paced" if what == "sch_netem" else _UNPRIVILEGED
    return f"try `modprobe {what}`, or a kernel with {TRIALS[what][2]}, {other}"


def _linux() -> Check:
    ok = sys.platform == "linux"
    return Check(
        "linux", ok, "" if ok else f"network namespaces are Linux's, not {sys.platform}'s: use --links paced"
    )


def _tool(name: str) -> Check:
    ok = shutil.which(name) is not None
    return Check(name, ok, "" if ok else f"`{name}` is not installed: install iproute2, {_UNPRIVILEGED}")


def _rights(*needed: str) -> Check:
    """`needed`: names of capabilities; default: those for namespaces."""
    held = _effective()
    missing = [name for name in needed or _RIGHTS if not held >> _RIGHTS[name] & 1]
    if not missing:
        return Check("rights", True)
    return Check("rights", False, f"missing rights ({', '.join(missing)}): run as root, {_UNPRIVILEGED}")


def _effective() -> int:
    """The capabilities in force, as a bit mask; none where the system has no such thing."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".") or "no reason given"
