"""Connections to other nodes: one channel per address."""

from __future__ import annotations

import asyncio

import grpc

from node.plan.network import is_loopback
from node.wire.handshake import wants_certificates
from node.wire.tls import Tls

MOST_CALLS = (
    8192  # that a server has open at a time, of all peers: beyond it refuses, without looking at them
)
MESSAGE_BYTES = 8 << 20  # room for any chunk that a peer may choose
# Keepalive finds dead connections while no call is moving; the server's tolerance matches it.
_COMMON = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
CLIENT_OPTIONS = [*_COMMON, ("grpc.max_reconnect_backoff_ms", 2_000), ("grpc.enable_http_proxy", 0)]
SERVER_OPTIONS = [
    *_COMMON,
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    # What a stranger may take up: time for its handshake, a connection without calls, streams that are open at a
    # time on one, metadata.
    ("grpc.server_handshake_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    # Without this, a second process could listen on the same port and take half of the calls.
    ("grpc.so_reuseport", 0),
]


# Without a way to fill, gRPC's measuring of it (bandwidth x delay) only lets megabytes lie in every connection.
# Where there is a delay, a window that is not measured would starve the connection.
_WITHOUT_DELAY = [("grpc.http2.bdp_probe", 0)]


def of_the_way(address: str) -> list[tuple[str, int]]:
    """Options for connections to or at this address."""
    return _WITHOUT_DELAY if is_loopback(address) else []


class Channels:
    """The channels that one node has opened; with its certificate, to the nodes of its plan only."""

    def __init__(self, tls: Tls | None = None) -> None:
        self._tls = tls
        self._channels: dict[str, grpc.aio.Channel] = {}

    def to(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = self._open(address)
        return self._channels[address]

    async def why_not(self, address: str) -> str | None:
        """Which certificate is why no connection comes about, or that one is wanted; None for other reasons."""
        ask = wants_certificates if self._tls is None else self._tls.why_not
        return await asyncio.to_thread(ask, address)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    def _open(self, address: str) -> grpc.aio.Channel:
        options = [*CLIENT_OPTIONS, *of_the_way(address)]
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=options)
        return self._tls.channel(address, options)
