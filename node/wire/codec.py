"""The service Exchange on the wire, its chunks without protobuf's copies.

Almost all bytes of a run are chunks. As a field of a protobuf message each would be copied into the message and
again into its encoding, and likewise on arrival. So a chunk is the view of a buffer here, and the one field that
it fills is written and read by hand (Protocol Buffers, "Encoding": tag, length as a varint, bytes). What travels
is the same as protobuf writes, and a message of any other form is left to protobuf.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message
from hffm.v1 import exchange_pb2 as pb

M = TypeVar("M", pb.PushRequest, pb.PullReply)
Chunk = bytes | memoryview

_SERVICE = "hffm.v1.Exchange"
_LENGTH_DELIMITED = 2


class Parts(Generic[M]):
    """Parts of a stream: chunks as views of bytes, all else as messages."""

    def __init__(self, message: type[M]) -> None:
        number = message.DESCRIPTOR.fields_by_name["chunk"].number
        self._message: type[M] = message
        self._tag = bytes([number << 3 | _LENGTH_DELIMITED])

    def write(self, part: M | Chunk) -> bytes:
        if isinstance(part, Message):
            return part.SerializeToString()
        return b"".join((self._tag, _varint(len(part)), part))

    def read(self, data: bytes) -> M | memoryview:
        """Raises google.protobuf's DecodeError for what is no such message."""
        if data[:1] == self._tag:
            start, length = _read_varint(data, 1)
            if start + length == len(data):
                return memoryview(data)[start:]
        message = self._message.FromString(data)
        return memoryview(message.chunk) if message.WhichOneof("part") == "chunk" else message


PUSHED = Parts(pb.PushRequest)
PULLED = Parts(pb.PullReply)


class ExchangeStub:
    """The service as its callers see it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.Push: Callable[..., Any] = channel.stream_stream(
            f"/{_SERVICE}/Push",
            request_serializer=PUSHED.write,
            response_deserializer=pb.PushReply.FromString,
        )
        self.Pull: Callable[..., Any] = channel.unary_stream(
            f"/{_SERVICE}/Pull",
            request_serializer=pb.PullRequest.SerializeToString,
            response_deserializer=PULLED.read,
        )


def add_exchange(service: Any, server: grpc.aio.Server) -> None:
    """`service`: its Push and Pull take and give parts."""
    methods = {
        "Push": grpc.stream_stream_rpc_method_handler(
            service.Push,
            request_deserializer=PUSHED.read,
            response_serializer=pb.PushReply.SerializeToString,
        ),
        "Pull": grpc.unary_stream_rpc_method_handler(
            service.Pull,
            request_deserializer=pb.PullRequest.FromString,
            response_serializer=PULLED.write,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Where the number ends, and the number; one that matches no length when it has no end."""
    number = shift = 0
    for index in range(at, min(at + 10, len(data))):
        number |= (data[index] & 0x7F) << shift
        if data[index] < 0x80:
            return index + 1, number
        shift += 7
    return len(data), -1
