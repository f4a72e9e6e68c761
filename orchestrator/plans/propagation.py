"""What a radio link adds to path loss, in draws that depend on the seed and the two ends alone; and what it shares.

Shadowing: log-normal, so normal in dB (3GPP TR 38.901, clause 7.4.1: 4 to 8 dB in cities). Fading: the power of a
channel of unit mean power; Rayleigh without a line of sight, Rician with one K times as strong as all other paths
(3GPP TR 38.901, table 7.5-6: K of 9 dB on average in urban macro cells with line of sight).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import sqrt
from typing import Literal

import numpy as np

from node.plan import LinkKind
from node.randomness import generator
from orchestrator.plans.channel import Radio

_DRAWS_KEPT = 1 << 14  # those of a round: who shares a server looks at all that send to it
_MOST_STEPS = 200
_TINY = 1e-5  # below it, h(x) is x / 2 as far as a double can tell
Fading = Literal["drawn", "none", "rayleigh", "rician"]


@lru_cache(_DRAWS_KEPT)
def shadowing_gain(seed: int, a: str, b: str, deviation_db: float, block: int = 0) -> float:
    """The same both ways: what stands between two nodes stands between them either way."""
    if deviation_db == 0:
        return 1.0
    loss_db = float(_draws(seed, a, b, "shadowing", block).normal(0, deviation_db))
    return float(10 ** (-loss_db / 10))


@lru_cache(_DRAWS_KEPT)
def fading_gain(seed: int, a: str, b: str, kind: Fading, k_db: float, block: int = 0) -> float:
    """Power of one draw, of mean 1. The same both ways: the channel is reciprocal."""
    if kind == "none":
        return 1.0
    k = 10 ** (k_db / 10) if kind == "rician" else 0.0
    real, imaginary = _draws(seed, a, b, "fading", block).standard_normal(2) * sqrt(0.5 / (k + 1))
    return float((sqrt(k / (k + 1)) + real) ** 2 + imaginary**2)


def _draws(seed: int, a: str, b: str, what: str, block: int) -> np.random.Generator:
    """`block`: counts the draws of one link over the rounds."""
    return generator(seed, *sorted((a, b)), what, *([block] if block else []))


def with_share(radio: Radio, kind: LinkKind, share: float) -> Radio:
    """The radio with this part of an edge server's bandwidth. A device puts all of its power into its part; a
    server divides its power as well."""
    own = replace(radio, bandwidth_hz=share * radio.bandwidth_hz)
    if kind is LinkKind.UPLINK:
        return own
    return replace(own, transmit_w=share * radio.transmit_w, power_w=share * radio.power_w)


@lru_cache(_DRAWS_KEPT)
def proportional_shares(snr_hz: tuple[float, ...], bandwidth_hz: float) -> tuple[float, ...]:
    """Parts of a bandwidth, one per device, that are proportionally fair: they maximize the sum of the logarithms
    of the rates (Kelly, Maulloo and Tan, "Rate control for communication networks: shadow prices, proportional
    fairness and stability", Journal of the Operational Research Society 49, 1998).

    snr_hz: received power over noise density, of devices that put all of their power into their parts. With
    b log(1 + c / b) for the rate of a part b, the sum is largest where b / h(c / b) is the same for all, with
    h(x) = 1 - x / ((1 + x) log(1 + x)). (A server's power goes with its parts; there, even parts are fair.)
    """
    c = np.array(snr_hz) / bandwidth_hz
    b = np.full(len(c), 1 / len(c))
    for _ in range(_MOST_STEPS):
        x = c / b
        wanted = np.where(x < _TINY, x / 2, 1 - x / ((1 + x) * np.log1p(x)))
        now = np.sqrt(
            b * wanted / wanted.sum()
        )  # half way on a logarithmic scale: else small x swing for ever
        now /= now.sum()
        if np.allclose(now, b, rtol=1e-12, atol=0):
            break
        b = now
    return tuple(map(float, b))
