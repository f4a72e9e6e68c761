"""A hundred thousand hostile payloads and manifests, made by structured mutation of honest ones.

`python -m tests.fuzz [COUNT] [SEED]` prints how many were tried, and how they were refused. Whatever the input:
values of the module's size, all finite, or an error of the tree.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from hffm.v1.exchange_pb2 import PushRequest
from hffm.v1.payload_pb2 import Manifest

from node.errors import HffmError
from node.payload import Payload, decode, header
from node.plan import Circulation, Cluster, Gossip, Module, Tensor
from node.roles.admission import check_manifest, check_peer
from node.wire.codec import PUSHED
from node.wire.landing import Partial
from node.wire.parsing import careful
from tests.federation import make_plan

MODULE = Module(
    name="head/t",
    tensors=(
        Tensor(name="bias", shape=(3,)),
        Tensor(name="scale", shape=()),
        Tensor(name="weight", shape=(2, 5)),
    ),
    periods={"cluster": 1, "cloud": 1},
)
VALUES = np.arange(14, dtype=np.float32)
FILE = Payload(MODULE, VALUES).to_bytes()
HEADER = json.loads(header(MODULE)[8:])
NUMBERS = [
    0,
    1,
    -1,
    3,
    4,
    12,
    55,
    56,
    57,
    2**31,
    2**32 - 1,
    2**53,
    2**63 - 1,
    2**64,
    -(2**63),
    10**400,
    1.5,
    1e308,
]
THINGS: list[Any] = [
    *NUMBERS,
    None,
    True,
    "",
    "F32",
    "F64",
    "x" * 5000,
    "\u202e\ud800\x00\n",
    [],
    {},
    [[]],
    [1] * 500,
]
DEVICES = ("d0", "d1", "d2")
PLAN = make_plan(
    {"cloud": None, **dict.fromkeys(DEVICES, "cloud")},
    {"cloud": "cloud"},
    (MODULE,),
    clusters=(Cluster(parent="cloud", head="d0", edges=(("d0", "d1"), ("d1", "d2"))),),
)
CLUSTERS = (
    PLAN.clusters[0],
    PLAN.clusters[0].model_copy(
        update={"gossip": Gossip(edges=(("d0", "d1"), ("d1", "d2")), iterations=3, contraction=0.5)}
    ),
)


def framed(text: bytes, data: bytes, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


# -- files ------------------------------------------------------------------------------------------------


def any_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(300))


def flipped(rng: random.Random) -> bytes:
    file = bytearray(FILE)
    for _ in range(rng.randint(1, 6)):
        file[rng.randrange(len(file))] = rng.randrange(256)
    return bytes(file)


def cut_or_grown(rng: random.Random) -> bytes:
    return (
        FILE[: rng.randrange(len(FILE))] if rng.random() < 0.5 else FILE + rng.randbytes(rng.randint(1, 99))
    )


def header_length(rng: random.Random) -> bytes:
    length = rng.choice([0, 1, 7, 8, len(FILE), 2**31, 2**40, 2**63, 2**64 - 1, rng.randrange(500)])
    return framed(header(MODULE)[8:], FILE[len(header(MODULE)) :], length)


def entry(rng: random.Random) -> bytes:
    """One field of one tensor: dtype, shape with an overflowing product, offsets that overlap or leave gaps."""
    table = json.loads(json.dumps(HEADER))
    tensor = table[rng.choice(["bias", "scale", "weight"])]
    key = rng.choice(["dtype", "shape", "data_offsets", "more"])
    kind = rng.randrange(4)
    if kind == 0:
        tensor.pop(key, None)
    elif kind == 1:
        tensor[key] = rng.choice(THINGS)
    else:
        tensor[key] = [rng.choice(NUMBERS) for _ in range(rng.randint(0, 4))]
    return framed(json.dumps(table).encode(errors="surrogatepass"), FILE[len(header(MODULE)) :])


def table(rng: random.Random) -> bytes:
    """Tensors missing, added, renamed, twice; metadata of any kind."""
    pairs = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in HEADER.items()]
    for _ in range(rng.randint(1, 3)):
        where = rng.randrange(len(pairs) + 1)
        kind = rng.randrange(3)
        if kind == 0 and pairs:
            pairs.pop(where % len(pairs))
        elif kind == 1 and pairs:
            pairs.insert(where, rng.choice(pairs))
        else:
            key = rng.choice(["bias", "__metadata__", "x", "", "weight\u0000"])
            pairs.insert(where, f"{json.dumps(key)}:{json.dumps(rng.choice(THINGS))}")
    return framed(("{" + ",".join(pairs) + "}").encode(), FILE[len(header(MODULE)) :])


def nested(rng: random.Random) -> bytes:
    depth, (opening, closing) = rng.randint(1, 20_000), rng.choice([("[", "]"), ('{"a":', "}")])
    return framed(('{"bias":' + opening * depth + "1" + closing * depth + "}").encode(), b"\0" * 56)


def numbers(rng: random.Random) -> bytes:
    """The right form, with values that no training gives."""
    values = VALUES.copy()
    values[rng.randrange(14)] = rng.choice([np.nan, np.inf, -np.inf, 3e38, -0.0, 1e-45])
    return Payload(MODULE, values).to_bytes()


Maker = Callable[[random.Random], bytes]
FILES: list[Maker] = [any_bytes, flipped, cut_or_grown, header_length, entry, table, numbers]


def try_file(rng: random.Random, count: int) -> None:
    file = (nested if count % 500 == 0 else rng.choice(FILES))(rng)
    partial = Partial(Manifest(size_bytes=len(file), sha256=hashlib.sha256(file).digest()), MODULE)
    for at in range(0, len(file), 97):
        partial.feed(file[at : at + 97])
    values = partial.finish() if file else decode(MODULE, file)
    assert values.shape == (14,)
    assert np.isfinite(values).all()


# -- manifests --------------------------------------------------------------------------------------------

INTEGERS = [0, 1, 2, 3, 14, 55, len(FILE), 2**16, 2**31, 2**32 - 1]
LONGER = [*INTEGERS, 2**53, 2**63, 2**64 - 1]
NAMES = ["d0", "d1", "d2", "cloud", "", "head/t", "x" * 3000, "\u202e\n\x00", "d0 "]
FLOATS = [
    0.0,
    -0.0,
    1.0,
    5.0,
    -1.0,
    1e9,
    1e300,
    float("nan"),
    float("inf"),
    -float("inf"),
    5e-324,
    2.0**53,
    1 / 3,
]


def manifest(rng: random.Random) -> Manifest:
    honest = Manifest(run_id="test", module="head/t", sender="d1", purpose=1, weight=5)
    honest.size_bytes, honest.sha256 = len(FILE), b"s" * 32
    honest.contributors.append("d1")
    for _ in range(rng.randint(0, 4)):
        field = rng.choice(Manifest.DESCRIPTOR.fields).name
        if field in ("round", "attempt", "step"):
            setattr(honest, field, rng.choice(INTEGERS))
        elif field in ("size_bytes", "padding_bytes"):
            setattr(honest, field, rng.choice(LONGER))
        elif field == "purpose":
            setattr(honest, field, rng.choice([0, 1, 2, 3, 4, 99, -1, 2**31 - 1]))
        elif field == "weight":
            honest.weight = rng.choice(FLOATS)
        elif field in ("sha256", "blake3"):
            setattr(honest, field, rng.randbytes(rng.choice([0, 1, 31, 32, 33, 1000])))
        elif field == "contributors":
            del honest.contributors[:]
            honest.contributors.extend(rng.choices(NAMES, k=rng.choice([0, 1, 1, 2, 3, 4, 200])))
        else:
            setattr(honest, field, rng.choice(NAMES))
    return honest


def try_manifest(rng: random.Random, count: int) -> None:
    """As it comes over the wire, bytes damaged or not; whoever admits it has checked what it allocates."""
    data = bytearray(PUSHED.write(PushRequest(manifest=manifest(rng))))
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] = rng.randrange(256)
    part = careful("/hffm.v1.Exchange/Push", PUSHED.read)(bytes(data))
    if isinstance(part, memoryview) or part.WhichOneof("part") != "manifest":
        return
    told = part.manifest
    if rng.random() < 0.5:
        module = check_manifest(PLAN, told, ["d1"])
    else:
        module = check_peer(
            Circulation(PLAN), PLAN, rng.choice(CLUSTERS), 0, rng.choice(DEVICES), told, rng.choice(NAMES)
        )
    assert module is MODULE
    assert told.size_bytes < 70_000
    assert np.isfinite(told.weight)
    assert 0 <= told.weight <= 3 * PLAN.most_samples(MODULE) * 1.00001
    assert len(set(told.contributors)) == len(told.contributors) <= 3


def fuzz(count: int, seed: int) -> Counter[str]:
    """What became of so many tries: `taken`, or the class of the error."""
    rng, found = random.Random(seed), Counter[str]()
    for i in range(count):
        kind, attempt = ("file", try_file) if i % 2 else ("manifest", try_manifest)
        try:
            attempt(rng, i)
            found[f"{kind} taken"] += 1
        except HffmError as error:
            found[f"{kind} {type(error).__name__}"] += 1
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found = fuzz(count, seed)
    print(f"{count} payloads and manifests tried, seed {seed}")
    for what, number in sorted(found.items()):
        print(f"  {what:28} {number:8}")


if __name__ == "__main__":
    main()
