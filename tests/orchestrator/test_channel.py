"""Channel models: the published slip of 30 dB, and rates that behave."""

from __future__ import annotations

from math import log2, log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.plan import LinkKind
from orchestrator.plans.channel import MODELS, PHYSICAL, PUBLISHED, path_gain, rate_bps


def test_the_published_formula_in_its_own_units() -> None:
    """kbit/s from B in kHz, powers in mW, noise 10^(-17.4) mW: the released code of arXiv 2509.03695."""
    metres, fading = 157.2, 0.83
    gain = fading * 10 ** ((-30 - 30 * log10(metres)) / 10)
    for kind, transmit_mw, khz in ((LinkKind.UPLINK, 1000, 1000), (LinkKind.D2D, 200, 8000)):
        kbps = khz * log2(1 + transmit_mw * gain / (10**-17.4 * khz))
        assert rate_bps(PUBLISHED, PUBLISHED.radios[kind], metres, fading) == pytest.approx(
            1e3 * kbps, rel=1e-12
        )


def test_the_physical_noise_is_30_db_higher() -> None:
    assert PHYSICAL.noise_dbm_per_hz - PUBLISHED.noise_dbm_per_hz == 30


@given(st.sampled_from(sorted(MODELS)), st.floats(1, 5000), st.floats(0.01, 10))
def test_nearer_and_less_faded_is_faster(name: str, metres: float, fading: float) -> None:
    model = MODELS[name]
    for radio in model.radios.values():
        here = rate_bps(model, radio, metres, fading)
        assert rate_bps(model, radio, metres * 2, fading) < here < rate_bps(model, radio, metres, fading * 2)


def test_nothing_is_gained_within_a_metre() -> None:
    assert path_gain(PHYSICAL, 0.0, 1.0) == path_gain(PHYSICAL, 1.0, 1.0) == pytest.approx(1e-3)
