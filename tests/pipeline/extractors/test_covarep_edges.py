"""Recordings that are no ordinary speech: always finite, always all rows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.spoken import glide

from affectflow.pipeline.extractors.covarep import harmonics, residual, wavelets
from affectflow.pipeline.extractors.covarep.analysis import Analysis, Settings, analyse
from affectflow.pipeline.extractors.covarep.columns import GROUPS, num_frames

MODES = [Settings(), Settings(strict=True, rd_version="1.4.2")]


def check(found: Analysis, length: int) -> None:
    assert found.features.shape == (num_frames(length), 74)
    assert found.features.dtype == np.float32
    assert found.valid.shape == (num_frames(length), len(GROUPS))
    assert np.isfinite(found.features).all()


def shapes() -> dict[str, np.ndarray]:
    voice = glide(2.0, 110, 180)
    generator = np.random.default_rng(5)
    gap = voice.copy()
    gap[8000:16000] = 0.0
    return {
        "silence": np.zeros(32000),
        "noise": 0.1 * generator.standard_normal(32000),
        "ten milliseconds": voice[:160],
        "0.3 s": voice[:4800],
        "one sample": np.ones(1),
        "79 samples": voice[:79],
        "clipped": np.clip(8 * voice, -1, 1),
        "inverted": -voice,
        "gap": gap,
        "constant": np.full(32000, 0.25),
        "beyond full scale": 40 * voice,
        "one click": np.eye(1, 16000, 8000)[0],
        "quiet": 1e-6 * voice,
        "denormal": 1e-310 * voice,
        "square": np.sign(np.sin(2 * np.pi * 100 * np.arange(16000) / 16000)),
    }


@pytest.mark.parametrize("name", sorted(shapes()))
def test_the_default_is_finite_with_all_rows(name: str) -> None:
    signal = shapes()[name]
    check(analyse(signal, Settings()), len(signal))


@pytest.mark.parametrize("name", sorted(shapes()))
def test_strict_mode_is_finite_with_all_rows_too(name: str) -> None:
    signal = shapes()[name]
    check(analyse(signal, MODES[1]), len(signal))


def test_empty_recording_has_no_rows() -> None:
    assert analyse(np.zeros(0), Settings()).features.shape == (0, 74)


def test_silence_is_all_zero_where_nothing_was_measured() -> None:
    found = analyse(np.zeros(32000), Settings())
    assert found.polarity == 0
    assert np.isnan(found.median_f0)
    assert (found.features[:, :7] == 0).all()
    assert (found.features[:, 8:11] == 0).all()


@pytest.mark.parametrize("mode", MODES, ids=["default", "strict"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(0, 12000),
    scale=st.floats(1e-12, 1e3),
    smooth=st.integers(0, 3),
    zeros=st.floats(0, 0.9),
)
def test_random_signals_are_finite(
    mode: Settings, seed: int, length: int, scale: float, smooth: int, zeros: float
) -> None:
    generator = np.random.default_rng(seed)
    signal = generator.standard_normal(length)
    for _ in range(smooth):
        signal = (
            np.cumsum(signal - 0.01 * np.cumsum(signal))
            if length < 2000
            else np.sin(np.cumsum(0.05 * (2 + signal)))
        )
    peak = np.abs(signal).max(initial=0)
    signal = scale * signal / peak if peak > 0 and np.isfinite(peak) else np.zeros(length)
    start = int(length * (1 - zeros) / 2)
    signal[start : start + int(length * zeros)] = 0.0
    check(analyse(signal, mode), length)


@pytest.mark.parametrize("mode", MODES, ids=["default", "strict"])
def test_the_same_bytes_in_memory_and_on_disk(mode: Settings) -> None:
    signal = glide(3.0, 90, 240)
    signal[20000:26000] = 1e-4 * np.random.default_rng(1).standard_normal(6000)
    one, other = analyse(signal, mode), analyse(signal, mode, on_disk=True)
    assert one.features.tobytes() == other.features.tobytes()
    assert one.valid.tobytes() == other.valid.tobytes()


def test_the_input_is_left_as_it_is() -> None:
    signal = glide(0.5, 120, 120)
    before = signal.copy()
    analyse(signal, Settings())
    np.testing.assert_array_equal(signal, before)


def test_creak_can_be_left_out() -> None:
    signal = glide(1.0, 120, 120)
    assert (analyse(signal, Settings(creak="zeros")).features[:, 10] == 0).all()
    assert (analyse(signal, Settings()).features[:, 10] > 0).any()


@pytest.mark.parametrize("strict", [False, True])
def test_what_follows_zeros_alone_has_a_residual_of_zero(
    strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks end within a run of zeros.
    monkeypatch.setattr(residual, "SAMPLES", 700)
    signal = np.random.default_rng(3).standard_normal(6000)
    for first, last in ((0, 50), (690, 740), (2000, 2300), (4000, 4010)):
        signal[first:last] = 0.0
    for order, found in zip(
        (12, 18), residual.residuals(signal, (12, 18), strict=strict), strict=True
    ):
        heard = [signal[max(0, n - order) : n + 1].any() for n in range(5900)]
        np.testing.assert_array_equal(found[:5900] != 0, heard)


def test_of_a_window_longer_than_the_transform_the_first_part_is_used() -> None:
    signal = np.random.default_rng(4).standard_normal(60_000)
    centre, half = 32_800, 24_000
    window = np.blackman(2 * half + 1)
    part = (signal[centre - half :][: 2 * half + 1] * window / window.sum())[:4096]
    found = harmonics._spectra(signal, np.array([centre]), np.array([half]))[0]
    # Phases refer to the centre all the same.
    turn = np.exp(2j * np.pi * np.arange(2049) * half / 4096)
    np.testing.assert_allclose(found, np.fft.rfft(part) * turn, atol=1e-9 * np.abs(found).max())


def test_bands_are_zero_where_the_wavelet_meets_zeros_alone() -> None:
    signal = np.random.default_rng(6).standard_normal(20_000)
    signal[5000:9000] = 0.0
    slope = wavelets.peak_slope(signal, strict=True)
    centres = 320 + 160 * np.arange(len(slope))
    within = (centres - 320 > 5000 + 1000) & (centres + 320 < 9000 - 1000)
    beside = (centres + 320 < 5000) | (centres - 320 > 9000)
    assert within.any()
    assert np.isnan(slope[within]).all()
    assert np.isfinite(slope[beside]).all()
    assert np.isfinite(wavelets.peak_slope(signal, strict=False)).all()
