"""Which links a run gets, by which launcher, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.launch import BOARDS, NAMESPACED, PROBES
from deploy.links.capabilities import Capabilities
from deploy.links.tc import SHAPERS
from node.errors import LinksError
from orchestrator.run.guests import KERNELS, inside

AUTO = "auto"
_PLAIN = "forked"


@dataclass(frozen=True)
class Choice:
    links: str  # of the plan's links_backend
    launcher: str
    why: str  # for the manifest, and for a person where it was not asked for


def choose(links: str, launcher: str | None, probed: Callable[[], Capabilities] | None = None) -> Choice:
    """links: as asked for, or `auto`; launcher: as asked for, or None for one that the links can have.

    Raises LinksError when this machine cannot do what was asked for, or the two do not go together.
    """
    stacks = NAMESPACED.get(launcher or "namespaces", "namespaces")
    probed = probed or PROBES[stacks]
    if links == AUTO:
        return _best(launcher, probed)
    if links in KERNELS:
        return _in_guest(links, launcher, probed)
    if links not in SHAPERS:
        if launcher in NAMESPACED:
            probed().require(stacks)
        return Choice(links, launcher or _PLAIN, "as asked for")
    if launcher == BOARDS:
        return Choice(links, launcher, f"as asked for, by the kernels of the boards{_left_out(links)}")
    if launcher is not None and launcher not in NAMESPACED:
        raise LinksError(
            f"--links {links} and --launcher {launcher}: the kernel shapes links between network stacks, and "
            "these nodes share one; use --launcher namespaces or containers, or --links paced"
        )
    probed().require(links)
    return Choice(links, launcher or "namespaces", f"as asked for{_left_out(links)}")


def _left_out(links: str) -> str:
    return "; tbf keeps the rate alone, the sender delay and jitter" if SHAPERS[links] == "tbf" else ""


def _in_guest(links: str, launcher: str | None, probed: Callable[[], Capabilities]) -> Choice:
    """As netem, of the guest's kernel."""
    if inside() != links:
        raise LinksError(
            f"--links {links} puts a whole command into a guest: it goes with `hffm run`, `hffm compare` and "
            "`hffm links check`"
        )
    netem = choose("netem", launcher, probed)
    return Choice(links, netem.launcher, "as asked for: netem in a User-Mode Linux guest")


def _best(launcher: str | None, probed: Callable[[], Capabilities]) -> Choice:
    """The kernel's netem, else pacing, which keeps rate and delay too.

    Where namespaces are asked for, and so the kernel, its tbf goes before pacing: the rate alone, but of any
    program's packets.
    """
    if launcher is not None and launcher not in NAMESPACED:
        why = "boards are not probed" if launcher == BOARDS else "nodes share one network stack"
        return Choice("paced", launcher, f"--launcher {launcher}: {why}")
    found = probed()
    if launcher is not None:
        found.require(NAMESPACED[launcher])
    missing = found.lacks("netem")
    if missing is None:
        return Choice("netem", launcher or "namespaces", "the kernel has sch_netem")
    if launcher is not None and found.lacks("tbf") is None:
        return Choice(
            "tbf", launcher, f"no netem, so the rate alone by tbf and the delay by pacing: {missing.why}"
        )
    return Choice("paced", launcher or _PLAIN, f"no netem: {missing.why}")
