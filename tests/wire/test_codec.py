"""What is written by hand is what protobuf writes, and what protobuf reads."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hffm.v1 import exchange_pb2 as pb
from hffm.v1.payload_pb2 import Manifest
from hypothesis import given
from hypothesis import strategies as st

from node.wire.codec import PULLED, PUSHED

SIZES = [0, 1, 127, 128, 16_383, 16_384, 1 << 20, (1 << 21) + 5]


@pytest.mark.parametrize("size", SIZES)
def test_chunks_are_as_protobuf_writes_them(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert PUSHED.write(memoryview(data)) == pb.PushRequest(chunk=data).SerializeToString()
    assert PULLED.write(memoryview(data)) == pb.PullReply(chunk=data).SerializeToString()


@pytest.mark.parametrize("size", SIZES)
def test_chunks_are_views_of_what_came(size: int) -> None:
    sent = pb.PushRequest(chunk=bytes(size)).SerializeToString()
    chunk = PUSHED.read(sent)
    assert isinstance(chunk, memoryview)
    assert bytes(chunk) == bytes(size)
    assert chunk.obj is sent or size == 0


def test_chunks_in_another_form_are_chunks_too() -> None:
    """With a second field, with the length in more bytes than it needs, or twice: the last one counts."""
    second = pb.PushRequest(chunk=b"abc", resume=True).SerializeToString()
    long_length = b"\x12\x83\x80\x00abc"
    twice = pb.PushRequest(chunk=b"no").SerializeToString() + pb.PushRequest(chunk=b"abc").SerializeToString()
    for data in (second, long_length, twice):
        chunk = PUSHED.read(data)
        assert isinstance(chunk, memoryview)
        assert bytes(chunk) == b"abc"


def test_messages_stay_messages() -> None:
    for part in (pb.PushRequest(manifest=Manifest(module="a", size_bytes=3)), pb.PushRequest()):
        assert PUSHED.read(PUSHED.write(part)) == part


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\x12" + rest))
def test_anything_else_is_read_as_protobuf_reads_it(data: bytes) -> None:
    try:
        wanted = pb.PushRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            PUSHED.read(data)
        return
    found = PUSHED.read(data)
    if wanted.WhichOneof("part") == "chunk":
        assert isinstance(found, memoryview)
        assert bytes(found) == wanted.chunk
    else:
        assert found == wanted
