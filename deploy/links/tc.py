"""What `tc` is told for the links of a plan: text only, nothing is run.

Each node has one interface, and shapes what it sends. Below a root `htb default 0`, which sends on unshaped
whatever no filter knows (ARP, replies to the operator), every destination has

    class   f:N   htb, chosen by a u32 filter for the destination's address
    leaf     N:   netem (rate, delay, jitter, loss) or, where the kernel lacks it, tbf (rate, less what loss takes)

with N = 16 + the destination's place in the plan, so that a link keeps its class when its rate changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Literal

from node.errors import LinksError
from node.plan import Link, Plan
from node.wire.overhead import FRAME_BYTES, burst_bytes

Shaper = Literal["netem", "tbf"]
# The shaper in the kernel for each of the plan's links_backend; what is not here leaves interfaces alone.
SHAPERS: dict[str, Shaper] = {"netem": "netem", "tbf": "tbf", "uml": "netem", "lab": "netem"}

_QUEUE_S = 0.1  # of traffic that a queue holds beyond the delay line
_QUEUE_FRAMES = 100  # that it holds at least
# Least rate that tc can express: netem and tbf count whole bytes per second, and netem takes 0 for no limit.
_LEAST_BPS = 8.0
_ROOT = "f:"  # not 1:, which everybody takes: so what is ours is known on interfaces that others use too
_FIRST_CLASS = 16
_CLASSES = 0xFFFF - _FIRST_CLASS  # minor numbers have 16 bits


def setup_lines(
    plan: Plan,
    node: str,
    addresses: Mapping[str, str],
    shaper: Shaper,
    interface: str = "eth0",
    round_index: int = 0,
) -> list[str]:
    """Lines for one `tc -batch` on the node's own interface, which has no queueing discipline of ours yet.

    addresses: node -> IPv4 address, of all nodes of the plan. Raises LinksError for links that tc cannot make.
    """
    links = plan.outgoing(node, round_index)
    if not links:
        return []
    lines = [f"qdisc add dev {interface} root handle {_ROOT} htb default 0"]
    for link in links:
        number = _class(plan, link.dst)
        # netem keeps the rate itself, and tbf too: the class above only sorts.
        lines.append(
            f"class add dev {interface} parent {_ROOT} classid {_ROOT}{number:x} "
            f"htb rate 10gbit quantum {10 * FRAME_BYTES}"
        )
        lines.append(f"qdisc add {_leaf(interface, number)} {leaf(link, shaper)}")
        lines.append(
            f"filter add dev {interface} parent {_ROOT} protocol ip prio 1 "
            f"u32 match ip dst {_address(addresses, link.dst)}/32 flowid {_ROOT}{number:x}"
        )
    return lines


def update_lines(
    plan: Plan, node: str, before: int | None, after: int, shaper: Shaper, interface: str = "eth0"
) -> list[str]:
    """Lines that give the links of round `before` what they have in round `after`, in place: packets that are
    queued stay queued. None: whatever they had before."""
    links = plan.outgoing(node, after)
    same = set() if before is None else {(k.dst, leaf(k, shaper)) for k in plan.outgoing(node, before)}
    return [
        f"qdisc change {_leaf(interface, _class(plan, link.dst))} {leaf(link, shaper)}"
        for link in links
        if (link.dst, leaf(link, shaper)) not in same
    ]


def clear_lines(interface: str = "eth0") -> list[str]:
    return [f"qdisc del dev {interface} root"]


def is_ours(qdisc: str) -> bool:
    """Whether these lines have put this queueing discipline, such as `htb f:`, at the root of an interface."""
    return qdisc == f"htb {_ROOT}"


def leaf(link: Link, shaper: Shaper) -> str:
    """The queueing discipline of one link, as tc writes it."""
    _check(link)
    if shaper == "tbf":
        rate_bps = max(link.goodput_bps, _LEAST_BPS)  # it drops nothing: loss takes its share of the rate
        queue = max(ceil(rate_bps / 8 * _QUEUE_S), _QUEUE_FRAMES * FRAME_BYTES)
        return f"tbf rate {rate_bps:.0f}bit burst {burst_bytes(rate_bps)} limit {queue}"
    parts = [f"netem limit {_limit_frames(link)}", f"delay {_us(link.delay_s)}"]
    if link.jitter_s:
        parts[-1] += f" {_us(link.jitter_s)}"
    if link.loss:
        parts.append(f"loss {100 * link.loss:.6g}%")
    return " ".join([*parts, f"rate {link.rate_bps:.0f}bit"])


def _limit_frames(link: Link) -> int:
    """Room for the delay line and a queue: tc's own 1000 drops at 250 Mbit/s and is seconds deep at 4."""
    seconds = 2 * link.delay_s + link.jitter_s + _QUEUE_S
    return max(_QUEUE_FRAMES, ceil(link.rate_bps / 8 / FRAME_BYTES * seconds))


def _check(link: Link) -> None:
    """What comes from a plan file has been checked; what is made in memory has perhaps not."""
    what = f"link {link.src} -> {link.dst}"
    if not _LEAST_BPS <= link.rate_bps < float("inf"):
        raise LinksError(
            f"{what}: a rate of {link.rate_bps:g} bit/s cannot be shaped; give it {_LEAST_BPS:g} or more, "
            "or leave the link out of the plan"
        )
    if not 0 <= link.loss < 1:
        raise LinksError(
            f"{what}: a loss of {100 * link.loss:g} % lets nothing through; give it less than 100 %"
        )


def _class(plan: Plan, destination: str) -> int:
    place = list(plan.by_id).index(destination)
    if place >= _CLASSES:
        raise LinksError(
            f"'{destination}' is node {place}, and tc tells only {_CLASSES} apart; use links paced"
        )
    return _FIRST_CLASS + place


def _leaf(interface: str, number: int) -> str:
    return f"dev {interface} parent {_ROOT}{number:x} handle {number:x}:"


def _address(addresses: Mapping[str, str], node: str) -> str:
    if node not in addresses:
        raise LinksError(f"'{node}' has no address to sort its packets by; give every node one")
    return addresses[node]


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:.0f}us"
