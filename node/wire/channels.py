"""Connections to other nodes: one channel per address."""

from __future__ import annotations

import grpc

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
    # Without this, a second process could listen on the same port and take half of the calls.
    ("grpc.so_reuseport", 0),
]


class Channels:
    """The channels that one node has opened."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    def to(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS)
        return self._channels[address]

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
