"""Consensus without a head: in every iteration each device averages with its neighbours, by Metropolis weights.

What is averaged is (weight x values, weight), so that everybody comes to the mean weighted by samples: with x and
y for the two, x_i' = sum_j W_ij x_j and y_i' = sum_j W_ij y_j, and the estimate is x_i / y_i (weighted averaging by
ratio; Kempe, Dobra and Gehrke, "Gossip-based computation of aggregate information", FOCS 2003).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from hffm.v1.payload_pb2 import PURPOSE_UPDATE

from node.aggregation import RunningSum, Update
from node.plan import Cluster, Gossip
from node.roles.exchange import Exchange, ready
from node.roles.held import Held
from node.roles.inbox import update_of
from node.routing import metropolis_weights
from node.waiting import all_of
from node.wire.stream import StageMaker
from node.wire.transfer import Outgoing


class Consensus:
    """One member's part."""

    def __init__(self, exchange: Exchange, cluster: Cluster, gossip: Gossip) -> None:
        self._at = exchange
        self._gossip = gossip
        self._me = exchange.member.node.id
        self._members = len(cluster.members)
        self._weights = metropolis_weights(gossip.edges)
        self._peers = sorted(b for a, b in self._weights if a == self._me and b != self._me)

    async def run(self) -> dict[str, Held]:
        """The modules that somebody trained, as this member sees them in the end; the weights are the cluster's."""
        state = {name: replace(held, round=self._at.round) for name, held in self._at.own.items()}
        for step in range(self._gossip.iterations if self._peers else 0):
            await self._send(state, step)
            state = self._averaged(state, await self._heard(step), step)
        return {
            name: replace(held, weight=held.weight * self._members)  # y_i is the mean of the weights by now
            for name, held in state.items()
            if held.weight > 0
        }

    async def _send(self, state: Mapping[str, Held], step: int) -> None:
        stages = self._at.stages(PURPOSE_UPDATE, state)
        for stage in stages:
            stage.manifest.step = step
        makers: list[StageMaker] = [partial(ready, stage) for stage in stages]
        await all_of([self._at.member.traffic.stream(peer, makers) for peer in self._peers])

    async def _heard(self, step: int) -> list[Outgoing]:
        at = self._at
        keys = [at.key(name, peer)._replace(step=step) for peer in self._peers for name in at.names]
        found = await at.inbox.whole(keys, at.deadline((step + 1) / self._gossip.iterations))
        at.say_missing({key.sender for key in keys} - {one.manifest.sender for one in found})
        return found

    def _averaged(self, state: Mapping[str, Held], heard: Sequence[Outgoing], step: int) -> dict[str, Held]:
        after: dict[str, Held] = {}
        for name, held in state.items():
            came = [(one.manifest.sender, update_of(one)) for one in heard if one.manifest.module == name]
            parts = [(self._me, held.update), *came]
            # The weight of who is not heard stays here: a row of the matrix adds up to 1 all the same.
            here = 1 - sum(self._weights[self._me, peer] for peer, _ in came)
            shares = {self._me: here, **{peer: self._weights[self._me, peer] for peer, _ in came}}
            after[name] = self._mean(held, [(shares[who], who, update) for who, update in parts])
            self._say(name, step, held, [update for _, update in came])
        return after

    def _mean(self, held: Held, parts: Sequence[tuple[float, str, Update]]) -> Held:
        total = RunningSum(len(held.values))
        names: set[str] = set()
        for share, who, update in parts:
            if share * update.weight > 0:
                total.add(Update(update.values, share * update.weight, (who,)))
                names |= set(update.contributors)
        if total.empty:
            return held
        mean = total.mean()
        return replace(held, values=mean.values, weight=mean.weight, contributors=tuple(sorted(names)))

    def _say(self, name: str, step: int, held: Held, came: Sequence[Update]) -> None:
        """How far apart this member and its neighbours were before this iteration: the largest root mean square."""
        apart = [
            float(np.sqrt(np.mean(np.square(one.values - held.values, dtype=np.float64))))
            for one in came
            if one.weight > 0 and held.weight > 0
        ]
        self._at.member.log.emit(
            "consensus",
            round=self._at.round,
            module=name,
            step=step,
            iterations=self._gossip.iterations,
            disagreement=max(apart, default=None),
        )
