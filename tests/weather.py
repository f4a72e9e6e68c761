"""Bad links on loopback: nodes are reached through TCP relays, which may cut, freeze or slow their connections."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from node.plan import Plan
from tests.federation import free_ports

_READ_BYTES = 16_384


@dataclass
class Weather:
    """On the way to one node."""

    cuts: list[int] = field(
        default_factory=list
    )  # bytes after which a connection breaks, one after the other
    rate_bytes_s: float | None = None  # of each connection and direction
    frozen_after: int | None = None  # bytes to the node, from which on nothing moves for `frozen_s`, once
    frozen_s: float = 0.0
    cut_count: int = 0
    carried_bytes: int = 0

    async def pass_on(self, size: int, upwards: bool) -> None:
        self.carried_bytes += size
        if self.rate_bytes_s is not None:
            await asyncio.sleep(size / self.rate_bytes_s)
        if self.frozen_after is not None and upwards and self.carried_bytes > self.frozen_after:
            self.frozen_after = None
            await asyncio.sleep(self.frozen_s)


def storms(rng: random.Random, count: int, size_bytes: int) -> Weather:
    """Cuts at random points in the middle of transfers of this size."""
    return Weather(cuts=[rng.randrange(2000, size_bytes) for _ in range(count)])


class Relay:
    """Before one address."""

    def __init__(self, port: int, weather: Weather) -> None:
        self._port = port
        self._weather = weather
        self.tasks: set[asyncio.Task[None]] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        limit = self._weather.cuts.pop(0) if self._weather.cuts else None
        ends = [writer]
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
            ends.append(there_writer)
            left = [limit]
            ways = [
                asyncio.ensure_future(self._copy(reader, there_writer, left, upwards=True)),
                asyncio.ensure_future(self._copy(there_reader, writer, left, upwards=False)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            self._weather.cut_count += left[0] == 0
        except (OSError, asyncio.CancelledError):
            pass  # nobody listens there yet; or the test is over
        finally:
            for end in ends:
                end.transport.abort()
            self.tasks.discard(task)

    async def _copy(
        self,
        src: asyncio.StreamReader,
        dst: asyncio.StreamWriter,
        left: list[int | None],
        upwards: bool,
    ) -> None:
        """Until the connection ends, or both ways together have carried what it may."""
        with contextlib.suppress(OSError):
            while data := await src.read(_READ_BYTES):
                if left[0] is not None:
                    data = data[: left[0]]
                    left[0] -= len(data)
                await self._weather.pass_on(len(data), upwards)
                dst.write(data)
                await dst.drain()
                if left[0] == 0:
                    return


@asynccontextmanager
async def weathered(
    plan: Plan, weather: dict[str, Weather], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """Nodes listen elsewhere, and relays stand at the addresses of the plan. Where the root is, for an operator."""
    nodes: Sequence[str] = [n.id for n in plan.nodes]
    ports = dict(zip(nodes, free_ports(len(nodes)), strict=True))
    monkeypatch.setattr("node.roles.services._address", lambda plan, node: f"127.0.0.1:{ports[node]}")
    relays, servers = [], []
    for name in nodes:
        relay = Relay(ports[name], weather.get(name, Weather()))
        host, port = (plan.node(name).address or "").split(":")
        servers.append(await asyncio.start_server(relay.carry, host, int(port)))
        relays.append(relay)
    try:
        yield f"127.0.0.1:{ports[plan.root.id]}"
    finally:
        for server in servers:
            server.close()
        tasks = [task for relay in relays for task in relay.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports close their sockets
