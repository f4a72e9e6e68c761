"""Circulation as it travels: decided above, checked at the root, followed by everybody."""

from __future__ import annotations

from hffm.v1 import membership_pb2 as pb
from pydantic import ValidationError

from node.errors import ProtocolError
from node.plan import CLUSTER_TIER, CirculationChange, Plan


def message_of(change: CirculationChange) -> pb.Circulation:
    message = pb.Circulation(first_round=change.first_round)
    for module, periods in change.periods.items():
        message.modules[module].every.update(periods)
    return message


def change_of(message: pb.Circulation) -> CirculationChange:
    """Raises ProtocolError."""
    periods = {module: dict(one.every) for module, one in message.modules.items()}
    try:
        return CirculationChange(first_round=message.first_round, periods=periods)
    except ValidationError as error:
        raise ProtocolError(f"a circulation with a period of 0: {error.errors()[0]['msg']}") from error


def check_change(plan: Plan, change: CirculationChange, next_round: int) -> None:
    """Raises ProtocolError for what would leave some tiers with versions that never come together."""
    policy = plan.policy
    if policy is None:
        raise ProtocolError("the plan has no policy: its circulation is fixed")
    if change.first_round != next_round or next_round % policy.longest:
        what = f"a circulation from round {change.first_round} on"
        raise ProtocolError(
            f"{what}: it changes at the next round, {next_round}, and every {policy.longest} rounds"
        )
    tiers = {CLUSTER_TIER, *(n.tier for n in plan.nodes)}
    for name, periods in change.periods.items():
        if plan.module(name) is None or not set(periods) <= tiers:
            raise ProtocolError(f"a circulation of '{name}' at {', '.join(periods)}: not of this plan")
        if odd := [p for p in periods.values() if policy.longest % p]:
            raise ProtocolError(
                f"'{name}' every {odd[0]} rounds: no divisor of the policy's {policy.longest}"
            )
