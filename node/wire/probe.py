"""Test payloads over the links of a plan: the transfers of modules, between nodes that do nothing else."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import grpc
import numpy as np
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest

from node.errors import PayloadRefused, PlanError
from node.log import NodeLog
from node.payload import Payload, Values
from node.plan import Module, Plan, Tensor
from node.wire.budget import Budget
from node.wire.channels import Channels
from node.wire.codec import add_exchange
from node.wire.exchange import ExchangeService
from node.wire.landing import Key, Landing, Partial
from node.wire.pacing import Pacers
from node.wire.refusals import Refusals
from node.wire.server import serve
from node.wire.transfer import Outgoing, Transfers, Want

_ROOM_BYTES = 64 << 20  # test payloads are padding, but for some bytes
_NAME = "probe/"  # of the module, followed by the size of the payload in bytes


class Probe:
    """One node of the plan, for its links."""

    def __init__(self, plan: Plan, node: str) -> None:
        self._plan = plan
        self._node = plan.node(node)
        self._pacers = Pacers.of_node(plan, node)
        self._channels = Channels()
        self._transfers = Transfers(node, self._channels, self._pacers, plan.limits.stall_s)
        self._count = 0

    async def listen(self, until: AsyncExitStack) -> None:
        """Where the plan says so. Raises AddressError."""
        until.push_async_callback(self._channels.close)
        if self._node.address is None:
            return
        limits = self._plan.limits
        budget, refusals = Budget(_ROOM_BYTES), Refusals(NodeLog(self._node.id), self._plan.by_id, 1)
        sink = _Sink(self._node.id)
        service = ExchangeService(self._plan.run_id, sink, self._pacers, limits.stall_s, budget, refusals)

        def add(server: grpc.aio.Server) -> None:
            add_exchange(service, server)

        server = await serve(self._node.address, {"Exchange": add})
        until.push_async_callback(server.stop, 0)

    async def push(self, peer: str, size_bytes: int) -> float:
        """Sends a payload; seconds from the first byte to the receipt."""
        self._count += 1
        one = _outgoing(self._node.id, size_bytes, self._plan.run_id, self._count)
        return await self._transfers.push(peer, self._address(peer), [one])

    async def pull(self, peer: str, size_bytes: int) -> float:
        """Fetches a payload, as children do from their parent; seconds from the request to the last byte."""
        one = _outgoing(peer, size_bytes, self._plan.run_id, 0)
        assert one.payload is not None
        want = Want(one.payload.module, one.payload.sha256)
        started = time.monotonic()
        await self._transfers.pull(peer, self._address(peer), self._plan.run_id, [want])
        return time.monotonic() - started

    def _address(self, peer: str) -> str:
        address = self._plan.node(peer).address
        if address is None:
            raise PlanError(f"'{peer}' has no address in the plan: nothing can be sent to it")
        return address


class _Sink:
    """Takes everything and keeps nothing."""

    def __init__(self, node: str) -> None:
        self._node = node

    def admit(self, manifest: Manifest, peer: str) -> Module:
        return _module(_size_of(manifest.module))

    def land(self, manifest: Manifest, module: Module, peer: str) -> Landing:
        return Partial(manifest, module)

    def exclude(self, peer: str, reason: str) -> None:
        return

    def taken(self, key: Key) -> bool:
        return False

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        return

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        one = _outgoing(self._node, _size_of(module), "", 0)
        assert one.payload is not None
        return one.manifest, one.payload


def _outgoing(sender: str, size_bytes: int, run_id: str, number: int) -> Outgoing:
    """A payload of this many bytes, zeros but for its header."""
    module = _module(size_bytes)
    payload = Payload(module, np.zeros(module.size, dtype=np.float32))
    manifest = Manifest(
        run_id=run_id,
        round=number,
        module=module.name,
        sender=sender,
        purpose=PURPOSE_UPDATE,
        weight=1,
        contributors=[sender],
        size_bytes=payload.size_bytes,
        sha256=payload.sha256,
        padding_bytes=max(0, size_bytes - payload.size_bytes),
    )
    return Outgoing(manifest, payload)


def _module(size_bytes: int) -> Module:
    return Module(name=f"{_NAME}{size_bytes}", tensors=(Tensor(name="x", shape=(1,)),))


def _size_of(module: str) -> int:
    size = module.removeprefix(_NAME)
    if not size.isdecimal():
        raise PayloadRefused(f"module '{module}' is no test payload, and nothing else is taken here")
    return int(size)
