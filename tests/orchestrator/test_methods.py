"""Names of methods, and the circulation they stand for."""

from __future__ import annotations

import pytest

from orchestrator.plans.methods import parse_method, periods

TWO, THREE = ("cloud", "edge"), ("cloud", "region", "edge")


@pytest.mark.parametrize(
    ("name", "tiers", "expected"),
    [
        ("star", TWO, {"cloud": 1}),
        ("star", THREE, {"cloud": 1}),
        ("edge-only", TWO, {"edge": 1}),
        ("edge-only", THREE, {"edge": 1}),
        ("edge-only+d2d", TWO, {"cluster": 1}),
        ("hf-fm-1", TWO, {"edge": 1, "cloud": 1}),
        ("hf-fm-8", TWO, {"edge": 1, "cloud": 8}),
        ("hf-fm-3", THREE, {"edge": 1, "region": 3, "cloud": 9}),
        ("hf-fm+d2d-8", TWO, {"cluster": 1, "edge": 8, "cloud": 8}),
        ("hf-fm+d2d-3", THREE, {"cluster": 1, "edge": 3, "region": 3, "cloud": 9}),
        ("hf-fm+d2d-4", ("cloud",), {"cluster": 1, "cloud": 4}),
    ],
)
def test_periods(name: str, tiers: tuple[str, ...], expected: dict[str, int]) -> None:
    assert periods(parse_method(name), tiers) == expected


@pytest.mark.parametrize(
    "name", ["", "Star", "hf-fm", "hf-fm-", "hf-fm-0", "hf-fm-02", "hf-fm--1", "hf-fm-2.5", "edge"]
)
def test_other_names_are_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(ValueError, match="hf-fm-"):
        parse_method(name)
