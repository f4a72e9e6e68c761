"""Messages from outside, looked at before protobuf builds objects of them.

A few megabytes of empty strings or messages would be hundreds of megabytes of objects, and what is no message of
the contract at all must be answered like any other mistake. So a part that is not bulk data has a limit of its own,
and what cannot be read ends the call with a status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from node.errors import ProtocolError

_LENGTH_DELIMITED = 2
# Fields that carry bulk: Push's chunk, a session's events.
_BULK = {"/hffm.v1.Exchange/Push": 2, "/hffm.v1.Membership/Session": 5}
_OTHER_BYTES = 1 << 20  # any other part: contributors by their names, states of all nodes below


Reader = Callable[[bytes], Any]


def careful(method: str, read: Reader) -> Reader:
    """`read`, for bytes from outside; raises ProtocolError."""
    bulk = bytes([_BULK[method] << 3 | _LENGTH_DELIMITED]) if method in _BULK else None

    def checked(data: bytes) -> Any:
        if len(data) > _OTHER_BYTES and data[:1] != bulk:
            why = f"a message of {len(data)} bytes; at most {_OTHER_BYTES} where it is no bulk data"
            raise ProtocolError(why)
        try:
            return read(data)
        except (DecodeError, ValueError, RecursionError) as error:
            raise ProtocolError("bytes that are no message of the contract") from error

    return checked


def kept(read: Reader) -> Reader:
    """`read`, giving its ProtocolError back instead: gRPC reads a single request before anybody could catch it."""

    def checked(data: bytes) -> Any:
        try:
            return read(data)
        except ProtocolError as error:
            return error

    return checked
