"""A network of namespaces on this host: one per node of a plan, and one for the bridge that joins them.

    host  hffmID --+                        hffm-ID: bridge `ether`
                   +-- host  v0  v1  v2 ...  (ports of the bridge)
                              |   |   |
                            eth0 eth0 eth0   hffm-ID-NODE: one interface per node

The host has one interface of ours, by which the operator reaches the root. The bridge stands apart from it, so
that a firewall for the host's own bridges (Docker's) never sees the traffic.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Self

from deploy.links import leftovers
from deploy.links.addressing import Assignment, assignment_of
from deploy.links.capabilities import probe
from deploy.links.commands import batch, run
from deploy.links.tc import SHAPERS, setup_lines
from node.errors import LinksError
from node.plan import Plan
from node.wire.overhead import BUFFER_FRAMES

INTERFACE = "eth0"
_CONTROLS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_QUIET = f"addrgenmode none gso_max_segs {BUFFER_FRAMES}"  # no IPv6, whose discovery would be shaped too


class Network:
    """What `create` has set up, until `remove`."""

    def __init__(self, plan: Plan, ident: str, assignment: Assignment, mark: leftovers.Mark) -> None:
        self._plan = plan
        self.ident = ident
        self.assignment = assignment
        self._mark = mark

    @classmethod
    def create(cls, plan: Plan, *, stays: bool = False) -> Self:
        """Namespaces of all nodes, their interfaces shaped as the plan's links_backend says. All or nothing.

        The plan is one that `place_in_block` was applied to. What does not stay goes when this process has ended
        and somebody says `hffm links clear`. Raises LinksError.
        """
        assignment = assignment_of(plan)
        shaping = _shaping(plan, assignment)
        _check_free(assignment.network)
        ident = secrets.token_hex(4)
        about = {"scenario": plan.scenario, "method": plan.method, "links": plan.links_backend}
        network = cls(plan, ident, assignment, leftovers.Mark(ident, about))
        try:
            network._build()
            for node, lines in shaping.items():
                batch("tc", "-n", network.namespace(node), lines=lines)
        except BaseException as error:
            network.remove()
            if isinstance(error, LinksError):  # tc's own words leave out what to do about it
                probe().require(SHAPERS.get(plan.links_backend, "namespaces"))
            raise
        if stays:
            network._mark.release()
        return network

    def namespace(self, node: str) -> str:
        return leftovers.namespace(self.ident, node)

    def remove(self) -> None:
        leftovers.remove(self.ident)
        self._mark.release()

    def _build(self) -> None:
        ether, host = leftovers.namespace(self.ident), leftovers.interface(self.ident)
        nodes = list(self._plan.by_id)
        prefix = self.assignment.prefix
        batch("ip", lines=[f"netns add {name}" for name in (ether, *map(self.namespace, nodes))])
        # Filtering of frames by iptables, where the kernel has it, is per namespace, and ours has no rules.
        ports = [
            "link add ether type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set ether addrgenmode none up",
            "link set lo up",
        ]
        for i, node in enumerate(nodes):
            ports.append(f"link add v{i} type veth peer name {INTERFACE} netns {self.namespace(node)}")
            ports.append(f"link set v{i} master ether {_QUIET} up")
        batch("ip", "-n", ether, lines=ports)
        run("ip", "link", "add", host, "type", "veth", "peer", "name", "host", "netns", ether)
        run("ip", "-n", ether, *f"link set host master ether {_QUIET} up".split())
        batch(
            "ip",
            lines=[
                f"link set {host} alias {leftovers.alias(self.ident)}",
                f"addr add {self.assignment.host}/{prefix} dev {host}",
                f"link set {host} {_QUIET} up",
            ],
        )
        control = _congestion_control()
        for node in nodes:
            address = self.assignment.nodes[node]
            own = [
                "link set lo up",
                f"addr add {address}/{prefix} dev {INTERFACE}",
                f"link set {INTERFACE} {_QUIET} up",
                f"route replace {self.assignment.network} dev {INTERFACE} src {address} congctl {control}",
            ]
            batch("ip", "-n", self.namespace(node), lines=own)


def _congestion_control() -> str:
    """The usual one on every host: BBR takes a token bucket for a policer, and every 10 s drains its queue."""
    return "cubic" if "cubic" in _CONTROLS.read_text().split() else "reno"


def _shaping(plan: Plan, assignment: Assignment) -> Mapping[str, list[str]]:
    """Lines of tc per node, worked out before anything is touched."""
    shaper = SHAPERS.get(plan.links_backend)
    if shaper is None:
        return {}
    return {node: setup_lines(plan, node, assignment.nodes, shaper, INTERFACE) for node in plan.by_id}


def _check_free(block: IPv4Network) -> None:
    """Two runs that chose the same block at the same time, or a plan that is used twice."""
    if taken := [used for used in leftovers.taken_blocks() if used.overlaps(block)]:
        raise LinksError(
            f"addresses {block} overlap with {taken[0]} of this host: end the run that uses them, "
            "run `hffm links clear`, or start again"
        )
