"""Files in and out: what this system writes is safetensors, and nothing that it reads can break it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from node.errors import PayloadError, PayloadRefused
from node.payload import Payload, decode, header, largest_size_bytes
from node.plan import Module, Tensor

MODULE = Module(
    name="head/t",
    tensors=(
        Tensor(name="bias", shape=(3,)),
        Tensor(name="scale", shape=()),
        Tensor(name="weight", shape=(2, 5)),
    ),
)
VALUES = np.arange(14, dtype=np.float32)
FILE = Payload(MODULE, VALUES).to_bytes()


def test_what_leaves_is_a_safetensors_file():
    tensors = load(FILE)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "bias": (3,),
        "scale": (),
        "weight": (2, 5),
    }
    np.testing.assert_array_equal(tensors["weight"], VALUES[4:].reshape(2, 5))
    assert Payload(MODULE, VALUES).sha256 == hashlib.sha256(FILE).digest()
    assert len(FILE) == Payload(MODULE, VALUES).size_bytes
    np.testing.assert_array_equal(decode(MODULE, FILE), VALUES)


@given(chunk=st.integers(1, 200), offset=st.integers(0, len(FILE) + 60), padding=st.integers(0, 50))
def test_chunks_from_any_offset_make_up_the_rest(chunk, offset, padding):
    chunks = list(Payload(MODULE, VALUES).chunks(chunk, offset, padding))
    assert b"".join(chunks) == (FILE + bytes(padding))[offset:]
    assert all(0 < len(c) <= chunk for c in chunks)


@given(st.permutations(["bias", "scale", "weight"]))
def test_the_order_of_tensors_in_a_file_does_not_matter(order):
    start, table, data = 0, {}, b""
    for name in order:
        tensor = load(FILE)[name]
        end = start + tensor.nbytes
        table[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
        start, data = end, data + tensor.tobytes()
    text = json.dumps(table).encode()
    np.testing.assert_array_equal(decode(MODULE, len(text).to_bytes(8, "little") + text + data), VALUES)


@pytest.mark.parametrize(
    "tensors",
    [
        {"bias": np.zeros(3, np.float32), "scale": np.zeros((), np.float32)},
        {**load(FILE), "extra": np.zeros(1, np.float32)},
        {**load(FILE), "weight": np.zeros((5, 2), np.float32)},
        {**load(FILE), "weight": np.zeros((2, 5), np.float64)},
        {**load(FILE), "weight": np.zeros((2, 5), np.int32)},
    ],
    ids=["missing", "extra", "transposed", "float64", "int32"],
)
def test_another_schema_is_refused(tensors):
    with pytest.raises(PayloadRefused):
        decode(MODULE, save(tensors))


@settings(max_examples=3000)
@given(st.data())
def test_no_mutation_of_a_file_gets_past_the_errors(data):
    """Whatever the bytes: 14 values, or a PayloadError."""
    file = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(header(MODULE)) - 1))
        file[where] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 7, 40, len(file)]))
    _survives(bytes(file[: len(file) - cut]))


@settings(max_examples=3000)
@given(
    st.dictionaries(
        st.sampled_from(["bias", "scale", "weight", "__metadata__", "x"]),
        st.recursive(
            st.none() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.fixed_dictionaries(
                    {"dtype": st.sampled_from(["F32", "F64", 3]), "shape": inner, "data_offsets": inner}
                )
            ),
            max_leaves=9,
        ),
    ),
    st.binary(max_size=80),
)
def test_no_header_gets_past_the_errors(table, rest):
    text = json.dumps(table).encode()
    _survives(len(text).to_bytes(8, "little") + text + rest)


@settings(max_examples=2000)
@given(st.binary(max_size=300))
def test_no_bytes_get_past_the_errors(file):
    _survives(file)


def test_deep_nesting_is_no_stack_overflow():
    text = b'{"bias":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    _survives(len(text).to_bytes(8, "little") + text)


def test_a_file_can_only_be_as_large_as_its_module():
    assert len(FILE) < largest_size_bytes(MODULE) < len(FILE) + 100_000


def _survives(file: bytes) -> None:
    """Either values of the module's size, or an error that is one line."""
    refused = ""
    values = VALUES
    try:
        values = decode(MODULE, file)
    except PayloadError as error:
        refused = str(error)
    assert "\n" not in refused
    assert (values.shape, values.dtype) == ((14,), np.float32)
