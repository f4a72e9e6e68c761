"""What an accelerometer worn at the hip might say: 96 steps of three axes, in units of gravity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from node.model.example import Example

STEPS = 96
RATE_HZ = 20.0

Series = NDArray[np.float32]

# Activity: steps per second, swing up and sideways, share of the second harmonic; drawn about these.
_GAITS: dict[str, tuple[float, float, float, float]] = {
    "walking": (1.8, 0.35, 0.15, 0.3),
    "running": (2.8, 1.1, 0.3, 0.4),
    "cycling": (1.3, 0.12, 0.25, 0.1),
    "climbing": (1.5, 0.3, 0.12, 0.8),
}
ACTIVITIES = (*_GAITS, "resting", "falling")


def record(activity: str, rng: np.random.Generator) -> Example:
    """The sensor sits at any angle about the vertical, and trembles."""
    time_T = np.arange(STEPS) / RATE_HZ
    if activity in _GAITS:
        up_T, side_T = _gait(_GAITS[activity], time_T, rng)
    elif activity == "falling":
        up_T, side_T = _fall(time_T, rng)
    else:
        up_T, side_T = np.zeros(STEPS), np.zeros(STEPS)
    angle = rng.uniform(0, 2 * np.pi)
    axes = np.stack([1 + up_T, side_T * np.cos(angle), side_T * np.sin(angle)], axis=1)
    noise = rng.normal(0, rng.uniform(0.02, 0.08), axes.shape)
    return Example(series=(axes + noise).astype(np.float32))


def _gait(
    gait: tuple[float, float, float, float], time_T: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rate_hz, up, side, second = np.array(gait) * rng.normal(1, 0.12, 4)
    phase = 2 * np.pi * (rate_hz * time_T + rng.random())
    return up * (np.sin(phase) + second * np.sin(2 * phase + 1)), side * np.sin(phase / 2)


def _fall(
    time_T: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weightless for a moment, then a blow, then lying on the side."""
    start = rng.uniform(0.8, 3.2)
    falls = (time_T >= start) & (time_T < start + 0.4)
    after = time_T - start - 0.4
    blow = np.where(after >= 0, rng.uniform(1.5, 3) * np.exp(-np.maximum(after, 0) / 0.12), 0)
    lies = np.where(after >= 0, -1.0, 0.0)
    return np.where(falls, -1.0, lies + blow), np.where(after >= 0, 1 + blow / 2, 0)
