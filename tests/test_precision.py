"""Values in fewer bytes: what a file says is exact; what is odd is refused; over the rounds nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from node.aggregation import Update, combine
from node.errors import PayloadRefused
from node.payload import Payload, Values, decode, header, size_bytes
from node.plan import Module, Plan, Precision, Tensor
from node.precision import on_grid
from node.roles.feedback import sent
from node.roles.private import Private
from tests.test_partial_holders import plans

TENSORS = (
    Tensor(name="bias", shape=(3,)),
    Tensor(name="none", shape=(0,)),
    Tensor(name="weight", shape=(4, 5)),
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
QUANTISED = [Precision.BF16, Precision.INT8]


def module(precision: Precision) -> Module:
    return Module(name="adapter", tensors=TENSORS, precision=precision)


@settings(max_examples=300)
@given(st.lists(FLOATS, min_size=23, max_size=23), st.sampled_from(list(Precision)))
def test_a_version_is_the_same_file_wherever_it_is_sent_on(
    numbers: list[float], precision: Precision
) -> None:
    one = module(precision)
    values = np.array(numbers, np.float32)
    file = Payload(one, values).to_bytes()
    assert len(file) == size_bytes(one)
    received = decode(one, file)
    assert received.tobytes() == on_grid(one, values).tobytes()
    assert Payload(one, received).to_bytes() == file
    for start, end in ((0, 3), (3, 23)):
        peak = np.abs(values[start:end]).max()
        share = {Precision.FP32: 0, Precision.BF16: 2**-8, Precision.INT8: 2**-6}[precision]
        assert np.abs(received[start:end] - values[start:end]).max() <= max(share * peak, 2.0**-126)


def test_plain_safetensors_reads_what_is_sent() -> None:
    values = np.linspace(-2, 3, 23, dtype=np.float32)
    tensors = load(Payload(module(Precision.INT8), values).to_bytes())
    assert {name: (t.dtype.name, t.shape) for name, t in tensors.items()} == {
        "bias": ("int8", (3,)),
        "bias.scale": ("float32", ()),
        "none": ("int8", (0,)),
        "none.scale": ("float32", ()),
        "weight": ("int8", (4, 5)),
        "weight.scale": ("float32", ()),
    }
    restored = tensors["weight"].astype(np.float32) * tensors["weight.scale"]
    np.testing.assert_allclose(restored.ravel(), values[3:], atol=2**-6)
    assert restored.ravel().tobytes() == on_grid(module(Precision.INT8), values)[3:].tobytes()
    table = json.loads(header(module(Precision.BF16))[8:])
    assert {entry["dtype"] for name, entry in table.items() if name != "__metadata__"} == {"BF16"}


def test_bf16_rounds_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.abs(values) < 3.3e38]
    one = Module(name="m", tensors=(Tensor(name="t", shape=(len(values),)),), precision=Precision.BF16)
    wanted = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    assert on_grid(one, values).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("precision", QUANTISED)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_diverged_does_not_become_finite(precision: Precision, bad: float) -> None:
    values = np.ones(23, np.float32)
    values[7] = bad
    assert not np.isfinite(on_grid(module(precision), values)).all()


@pytest.mark.parametrize(
    ("scale", "steps"),
    [
        (np.nan, 64),
        (np.inf, 64),
        (0.0, 64),
        (-1.0, 64),
        (3.0, 64),
        (1.0, 63),
        (1.0, 0),
        (1.0, -128),
        (2.0**127, 127),
    ],
)
def test_a_scale_that_no_sender_may_choose_is_refused(scale: float, steps: int) -> None:
    one = Module(name="m", tensors=(Tensor(name="t", shape=(2,)),), precision=Precision.INT8)
    file = header(one) + np.float32(scale).tobytes() + np.array([steps, 0], np.int8).tobytes()
    with pytest.raises(PayloadRefused, match="scale"):
        decode(one, file)


@pytest.mark.parametrize("precision", QUANTISED)
def test_another_precision_than_the_plans_is_refused(precision: Precision) -> None:
    values = np.zeros(23, np.float32)
    for other in set(Precision) - {precision}:
        with pytest.raises(PayloadRefused):
            decode(module(precision), Payload(module(other), values).to_bytes())


def test_a_round_that_is_done_again_is_sent_again_bit_by_bit() -> None:
    rng, private, one = np.random.default_rng(0), Private(), module(Precision.INT8)
    versions = [rng.normal(0, 1, 23).astype(np.float32) for _ in range(3)]
    first = [sent(private, one, "device", v, r) for r, v in enumerate(versions)]
    in_another_life = Private()
    in_another_life.restore(private.kept())
    for life in (private, in_another_life):
        assert sent(life, one, "device", versions[2], 2).tobytes() == first[2].tobytes()
    assert sent(Private(), one, "device", versions[2], 2).tobytes() != first[2].tobytes()


def up(
    plan: Plan, node: str, one: Module, learned: Mapping[str, Update], states: dict[str, Private], r: int
) -> Update | None:
    """What a node reports, quantised by itself: its own training, or its children's reports combined."""
    found = learned.get(node)
    if found is None:
        reports = [
            u for child in plan.children(node) if (u := up(plan, child, one, learned, states, r)) is not None
        ]
        found = combine(reports) if reports else None
    if found is None:
        return None
    values = sent(states.setdefault(node, Private()), one, plan.node(node).tier, found.values, r)
    return Update(values, found.weight, found.contributors)


@settings(max_examples=40)
@given(plans(), st.integers(0, 2**32), st.sampled_from(QUANTISED))
def test_over_the_rounds_nothing_is_lost_in_any_tree(plan: Plan, seed: int, precision: Precision) -> None:
    """The sum over the rounds of what the root has is that of the flat averages, but for one rounding per tier."""
    rng, rounds = np.random.default_rng(seed), 24
    for plain in plan.modules:
        one = plain.model_copy(update={"precision": precision})
        weights = {d: float(rng.integers(1, 50)) for d in plan.holders(one.name)}
        states: dict[str, Private] = {}
        drift, worst = np.zeros(one.size), 0.0
        # The same in each round, so that what is left out would add up.
        learned = {d: Update(_values(rng, one.size), w, (d,)) for d, w in weights.items()}
        for r in range(rounds):
            root = up(plan, plan.root.id, one, learned, states, r)
            if root is None:
                assert not weights
                continue
            flat = combine(list(learned.values()))
            assert (root.weight, root.contributors) == (flat.weight, flat.contributors)
            drift += root.values.astype(np.float64) - flat.values
            worst = max(worst, float(np.abs(root.values - flat.values).max()))
        step = 2.0**-5 if precision is Precision.INT8 else 2.0**-7  # of values below 4: one rounding at most
        tiers = max(plan.height(plan.root.id), 1) + 1
        assert np.abs(drift).max() <= tiers * step
        assert not weights or worst > 0


def _values(rng: np.random.Generator, size: int) -> Values:
    return np.clip(rng.normal(0, 1, size), -3, 3).astype(np.float32)
