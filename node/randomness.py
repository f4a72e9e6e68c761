"""Named generators: the same names give the same numbers, on any machine and in any order of use."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(seed: int, *names: str | int) -> int:
    """A 128-bit seed for the purpose that `names` spell out, such as (node, round, purpose)."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator of its own for the purpose that `names` spell out."""
    return np.random.default_rng(seed_of(seed, *names))
