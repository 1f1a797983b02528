"""Signals whose answer is known: pitch of glides, Rd of LF pulses, breathy against modal."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from support.spoken import glide, lf_glide, lf_pulses, vowel

from affectflow.pipeline.extractors.covarep import glottal_shape
from affectflow.pipeline.extractors.covarep.analysis import Settings, analyse
from affectflow.pipeline.extractors.covarep.columns import NAMES


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, NAMES.index(name)]


def assert_pitch_is(samples: np.ndarray, truth: np.ndarray) -> None:
    """Every row but those at the edges is voiced and within 0.5 Hz of the truth ``(L,)``."""
    features = analyse(samples, Settings()).features
    error = column(features, "F0") - truth[79 : 79 + 160 * len(features) : 160]
    assert (column(features, "VUV")[10:-10] == 1).all()
    assert np.abs(error[10:-10]).max() <= 0.5


TONES = [71.7, 98.45, 110, 143.9, 200, 226.6, 341.2, 417.77, 494.6]


@pytest.mark.parametrize("f0", TONES)
def test_pitch_of_tones(f0: float) -> None:
    assert_pitch_is(glide(1.0, f0, f0), np.full(16_000, f0))
    assert_pitch_is(lf_glide(1.0, f0, f0, 1.0), np.full(16_000, f0))


def bare_tone(f0: float, number: int) -> np.ndarray:
    """Return harmonics of amplitude 1/k without any noise."""
    phase = 2 * np.pi * f0 * np.arange(16_000) / 16_000
    return 0.1 * sum(np.sin(k * phase) / k for k in range(1, number + 1))


def clicks(f0: float) -> np.ndarray:
    """Return single samples at the period."""
    signal = np.zeros(16_000)
    signal[np.round(np.arange(0, 15_999, 16_000 / f0)).astype(int)] = 0.5
    return signal


@pytest.mark.parametrize("f0", [70, 97.4, 113.3, 120, 150])
def test_steady_voices_are_not_taken_for_odd_multiples_of_their_pitch(f0: float) -> None:
    # The residual has equal harmonics, so that the summation hardly tells f0 from 3 f0.
    assert_pitch_is(bare_tone(f0, 20), np.full(16_000, f0))
    assert_pitch_is(lf_pulses(1.0, f0, 2.2), np.full(16_000, f0))


@pytest.mark.parametrize("f0", [80, 125, 160])
def test_pitch_of_clicks(f0: float) -> None:
    assert_pitch_is(clicks(f0), np.full(16_000, f0))


# Within an octave on either side of the recording's median, where the second pass looks.
GLIDES = [
    (60, 80, 2),
    (100, 160, 3),
    (160, 100, 3),
    (240, 110, 2),
    (100, 180, 0.8),
    (200, 350, 1),
    (350, 200, 1),
    (300, 480, 2),
    (300, 250, 3),
    (220, 420, 1.34),
]


@pytest.mark.parametrize(("low", "high", "seconds"), GLIDES)
def test_pitch_of_a_glide(low: float, high: float, seconds: float) -> None:
    truth = np.linspace(low, high, int(seconds * 16_000))
    assert_pitch_is(glide(seconds, low, high), truth)
    assert_pitch_is(lf_glide(seconds, low, high, 1.0), truth)


def test_the_delivered_pitch_stays_clearly_within_half_a_hertz_of_the_choice() -> None:
    samples = np.concatenate([vowel(0.5, 123.4, 1.0), np.zeros(4000), glide(1.0, 190, 260)])
    samples += 0.002 * np.random.default_rng(1).standard_normal(len(samples))
    found, strict = (
        analyse(samples, Settings(strict=mode), keep_stages=True).stages for mode in (False, True)
    )
    moved = found["f0"] - found["srh_f0"]
    assert np.abs(moved).max() == 7 / 16
    assert (moved[~found["srh_vuv"]] == 0).all()
    assert (moved[found["srh_vuv"]] != 0).any()
    np.testing.assert_array_equal(strict["f0"], strict["srh_f0"])
    np.testing.assert_array_equal(found["srh_vuv"], strict["srh_vuv"])


@pytest.mark.parametrize("rd", [0.5, 0.8, 1.0, 1.4, 1.8, 2.2])
@pytest.mark.parametrize("f0", [70.0, 97.4, 120.0, 213.6])
def test_rd_of_lf_pulses(rd: float, f0: float) -> None:
    found = analyse(lf_pulses(0.7, f0, rd), Settings())
    assert np.abs(column(found.features, "Rd")[10:-10] - rd).max() <= 0.05


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
