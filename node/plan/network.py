"""Nodes, and the directed links between them."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field

from node.plan.frozen import Frozen


class Role(StrEnum):
    DEVICE = "device"
    EDGE = "edge"
    CLOUD = "cloud"


class LinkKind(StrEnum):
    D2D = "d2d"
    UPLINK = "uplink"
    DOWNLINK = "downlink"
    BACKHAUL = "backhaul"


class Node(Frozen):
    """One identity with one role."""

    id: str
    role: Role
    tier: str
    parent: str | None = None  # None for the root only
    address: str | None = None  # "host:port" where it listens; None for a node that nobody connects to
    position_m: tuple[float, float] | None = None
    watts: float = 5.0  # computing power draw when busy: the fallback where no sensor is found
    sample_s: Annotated[float, Field(ge=0)] = 0.01  # to train on one sample, where that is modelled
    # Of a device; None: all that there are.
    modalities: tuple[str, ...] | None = None  # that it collects
    tasks: tuple[str, ...] | None = None  # that it executes
    task_shares: dict[str, float] | None = None  # its samples of each task count so much; None: all the same
    modules: tuple[str, ...] | None = None  # that it holds: no others are trained, received or sent by it
    # For training, evaluation and sending, as modelled; then it trains no more. None: no end.
    battery_j: Annotated[float, Field(gt=0)] | None = None

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can connect to it."""
        return self.address is None or is_loopback(self.address)


def is_loopback(address: str) -> bool:
    """Of HOST:PORT: whether only this machine can connect there."""
    host = address.rsplit(":", 1)[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Link(Frozen):
    """Directed. A pair of nodes without a link between them is not shaped."""

    src: str
    dst: str
    kind: LinkKind
    rate_bps: Annotated[float, Field(gt=0)]
    delay_s: Annotated[float, Field(ge=0)] = 0.0  # propagation and core network, one way
    jitter_s: Annotated[float, Field(ge=0)] = 0.0  # the delay is spread evenly over delay_s -+ jitter_s
    loss: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of the packets
    power_w: Annotated[float, Field(ge=0)] = 0.0  # drawn by the sender while it sends
    receive_w: Annotated[float, Field(ge=0)] = 0.0  # drawn by the receiver meanwhile
    gone: bool = False  # not there in these rounds: no route takes it

    @property
    def both_w(self) -> float:
        """Drawn by the two ends while something is sent."""
        return self.power_w + self.receive_w

    @property
    def goodput_bps(self) -> float:
        """What is lost is sent again, and that alone: selective repeat (Bertsekas and Gallager, "Data Networks",
        section 2.4)."""
        return self.rate_bps * (1 - self.loss)

    def seconds(self, size_bytes: float) -> float:
        """Modelled time from the first byte sent to the last byte received, on average."""
        return self.delay_s + 8 * size_bytes / self.goodput_bps


class Move(Frozen):
    """Links from some round on: these in the place of what was between the same nodes."""

    first_round: Annotated[int, Field(ge=1)]
    links: tuple[Link, ...]
