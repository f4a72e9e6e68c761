"""A device among its device-to-device peers: updates go hop by hop to the head, the aggregate comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_UPDATE, Manifest

from node.errors import PayloadRefused
from node.payload import Payload, Values, size_bytes
from node.plan import CLUSTER_TIER, Cluster, Module, Relay
from node.roles.admission import check_manifest
from node.roles.downward import Downward
from node.roles.exchange import Exchange, View
from node.roles.inbox import Inbox
from node.roles.member import Held
from node.roles.upward import Upward
from node.wire.intake import Key, Landing, Partial
from node.wire.stream import WINDOW_BYTES
from node.wire.window import Window

if TYPE_CHECKING:
    from node.roles.member import Member


class Neighbour:
    """The `Receiver` of what a device's peers push, and its part in the circulation."""

    def __init__(self, member: Member, cluster: Cluster) -> None:
        self._member = member
        self._view = View(cluster)
        self._me = member.node.id
        self.inbox = Inbox()
        self._closed_before = 0

    @property
    def cluster(self) -> Cluster:
        return self._view.cluster

    @property
    def is_head(self) -> bool:
        return self.cluster.head == self._me

    # -- its part in a round ------------------------------------------------------------------------------

    async def circulate(self, round_index: int, modules: Sequence[str], hand_up: set[str]) -> None:
        """One exchange of these modules in the cluster, one way of relaying after the other.

        Modules in `hand_up` stay with the head, which sends them on to its parent; the others come back.
        """
        for relay in Relay:
            names = [n for n in modules if self.cluster.relays(self._member.modules[n]) is relay]
            if names:
                await self._exchange(relay, round_index, names, hand_up)
        self._closed_before = round_index + 1
        self.inbox.forget_before(self._closed_before)

    async def _exchange(
        self, relay: Relay, round_index: int, names: Sequence[str], hand_up: set[str]
    ) -> None:
        own = {name: self._fresh(name, round_index) for name in names}
        exchange = Exchange(self._member, self.inbox, self._view, relay, round_index, own)
        combined = await Upward(exchange).run()
        for held in combined.values():
            self._keep(held)
        back = [name for name in names if name not in hand_up]
        if back:
            self._member.held.update(await Downward(exchange, back).run(combined))

    def _fresh(self, name: str, round_index: int) -> Held:
        """This device's own training of this round; of weight 0 when it trained nothing."""
        held = self._member.held[name]
        return held if held.round == round_index else Held(held.module, held.values, held.round)

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

    # -- payloads in --------------------------------------------------------------------------------------

    def admit(self, manifest: Manifest, peer: str) -> Module:
        if manifest.round < self._closed_before or manifest.round > self._member.round + 1:
            raise PayloadRefused(
                f"payload of round {manifest.round} from '{peer}' is late or early: "
                f"'{self._me}' is in round {self._member.round}"
            )
        sender, cluster = manifest.sender, self.cluster
        if manifest.purpose == PURPOSE_AGGREGATE:
            if peer != cluster.toward_head.get(self._me) or sender != cluster.head:
                raise PayloadRefused(f"'{peer}' does not hand down aggregates to '{self._me}'")
            return check_manifest(self._member.plan, manifest, cluster.subtree(sender))
        if manifest.purpose != PURPOSE_UPDATE or peer not in cluster.children(self._me):
            raise PayloadRefused(f"'{peer}' has nothing to push to '{self._me}' in the plan")
        aggregate = self._relays(manifest) is Relay.AGGREGATE
        if sender != peer and (aggregate or sender not in cluster.subtree(peer)):
            raise PayloadRefused(f"'{peer}' may not push as '{sender}'")
        entitled = cluster.subtree(sender) if aggregate else [sender]
        return check_manifest(self._member.plan, manifest, entitled, trailed=aggregate)

    def land(self, manifest: Manifest, module: Module, peer: str) -> Landing:
        """What goes on as it comes lands in a window; what ends here, in a buffer of its own."""
        relay = self._relays(manifest)
        passes = manifest.purpose == PURPOSE_UPDATE and not self.is_head
        landing: Landing
        if passes and relay is not Relay.STORE_AND_FORWARD:
            summed = relay is Relay.AGGREGATE
            if summed and manifest.size_bytes not in (0, size_bytes(module)):
                raise PayloadRefused(
                    f"module '{module.name}': {manifest.size_bytes} bytes cannot be added up"
                )
            landing = Window(manifest, WINDOW_BYTES, checked=summed)
        else:
            landing = Partial(manifest, module)
        self.inbox.open(landing)
        return landing

    def taken(self, key: Key) -> bool:
        return self.inbox.taken(key)

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        payload = Payload(self._member.modules[manifest.module], values) if len(values) else None
        self.inbox.put(manifest, payload)

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        raise PayloadRefused(f"'{self._me}' hands out no versions: pull them from the parent in the plan")

    def _relays(self, manifest: Manifest) -> Relay | None:
        module = self._member.modules.get(manifest.module)
        return self.cluster.relays(module) if module is not None else None
