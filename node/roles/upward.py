"""Towards the head: store-and-forward, cut-through, or added up in transit."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from functools import partial

from hffm.v1.payload_pb2 import PURPOSE_UPDATE

from node.aggregation import Update, collection_for
from node.errors import PayloadRefused, TransferStalled
from node.payload import size_bytes
from node.plan import CLUSTER_TIER, Relay
from node.roles.exchange import HEAD_SHARE, RELAY_SHARE, Exchange, ready
from node.roles.feedback import sent
from node.roles.held import Held
from node.roles.inbox import update_of
from node.roles.stages import Combined, Passing
from node.waiting import all_of
from node.wire.stream import Stage, StageMaker
from node.wire.transfer import Outgoing
from node.wire.window import Window


class Upward:
    """One exchange, as far as the head."""

    def __init__(self, exchange: Exchange) -> None:
        self._at = exchange
        self._file_bytes = 0  # of the sums announced so far

    async def run(self) -> dict[str, Held]:
        """Sends own and others' updates on; at the head, the modules that somebody trained, combined."""
        at = self._at
        if at.next_hop is None:
            return await self._combined_at_head()
        if at.relay is Relay.STORE_AND_FORWARD:
            await self._store_and_forward(at.next_hop)
        elif at.relay is Relay.CUT_THROUGH:
            await self._cut_through(at.next_hop)
        else:
            sums = [partial(self._sum_of_subtree, name) for name in at.names]
            await at.member.traffic.stream(at.next_hop, sums)
        return {}

    async def _combined_at_head(self) -> dict[str, Held]:
        at = self._at
        senders = at.below if at.relay is Relay.AGGREGATE else at.subtree
        arrived = await at.gather(senders, at.names, HEAD_SHARE)
        found: dict[str, Held] = {}
        for name, own in at.own.items():
            parts = [own.update, *(update_of(one) for one in arrived if one.manifest.module == name)]
            parts = [part for part in parts if part.weight > 0]
            if parts:
                # In a thread, so that the last sender need not wait for its receipt until the sum is made.
                combined, warnings = await asyncio.to_thread(self._sum_of, own, parts)
                for message in warnings:
                    at.member.log.emit("warning", message=f"round {at.round}: module '{name}': {message}")
                found[name] = combined
        return found

    def _sum_of(self, own: Held, parts: Sequence[Update]) -> tuple[Held, list[str]]:
        """All parts that can be added, combined, and what is to be said about the others."""
        before = self._at.member.before.get(own.module.name, own.values)
        total = collection_for(own.module, CLUSTER_TIER, before, len(parts))
        left_out = []
        for part in parts:
            try:
                total.add(part)
            except PayloadRefused as error:
                left_out.append(f"what '{part.contributors[0]}' sent is left out: {error}")
        if total.lacking:
            kept = Held(own.module, own.values, self._at.round)  # of weight 0: for this device alone
            return kept, [*left_out, f"every device keeps its own training: {total.lacking}"]
        mean = total.mean()
        values = sent(self._at.member.private, own.module, CLUSTER_TIER, mean.values, self._at.round)
        held = Held(own.module, values, self._at.round, mean.weight, mean.contributors)
        held.payload.blake3  # noqa: B018 - made here, and kept
        return held, left_out

    # -- each payload whole -------------------------------------------------------------------------------

    async def _store_and_forward(self, next_hop: str) -> None:
        """A link carries one payload after the other, in the order of arrival, each once it is whole."""
        turn = asyncio.Lock()
        own = self._at.announced(PURPOSE_UPDATE, self._at.own)
        forwards = (self._forward_from(sender, next_hop, turn) for sender in self._at.subtree)
        await all_of([self._forward(own, next_hop, turn), *forwards])

    async def _forward_from(self, sender: str, next_hop: str, turn: asyncio.Lock) -> None:
        await self._forward(await self._at.gather([sender], self._at.names, RELAY_SHARE), next_hop, turn)

    async def _forward(self, payloads: Sequence[Outgoing], next_hop: str, turn: asyncio.Lock) -> None:
        lay_ready = time.monotonic()
        if payloads:
            async with turn:
                waited_s = time.monotonic() - lay_ready
                await self._at.member.traffic.push(next_hop, payloads, waited_s=waited_s)

    # -- chunks as they come ------------------------------------------------------------------------------

    async def _cut_through(self, next_hop: str) -> None:
        at = self._at
        own: list[StageMaker] = [partial(ready, stage) for stage in at.stages(PURPOSE_UPDATE, at.own)]
        passed = (self._pass_on(sender, next_hop) for sender in at.subtree)
        await all_of([at.member.traffic.stream(next_hop, own), *passed])

    async def _pass_on(self, sender: str, next_hop: str) -> None:
        """One member's payloads, if it sends any."""
        at = self._at
        if await at.inbox.opened(at.key(at.names[0], sender), at.deadline(RELAY_SHARE)) is None:
            at.say_missing({sender})
            return
        await at.member.traffic.stream(next_hop, [partial(self._passing, name, sender) for name in at.names])

    async def _passing(self, name: str, sender: str) -> Stage:
        landing = await self._at.inbox.opened(self._at.key(name, sender), self._at.deadline(HEAD_SHARE))
        if not isinstance(landing, Window):
            raise TransferStalled(f"module '{name}' from '{sender}': it broke off between two modules")
        return Passing(landing)

    async def _sum_of_subtree(self, name: str) -> Stage:
        """Weights stand in the manifests, which come first, so that the sum is announced before it is made."""
        at, own = self._at, self._at.own[name]
        inputs: list[Window] = []
        for child in at.below:
            landing = await at.inbox.opened(at.key(name, child), at.deadline(RELAY_SHARE))
            if isinstance(landing, Window):
                inputs.append(landing)
            else:
                at.say_missing({child})
        parts = [one.manifest for one in inputs if one.manifest.size_bytes]
        manifest = at.manifest(name, PURPOSE_UPDATE)
        manifest.contributors.extend(sorted({*own.contributors, *(c for m in parts for c in m.contributors)}))
        manifest.weight = math.fsum([own.weight, *(m.weight for m in parts)])
        manifest.size_bytes = size_bytes(own.module) if manifest.contributors else 0
        self._file_bytes += manifest.size_bytes
        if name == at.names[-1]:
            manifest.padding_bytes = at.padding_bytes(at.names, self._file_bytes)
        return Combined(manifest, own.module, own.update if own.weight > 0 else None, inputs)
