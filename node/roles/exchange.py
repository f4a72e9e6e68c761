"""One exchange of modules among the devices of a cluster, as one member takes part in it: what its two ways,
towards the head and back from it, have in common."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest, Purpose

from node.payload import size_bytes
from node.plan import Cluster, Relay
from node.roles.held import Held
from node.roles.inbox import Inbox
from node.wire.landing import Key
from node.wire.stream import Stage, WholeStage
from node.wire.transfer import Outgoing

if TYPE_CHECKING:
    from node.roles.member import Member

# Shares of the round's deadline: a relay gives up on its subtree before the head gives up on the relay, and the
# head before the others give up on the aggregate.
RELAY_SHARE, HEAD_SHARE = 0.5, 0.7


@dataclass(frozen=True)
class View:
    """The cluster as its members see it from some moment on; `attempt` counts these moments from 0."""

    cluster: Cluster
    attempt: int = 0


class Exchange:
    """`own`: this member's updates, by module, of weight 0 where it trained nothing."""

    def __init__(
        self,
        member: Member,
        inbox: Inbox,
        view: View,
        relay: Relay,
        round_index: int,
        own: Mapping[str, Held],
    ) -> None:
        me = member.node.id
        self.member = member
        self.inbox = inbox
        self.relay = relay
        self.round = round_index
        self.own = own
        self.names = list(own)
        self.attempt = view.attempt
        self.head = view.cluster.head
        self.next_hop = view.cluster.toward_head.get(me)
        self.below = view.cluster.children(me)  # tree neighbours away from the head
        self._cluster = view.cluster
        self.subtree = [m for m in view.cluster.subtree(me) if m != me]
        self._started = time.monotonic()

    def wanted_at(self, peer: str, names: Sequence[str]) -> list[str]:
        """The modules that a member, or somebody beyond it, holds."""
        plan, beyond = self.member.plan, self._cluster.subtree(peer)
        return [name for name in names if any(plan.holds(member, name) for member in beyond)]

    def key(self, name: str, sender: str, purpose: Purpose = PURPOSE_UPDATE) -> Key:
        return Key(self.round, name, sender, purpose, self.attempt)

    def deadline(self, share: float) -> float:
        """Of a wait, on the monotonic clock."""
        return self._started + share * self.member.plan.limits.round_s

    def manifest(self, name: str, purpose: Purpose) -> Manifest:
        """Of a payload of this member's; without weight, an empty one."""
        return Manifest(
            run_id=self.member.plan.run_id,
            round=self.round,
            module=name,
            sender=self.member.node.id,
            purpose=purpose,
            attempt=self.attempt,
        )

    def announced(self, purpose: Purpose, values: Mapping[str, Held]) -> list[Outgoing]:
        """Payloads that lie ready."""
        found = [self.member.announce(held, purpose, self.round) for held in values.values()]
        for one in found:
            one.manifest.attempt = self.attempt
        return found

    def stages(self, purpose: Purpose, values: Mapping[str, Held]) -> list[Stage]:
        """The same, for a stream: the last one carries the padding."""
        outgoing = self.announced(purpose, values)
        whole = sum(size_bytes(h.module) for h in values.values() if h.weight > 0)
        if outgoing:
            priced = [n for n in values if self.member.plan.holds(self.member.node.id, n)]
            outgoing[-1].manifest.padding_bytes = self.padding_bytes(priced, whole)
        return [WholeStage(one.manifest, one.payload) for one in outgoing]

    def padding_bytes(self, names: Sequence[str], whole_bytes: int) -> int:
        """What brings one member's files of these modules to the modelled size; nothing beside no file at all."""
        plan = self.member.plan
        if plan.payload_bytes is None or not whole_bytes:
            return 0
        return max(0, plan.padded_bytes(names) - whole_bytes)

    async def gather(
        self, senders: Sequence[str], names: Sequence[str], share: float, purpose: Purpose = PURPOSE_UPDATE
    ) -> list[Outgoing]:
        """What these senders sent; says in the log who is missing at the deadline, and goes on."""
        keys = [self.key(name, sender, purpose) for sender in senders for name in names]
        found = await self.inbox.whole(keys, self.deadline(share))
        self.say_missing({k.sender for k in keys} - {one.manifest.sender for one in found})
        return found

    def say_missing(self, senders: set[str]) -> None:
        if senders:
            who = ", ".join(sorted(senders))
            self.member.log.emit("warning", message=f"round {self.round}: nothing came from {who}")


async def ready(stage: Stage) -> Stage:
    """A stage that need not be waited for."""
    return stage
