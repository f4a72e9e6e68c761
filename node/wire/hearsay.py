"""What a child says about itself and those below it, checked before it is believed, kept or passed on."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from hffm.v1 import membership_pb2 as pb

from node.errors import ProtocolError
from node.plan import Plan

MOST_SAMPLES = 2**53  # a float64 counts exactly up to here
_EVENT_BYTES = 1 << 20
_WORD = 100  # characters of a phase or a version


def samples_of(plan: Plan, ready: pb.Ready) -> dict[str, int]:
    """Training samples by module. Raises ProtocolError for other modules, or more than can be counted."""
    names = {m.name for m in plan.modules}
    for module, count in ready.samples.items():
        if module not in names:
            raise ProtocolError("Ready counts the samples of a module that is not in the plan")
        if count > MOST_SAMPLES:
            raise ProtocolError(f"Ready counts {count} samples of module '{module}': impossible")
    return dict(ready.samples)


def statuses_of(
    plan: Plan, below: Collection[str], told: Sequence[pb.NodeStatus]
) -> tuple[pb.NodeStatus, ...]:
    """States of nodes. Raises ProtocolError for those of nodes that are not below the child, or are too long."""
    names = [status.node for status in told[: len(below) + 1]]
    if len(set(names)) != len(told) or not set(names) <= set(below):
        raise ProtocolError("a heartbeat tells of nodes that are not below its sender, or of one twice")
    for status in told:
        words = [status.phase, status.role, status.parent, *status.versions.values()]
        if max(map(len, words)) > _WORD or not set(status.versions) <= {m.name for m in plan.modules}:
            raise ProtocolError(f"a heartbeat tells of '{status.node}' what is no state of a node")
    return tuple(told)


def check_event(below: Collection[str], encoded: str) -> None:
    """Raises ProtocolError for what is no event of a node below the child."""
    if len(encoded) > _EVENT_BYTES:
        raise ProtocolError(f"an event of {len(encoded)} characters; at most {_EVENT_BYTES}")
    try:
        event = json.loads(encoded)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or event.get("node") not in below:
        raise ProtocolError("an event that is none, or of a node that is not below its sender")
