"""Where patience ends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from node.plan.frozen import Frozen


class Limits(Frozen):
    """Where patience ends."""

    heartbeat_s: Annotated[float, Field(gt=0)] = 1.0
    lease_s: Annotated[float, Field(gt=0)] = 15.0  # silence after which a parent or a child counts as lost
    connect_s: Annotated[float, Field(gt=0)] = 60.0  # from the start of a child until its parent answers
    join_s: Annotated[float, Field(gt=0)] = 300.0  # from the start until all are ready
    # One round of devices, from command to report; each tier above the lowest waits a quarter longer.
    round_s: Annotated[float, Field(gt=0)] = 900.0
    stall_s: Annotated[float, Field(gt=0)] = 30.0  # a transfer without progress
    # Payloads of one sender that are refused for what is in them, with which it is excluded for the run.
    refusals: Annotated[int, Field(ge=1)] = 5
    # Of payloads on their way into one node, at a time; None: twice what its senders can have under way. What does
    # not fit waits, and is then refused as too much at a time, which its sender answers by trying again.
    inflight_bytes: Annotated[int, Field(ge=1)] | None = None
    quorum: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the children that must report
    # Of a round in which too few have reported at the deadline. stop: the run ends. repeat: it is asked for again,
    # once there are enough children. skip: nothing is averaged, and each goes on from what it has.
    on_failed_round: Literal["stop", "repeat", "skip"] = "stop"
    failed_rounds: Annotated[int, Field(ge=1)] = 3  # repeated or skipped in a row, before the run ends
