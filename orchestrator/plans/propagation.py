"""What a radio link adds to path loss, and what it shares: draws that depend on the seed and the two ends alone.

Shadowing: log-normal, so normal in dB (3GPP TR 38.901, clause 7.4.1: 4 to 8 dB in cities). Fading: the power of a
channel of unit mean power; Rayleigh without a line of sight, Rician with one K times as strong as all other paths
(3GPP TR 38.901, table 7.5-6: K of 9 dB on average in urban macro cells with line of sight).
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Literal

from node.plan import LinkKind
from node.randomness import generator
from orchestrator.plans.channel import Radio

Fading = Literal["drawn", "none", "rayleigh", "rician"]


def shadowing_gain(seed: int, a: str, b: str, deviation_db: float) -> float:
    """The same both ways: what stands between two nodes stands between them either way."""
    if deviation_db == 0:
        return 1.0
    loss_db = float(generator(seed, *sorted((a, b)), "shadowing").normal(0, deviation_db))
    return float(10 ** (-loss_db / 10))


def fading_gain(seed: int, a: str, b: str, kind: Fading, k_db: float) -> float:
    """Power of one draw, of mean 1. The same both ways: the channel is reciprocal."""
    if kind == "none":
        return 1.0
    k = 10 ** (k_db / 10) if kind == "rician" else 0.0
    real, imaginary = generator(seed, *sorted((a, b)), "fading").standard_normal(2) * sqrt(0.5 / (k + 1))
    return float((sqrt(k / (k + 1)) + real) ** 2 + imaginary**2)


def shared(radio: Radio, kind: LinkKind, devices: int) -> Radio:
    """The radio with its part of an edge server's bandwidth, divided evenly among its devices at all times.

    A device puts all of its power into its part; a server divides its power as well.
    """
    if kind is LinkKind.D2D or devices == 0:
        return radio
    own = replace(radio, bandwidth_hz=radio.bandwidth_hz / devices)
    if kind is LinkKind.UPLINK:
        return own
    return replace(own, transmit_w=radio.transmit_w / devices, power_w=radio.power_w / devices)
