"""Which links a run gets, by which launcher, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.launch import NAMESPACED
from deploy.links.capabilities import Capabilities, probe
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


def choose(links: str, launcher: str | None, probed: Callable[[], Capabilities] = probe) -> Choice:
    """links: as asked for, or `auto`; launcher: as asked for, or None for one that the links can have.

    Raises LinksError when this machine cannot do what was asked for, or the two do not go together.
    """
    if links == AUTO:
        return _best(launcher, probed)
    if links in KERNELS:
        return _in_guest(links, launcher, probed)
    if links not in SHAPERS:
        if launcher in NAMESPACED:
            probed().require("namespaces")
        return Choice(links, launcher or _PLAIN, "as asked for")
    if launcher is not None and launcher not in NAMESPACED:
        raise LinksError(
            f"--links {links} and --launcher {launcher}: the kernel shapes links between network stacks, and "
            "these nodes share one; use --launcher namespaces, or --links paced"
        )
    probed().require(links)
    kept = "; tbf keeps the rate alone, the sender paces the delay" if SHAPERS[links] == "tbf" else ""
    return Choice(links, launcher or "namespaces", f"as asked for{kept}")


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
        return Choice("paced", launcher, f"--launcher {launcher}: nodes share one network stack")
    found = probed()
    if launcher in NAMESPACED:
        found.require("namespaces")
    missing = found.lacks("netem")
    if missing is None:
        return Choice("netem", launcher or "namespaces", "this machine has namespaces and sch_netem")
    if launcher in NAMESPACED and found.lacks("tbf") is None:
        return Choice(
            "tbf", launcher, f"no netem, so the rate alone by tbf and the delay by pacing: {missing.why}"
        )
    return Choice("paced", launcher or _PLAIN, f"no netem: {missing.why}")
