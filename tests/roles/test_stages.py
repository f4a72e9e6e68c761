"""Sums made in transit are those of whole updates, to the last bit, however the bytes come; and along any tree."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
import pytest
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.aggregation import Update, combine
from node.errors import PayloadCorrupt
from node.payload import Payload, size_bytes
from node.plan import Cluster
from node.roles.stages import Combined
from node.routing import orient
from node.wire.window import Window
from tests.federation import module
from tests.test_routing import Graph, connected_graphs, nodes_of

MODULE = module("adapter", 999)


def update(i: int) -> Update:
    values = np.random.default_rng(i).normal(0, 0.1, MODULE.size).astype(np.float32)
    return Update(values, float(3 + i), (f"d{i}",))


def window(i: int, padding_bytes: int, sha256: bytes | None = None) -> tuple[Window, bytes]:
    """An input, and the bytes that it is to get."""
    one = update(i)
    file = Payload(MODULE, one.values)
    manifest = Manifest(module=MODULE.name, sender=f"d{i}", purpose=PURPOSE_UPDATE, size_bytes=file.size_bytes,
                        sha256=sha256 or file.sha256, weight=one.weight, contributors=one.contributors,
                        padding_bytes=padding_bytes)  # fmt: skip
    return Window(manifest, MODULE, 2000, summed=True), file.to_bytes() + bytes(padding_bytes)


def combined(inputs: list[Window], padding_bytes: int) -> Combined:
    manifest = Manifest(module=MODULE.name, size_bytes=size_bytes(MODULE), padding_bytes=padding_bytes)
    return Combined(manifest, MODULE, update(0), inputs)


async def feed(to: Window, data: bytes, cuts: list[int]) -> None:
    """In chunks of these sizes, over and over; waits for room as a sender does."""
    at, turn = 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        to.feed(data[at : at + size])
        at, turn = at + size, turn + 1
        while not await to.room(5):
            pass
    to.finish(b"")


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 4),
    st.lists(st.lists(st.integers(30, 700), min_size=1, max_size=5), min_size=4, max_size=4),
    st.integers(90, 900),
    st.sampled_from([0, 1, 5000]),
    st.integers(0, 5000),
)
def test_a_sum_in_transit_is_the_sum_of_whole_updates(
    count: int, cuts: list[list[int]], most: int, padding: int, broken_at: int
) -> None:
    async def play() -> tuple[bytes, bytes]:
        pairs = [window(i + 1, padding) for i in range(count)]
        feeds = [asyncio.ensure_future(feed(w, data, cuts[i])) for i, (w, data) in enumerate(pairs)]
        stage = combined([w for w, _ in pairs], padding)
        made = bytearray()
        async for chunk, _ in stage.chunks(most, 0):  # a connection that breaks, the last chunk lost with it
            if len(made) + len(chunk) > broken_at:
                break
            made += chunk
            stage.release(max(0, len(made) - 100))
        async for chunk, _ in stage.chunks(most, len(made)):
            made += chunk
            stage.release(len(made))
        await asyncio.gather(*feeds)
        assert stage.most_kept_bytes <= most + 100 + most
        return bytes(made), stage.trailer()

    made, trailer = asyncio.run(play())
    whole = Payload(MODULE, combine([update(i) for i in range(count + 1)]).values).to_bytes()
    assert made == whole + bytes(padding)
    assert trailer == hashlib.sha256(whole).digest()


async def taken(stage: Combined) -> None:
    async for _ in stage.chunks(500, 0):
        stage.release(1 << 20)


def test_a_wrong_digest_ends_the_sum() -> None:
    async def play() -> None:
        one, data = window(1, 0, sha256=b"x" * 32)
        stage = combined([one], 0)
        feeding = asyncio.ensure_future(feed(one, data, [500]))
        with pytest.raises(PayloadCorrupt, match="digest"):
            await taken(stage)
        with pytest.raises(PayloadCorrupt, match="digest"):
            await feeding

    asyncio.run(play())


@settings(deadline=None, max_examples=50)
@given(connected_graphs(), st.data())
def test_along_any_tree_everybody_counts_once_and_the_average_is_flat(
    graph: Graph, data: st.DataObject
) -> None:
    nodes = nodes_of(graph)
    head = data.draw(st.sampled_from(nodes))
    edges = {(min(p), max(p)) for p in graph}
    cluster = Cluster(parent="e", head=head, edges=tuple(sorted(orient(edges, head).items())))
    updates = {n: Update(update(i).values, 1.0 + i, (n,)) for i, n in enumerate(nodes)}

    def summed(node: str) -> Update:
        return combine([updates[node], *(summed(child) for child in cluster.children(node))])

    tree, flat = summed(head), combine(updates.values())
    assert tree.contributors == flat.contributors == tuple(nodes)
    assert tree.weight == flat.weight
    np.testing.assert_allclose(tree.values, flat.values, rtol=0, atol=1e-7)
