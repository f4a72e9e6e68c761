"""A device among its device-to-device peers: updates go hop by hop to the head, the aggregate comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_UPDATE, Manifest

from node.aggregation import Update, combine
from node.errors import PayloadRefused
from node.payload import Payload, Values
from node.plan import CLUSTER_TIER, Cluster, Module, Relay
from node.roles.admission import check_manifest
from node.roles.member import Held
from node.waiting import Change
from node.wire.intake import Key, key_of
from node.wire.transfer import Outgoing

if TYPE_CHECKING:
    from node.roles.member import Member

# Shares of the round's deadline: a relay gives up on its subtree before the head gives up on the relay, and the
# head before the others give up on the aggregate.
_RELAY_SHARE, _HEAD_SHARE = 0.5, 0.7


class Neighbour:
    """The `Receiver` of what a device's peers push, and its part in the circulation."""

    def __init__(self, member: Member, cluster: Cluster) -> None:
        self._member = member
        self._cluster = cluster
        self._me = member.node.id
        self._below = cluster.children(self._me)  # tree neighbours away from the head
        self._next_hop = cluster.toward_head.get(self._me)
        self._inbox: dict[Key, Outgoing] = {}
        self._taken: set[Key] = set()
        self._arrived = Change()
        self._closed_before = 0

    @property
    def is_head(self) -> bool:
        return self._next_hop is None

    async def circulate(self, round_index: int, modules: Sequence[str], hand_up: set[str]) -> None:
        """One exchange of these modules in the cluster.

        Modules in `hand_up` stay with the head, which sends them on to its parent; the others come back.
        """
        started = time.monotonic()
        if self._next_hop is None:
            await self._head(round_index, modules, started)
        else:
            await self._relay(round_index, modules, started)
        back = [name for name in modules if name not in hand_up]
        if back:
            await self._hand_down(round_index, back, started)
        self._forget(round_index)

    # -- towards the head ---------------------------------------------------------------------------------

    async def _head(self, round_index: int, modules: Sequence[str], started: float) -> None:
        """Combines the updates of the whole cluster, in whatever order they come."""
        senders = self._senders()
        arrived = await self._gather(round_index, modules, senders, started, _HEAD_SHARE)
        for name in modules:
            combined = self._combined(self._fresh(name, round_index), arrived, round_index)
            if combined.weight > 0:
                self._keep(combined)

    def _fresh(self, name: str, round_index: int) -> Held:
        """This device's own training of this round; of weight 0 when it trained nothing."""
        held = self._member.held[name]
        return held if held.round == round_index else Held(held.module, held.values, held.round)

    def _combined(self, own: Held, arrived: Sequence[Outgoing], round_index: int) -> Held:
        """This device's update and those that came in, as one; of weight 0 when all are empty."""
        parts = [own.update, *(_update(one) for one in arrived if one.manifest.module == own.module.name)]
        parts = [part for part in parts if part.weight > 0]
        if not parts:
            return own
        mean = combine(parts)
        return Held(own.module, mean.values, round_index, mean.weight, mean.contributors)

    def _keep(self, held: Held) -> None:
        self._member.held[held.module.name] = held
        self._member.log.emit(
            "aggregated",
            round=held.round,
            module=held.module.name,
            tier=CLUSTER_TIER,
            contributors=list(held.contributors),
            weight=held.weight,
            sha256=held.payload.sha256.hex(),
        )

    async def _relay(self, round_index: int, modules: Sequence[str], started: float) -> None:
        own = [self._fresh(name, round_index) for name in modules]
        if self._cluster.relay is Relay.AGGREGATE:
            arrived = await self._gather(round_index, modules, self._below, started, _RELAY_SHARE)
            await self._push_on(
                self._announced([self._combined(h, arrived, round_index) for h in own], round_index)
            )
            return
        async with asyncio.TaskGroup() as sends:
            sends.create_task(self._push_on(self._announced(own, round_index)))
            for sender in self._senders():
                sends.create_task(self._forward(round_index, modules, sender, started))

    async def _forward(self, round_index: int, modules: Sequence[str], sender: str, started: float) -> None:
        """Store and forward: one member's payloads, once they are whole."""
        await self._push_on(await self._gather(round_index, modules, [sender], started, _RELAY_SHARE))

    async def _push_on(self, payloads: Sequence[Outgoing]) -> None:
        assert self._next_hop is not None
        if payloads:
            await self._member.push(self._next_hop, payloads)

    def _announced(self, held: Sequence[Held], round_index: int) -> list[Outgoing]:
        return [self._member.announce(h, PURPOSE_UPDATE, round_index) for h in held]

    # -- away from the head -------------------------------------------------------------------------------

    async def _hand_down(self, round_index: int, modules: Sequence[str], started: float) -> None:
        if self._next_hop is None:
            fresh = [self._fresh(name, round_index) for name in modules]
            payloads = [self._member.announce(h, PURPOSE_AGGREGATE, round_index) for h in fresh]
        else:
            payloads = await self._gather(
                round_index, modules, [self._cluster.head], started, 1.0, purpose=PURPOSE_AGGREGATE
            )
            for one in payloads:
                if one.payload is not None:
                    module = one.payload.module
                    self._member.held[module.name] = Held(module, one.payload.values, round_index)
        async with asyncio.TaskGroup() as sends:
            for peer in self._below:
                sends.create_task(self._member.push(peer, [_copy(one) for one in payloads]))

    # -- payloads in --------------------------------------------------------------------------------------

    def admit(self, manifest: Manifest, peer: str) -> Module:
        if manifest.round < self._closed_before or manifest.round > self._member.round + 1:
            raise PayloadRefused(
                f"payload of round {manifest.round} from '{peer}' is late or early: "
                f"'{self._me}' is in round {self._member.round}"
            )
        sender = manifest.sender
        if manifest.purpose == PURPOSE_AGGREGATE:
            if peer != self._next_hop or sender != self._cluster.head:
                raise PayloadRefused(f"'{peer}' does not hand down aggregates to '{self._me}'")
            return check_manifest(self._member.plan, manifest, self._cluster.subtree(sender))
        if manifest.purpose != PURPOSE_UPDATE or peer not in self._below:
            raise PayloadRefused(f"'{peer}' has nothing to push to '{self._me}' in the plan")
        aggregate = self._cluster.relay is Relay.AGGREGATE
        if sender != peer and (aggregate or sender not in self._cluster.subtree(peer)):
            raise PayloadRefused(f"'{peer}' may not push as '{sender}'")
        entitled = self._cluster.subtree(sender) if aggregate else [sender]
        return check_manifest(self._member.plan, manifest, entitled)

    def taken(self, key: Key) -> bool:
        return key in self._taken

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        payload = Payload(self._member.modules[manifest.module], values) if manifest.size_bytes else None
        key = key_of(manifest)
        self._inbox[key] = Outgoing(manifest, payload)
        self._taken.add(key)
        self._arrived.happened()

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        raise PayloadRefused(f"'{self._me}' hands out no versions: pull them from the parent in the plan")

    def _senders(self) -> list[str]:
        """Whose payloads come through here on their way to the head."""
        if self._cluster.relay is Relay.AGGREGATE:
            return self._below
        return [m for m in self._cluster.subtree(self._me) if m != self._me]

    async def _gather(
        self,
        round_index: int,
        modules: Sequence[str],
        senders: Sequence[str],
        started: float,
        share: float,
        purpose: int = PURPOSE_UPDATE,
    ) -> list[Outgoing]:
        """What these senders sent; says in the log who is missing at the deadline, and goes on."""
        keys = [Key(round_index, name, sender, purpose) for sender in senders for name in modules]
        deadline = started + share * self._member.plan.limits.round_s
        while missing := [key for key in keys if key not in self._inbox]:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                who = ", ".join(sorted({key.sender for key in missing}))
                self._member.log.emit("warning", message=f"round {round_index}: nothing came from {who}")
                break
            await self._arrived.wait(left_s)
        return [self._inbox[key] for key in keys if key in self._inbox]

    def _forget(self, round_index: int) -> None:
        self._closed_before = round_index + 1
        self._inbox = {k: one for k, one in self._inbox.items() if k.round > round_index}


def _update(one: Outgoing) -> Update:
    """An empty payload is an update of weight 0."""
    values = one.payload.values if one.payload is not None else np.empty(0, np.float32)
    return Update(values, one.manifest.weight, tuple(one.manifest.contributors))


def _copy(one: Outgoing) -> Outgoing:
    manifest = Manifest()
    manifest.CopyFrom(one.manifest)
    manifest.padding_bytes = 0
    return Outgoing(manifest, one.payload)
