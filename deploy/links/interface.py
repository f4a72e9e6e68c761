"""The links of one node, on the interface that it has to itself: in a namespace, a container or a board."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress

from deploy.links.capabilities import explained, require_own_interface
from deploy.links.commands import batch, run
from deploy.links.tc import SHAPERS, clear_lines, is_ours, setup_lines, update_lines
from node.errors import LinksError
from node.plan import Plan
from node.wire.overhead import BUFFER_FRAMES

_GSO_MAX_SEGS = 65535  # of an interface as the kernel makes it: linux/netdevice.h


class Interface:
    """Whoever uses it is in the network namespace of the interface, with CAP_NET_ADMIN there."""

    def __init__(self, plan: Plan, node: str, name: str = "eth0") -> None:
        """Raises PlanError for an unknown node."""
        plan.node(node)
        self._plan = plan
        self._node = node
        self._name = name
        self._shaper = SHAPERS.get(plan.links_backend)
        self._round: int | None = None  # whose rates it has; None: somebody else has shaped it

    def apply(self, addresses: Mapping[str, str], round_index: int = 0) -> list[str]:
        """Shapes the links of the node as in this round, all or none; what an earlier `apply` has left is replaced.
        The lines that tc was told.

        addresses: node -> IPv4 address. Raises LinksError.
        """
        if self._shaper is None:
            return []
        lines = setup_lines(self._plan, self._node, addresses, self._shaper, self._name, round_index)
        clear(self._name)
        try:
            batch("tc", lines=lines)
            _limit_buffers(self._name, BUFFER_FRAMES)
        except LinksError as error:
            with suppress(LinksError):
                clear(self._name)
            raise explained(error, self._shaper) from error
        self._round = round_index
        return lines

    def follow(self, round_index: int) -> None:
        """Gives the links the rates of this round; packets that are queued stay queued. Raises LinksError."""
        if self._shaper is None:
            return
        lines = update_lines(self._plan, self._node, self._round, round_index, self._shaper, self._name)
        batch("tc", lines=lines)
        self._round = round_index


def clear(name: str) -> bool:
    """Gives an interface back the queueing that the kernel began it with; whether there was anything of ours.

    Raises LinksError for missing rights, and for a queueing discipline that somebody else has put there.
    """
    require_own_interface()
    found = _root(name)
    if found is None:
        return False
    if not is_ours(found):
        raise LinksError(
            f"{name} has a queueing discipline of somebody else ({found}): remove it with "
            f"`tc qdisc del dev {name} root`, or choose another --interface"
        )
    batch("tc", lines=clear_lines(name))
    (link,) = json.loads(run("ip", "-j", "-d", "link", "show", "dev", name))
    _limit_buffers(name, link.get("tso_max_segs", _GSO_MAX_SEGS))
    return True


def _limit_buffers(name: str, frames: int) -> None:
    """What the interface hands to a queueing discipline at once."""
    run("ip", "link", "set", "dev", name, "gso_max_segs", str(frames))


def _root(name: str) -> str | None:
    """The queueing discipline that was put at the root of an interface, as `htb f:`; None: the kernel's own."""
    there = [found for _, found in socket.if_nameindex()]
    if name not in there:
        raise LinksError(
            f"no interface '{name}' here, only {', '.join(there)}: name one of them with --interface"
        )
    shown = run("tc", "qdisc", "show", "dev", name)
    found = re.search(r"^qdisc (\S+ [0-9a-f]+:) root", shown, re.MULTILINE)
    return None if found is None or found[1].endswith(" 0:") else found[1]
