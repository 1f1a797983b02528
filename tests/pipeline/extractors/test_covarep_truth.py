"""Signals whose answer is known: pitch of glides, Rd of LF pulses, breathy against modal."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from support.spoken import glide, lf_pulses, vowel

from affectflow.pipeline.extractors.covarep import glottal_shape
from affectflow.pipeline.extractors.covarep.analysis import Settings, analyse
from affectflow.pipeline.extractors.covarep.columns import NAMES


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, NAMES.index(name)]


@pytest.mark.parametrize("f0", [70, 110, 200, 333])
def test_pitch_of_tones(f0: int) -> None:
    features = analyse(glide(1.5, f0, f0), Settings()).features
    middle = column(features, "F0")[10:-10]
    assert (column(features, "VUV")[10:-10] == 1).all()
    assert np.abs(middle - f0).max() <= 0.5


@pytest.mark.parametrize(
    ("low", "high", "seconds"), [(100, 160, 6), (200, 120, 6), (90, 240, 10), (300, 250, 6)]
)
def test_pitch_of_a_glide(low: float, high: float, seconds: float) -> None:
    features = analyse(glide(seconds, low, high), Settings()).features
    at = (79 + 160 * np.arange(len(features))) / 16000
    error = (column(features, "F0") - (low + (high - low) * at / seconds))[10:-10]
    assert (column(features, "VUV")[10:-10] == 1).all()
    assert np.median(np.abs(error)) <= 0.5
    assert abs(np.mean(error)) <= 0.5
    # Candidates are whole hertz, and the bins kept from the original shift them up by some 0.3 Hz:
    # a single row may be off by half a step beyond that.
    assert error.min() >= -0.5
    assert error.max() <= 0.5 + 0.4
    assert (np.abs(error) <= 0.5).mean() >= 0.7


@pytest.mark.parametrize("rd", [0.5, 0.8, 1.0, 1.4, 1.8, 2.2])
def test_rd_of_lf_pulses(rd: float) -> None:
    found = analyse(lf_pulses(1.0, 120.0, rd), Settings())
    assert np.median(column(found.features, "Rd")[10:-10]) == pytest.approx(rd, abs=0.05)


@pytest.mark.parametrize("rd", [0.4, 1.0, 2.0])
def test_the_lf_model_has_its_shape(rd: float) -> None:
    spectrum = glottal_shape.lf_spectrum(np.array([rd]), np.arange(400))[0]
    assert abs(spectrum[0]) < 1e-12
    time = np.arange(4000) / 4000
    waves = np.exp(2j * np.pi * np.outer(np.arange(400), time))
    wave = 2 * np.real(spectrum @ waves)
    _, te, _ = (float(part[0]) for part in glottal_shape.lf_timing(np.array([rd])))
    # The steepest fall is at the closure, where the derivative is -1.
    assert time[wave.argmin()] == pytest.approx(te, abs=0.005)
    assert wave.min() == pytest.approx(-1.0, abs=0.12)


def test_breathy_is_above_modal() -> None:
    modal = analyse(vowel(1.5, 120, 0.9), Settings()).features
    breathy = analyse(vowel(1.5, 120, 2.2), Settings()).features
    for name in ("NAQ", "QOQ", "H1H2", "PSP", "MDQ", "Rd"):
        low = np.median(column(modal, name)[15:-15])
        high = np.median(column(breathy, name)[15:-15])
        assert high > low, name
