"""What a device's peers push to it: updates on their way to the head, aggregates on their way back."""

from __future__ import annotations

from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest

from node.errors import BusyError, PayloadLate, PayloadRefused
from node.payload import Payload, Values, size_bytes
from node.plan import Module, Relay
from node.roles.admission import check_peer
from node.roles.exchanges import Exchanges
from node.roles.member import Member
from node.wire.landing import Key, Landing, Partial
from node.wire.stream import WINDOW_BYTES
from node.wire.window import Window


class Neighbour:
    """The `Receiver` of one device in a cluster."""

    def __init__(self, member: Member, exchanges: Exchanges) -> None:
        self._member = member
        self._me = member.node.id
        self._exchanges = exchanges

    def admit(self, manifest: Manifest, peer: str) -> Module:
        now = self._member.round
        what = f"payload of round {manifest.round} from '{peer}'"
        told = self._member.circulation.is_known(manifest.round)
        if manifest.round > now + 1 or not told:  # or this device is in a new life, and does not know yet
            raise BusyError(f"{what} is early: '{self._me}' is in round {now}")
        if manifest.round < now - 1:  # an exchange may be done again for the others
            raise PayloadLate(f"{what} is late: '{self._me}' is in round {now}")
        view = self._exchanges.view(manifest.round)
        circulation, plan = self._member.circulation, self._member.plan
        return check_peer(circulation, plan, view.cluster, view.attempt, self._me, manifest, peer)

    def land(self, manifest: Manifest, module: Module, peer: str) -> Landing:
        """What goes on as it comes lands in a window; what ends here, in a buffer of its own."""
        cluster = self._exchanges.view(manifest.round).cluster
        relay = cluster.relays(module)
        passes = manifest.purpose == PURPOSE_UPDATE and cluster.head != self._me and cluster.gossip is None
        landing: Landing
        if passes and relay is not Relay.STORE_AND_FORWARD:
            summed = relay is Relay.AGGREGATE
            if summed and manifest.size_bytes not in (0, size_bytes(module)):
                raise PayloadRefused(
                    f"module '{module.name}': {manifest.size_bytes} bytes cannot be added up"
                )
            landing = Window(manifest, module, WINDOW_BYTES, peer, summed)
        else:
            landing = Partial(manifest, module)
        self._exchanges.inbox.open(landing)
        return landing

    def exclude(self, peer: str, reason: str) -> None:
        """It is avoided since the first wrong payload: there are other ways, or its uplink."""

    def taken(self, key: Key) -> bool:
        return self._exchanges.inbox.taken(key)

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        payload = Payload(self._member.modules[manifest.module], values) if len(values) else None
        self._exchanges.inbox.put(manifest, payload)

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        raise PayloadRefused(f"'{self._me}' hands out no versions: pull them from the parent in the plan")
