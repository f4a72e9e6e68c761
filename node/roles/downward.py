"""Back from the head: everybody adopts the aggregate, and passes it on whole or as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE

from node.errors import TransferStalled
from node.plan import Relay
from node.roles.exchange import Exchange, ready
from node.roles.held import Held
from node.roles.stages import Following
from node.waiting import all_of
from node.wire.landing import Key, Partial
from node.wire.stream import Stage, StageMaker, WholeStage


class Downward:
    """One exchange, from the head on."""

    def __init__(self, exchange: Exchange, names: Sequence[str]) -> None:
        self._at = exchange
        self._names = exchange.wanted_at(exchange.member.node.id, names)

    async def run(self, combined: Mapping[str, Held]) -> dict[str, Held]:
        """What this member adopts. `combined`: at the head, what it made."""
        at = self._at
        if at.next_hop is None:
            await self._hand_out(combined)
            return {name: combined[name] for name in self._names if name in combined}
        sends = asyncio.ensure_future(self._nothing())
        if at.relay is not Relay.STORE_AND_FORWARD:
            sends = asyncio.ensure_future(self._to_all({n: partial(self._following, n) for n in self._names}))
        try:
            arrived = await at.gather([at.head], self._names, 1.0, PURPOSE_AGGREGATE)
            if at.relay is Relay.STORE_AND_FORWARD:
                whole = [WholeStage(one.manifest, one.payload) for one in arrived]
                await self._to_all({one.manifest.module: partial(ready, one) for one in whole})
            elif len(arrived) == len(self._names):
                await sends
        finally:
            sends.cancel()
            await asyncio.wait({sends})
        came = [one.payload for one in arrived if one.payload is not None]
        return {one.module.name: Held(one.module, one.values, at.round) for one in came}

    async def _hand_out(self, combined: Mapping[str, Held]) -> None:
        """What nobody trained is announced as empty, so that nobody waits for it."""
        values = {
            name: combined.get(name, Held((own := self._at.own[name]).module, own.values, own.round))
            for name in self._names
        }
        stages = self._at.stages(PURPOSE_AGGREGATE, values)
        await self._to_all({stage.manifest.module: partial(ready, stage) for stage in stages})

    async def _to_all(self, makers: Mapping[str, StageMaker]) -> None:
        """By module; each only where somebody holds it."""
        wanted = {peer: self._at.wanted_at(peer, list(makers)) for peer in self._at.below}
        streams = [
            self._at.member.traffic.stream(peer, [makers[n] for n in names])
            for peer, names in wanted.items()
            if names
        ]
        await all_of(streams)

    async def _following(self, name: str) -> Stage:
        at = self._at
        landing = await at.inbox.opened(self._key(name), at.deadline(1.0))
        if not isinstance(landing, Partial):
            raise TransferStalled(f"module '{name}': the aggregate of '{at.head}' did not come")
        return Following(landing, partial(self._whole, name))

    async def _whole(self, name: str) -> None:
        if not await self._at.inbox.whole([self._key(name)], self._at.deadline(1.0)):
            raise TransferStalled(f"module '{name}': the aggregate of '{self._at.head}' broke off")

    def _key(self, name: str) -> Key:
        return self._at.key(name, self._at.head, PURPOSE_AGGREGATE)

    async def _nothing(self) -> None:
        """Whole payloads are sent on when they are whole."""
