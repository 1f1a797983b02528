"""Long gaps: the first period after one is as long as the gap, which must not cost memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("scipy")

from support.spoken import glide

from affectflow.pipeline.extractors.covarep import closure, glottal_flow, pulses, wavelets
from affectflow.pipeline.extractors.covarep.analysis import Settings, analyse

MIB = 2**20


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_long_segment_in_parts_is_what_it_is_at_once(
    on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = np.concatenate([0.01 * noise(9000), glide(0.5, 110, 140), 0.01 * noise(3000, 1)])
    steps = np.arange(1, len(signal) + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * steps / (len(signal) + 1))
    at_once = glottal_flow.iaif((signal * window)[None, :], window[None, :])
    # Parts of a thousand samples, of which the last is not full.
    monkeypatch.setattr(glottal_flow, "SAMPLES", 1000)
    in_parts = np.zeros((2, len(signal)))
    glottal_flow._LongSegment(signal, on_disk).add_to(in_parts[0], in_parts[1])
    for wanted, found in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(found, wanted[0], atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("strict", [False, True])
def test_far_maxima_are_found_in_parts(strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    residual = noise(100_000)
    # The fourth lies 40000 samples after the one before it.
    instants = np.array([1000, 1100, 1203, 41_203, 41_330, 41_450])
    found = {}
    for longest in (10**6, 2048, 0):
        monkeypatch.setattr(wavelets, "_LONGEST", longest)
        found[longest] = wavelets.dispersion(residual, instants, strict=strict)
    assert found[10**6][3] > 0
    for longest in (2048, 0):
        np.testing.assert_allclose(found[longest], found[10**6], rtol=1e-12)


def test_the_strongest_residual_of_a_long_range(monkeypatch: pytest.MonkeyPatch) -> None:
    residual = noise(9000)
    residual[::7] = np.nan
    residual[2000:2004] = residual[1500] = 9.0
    residual[4000:4100] = np.nan
    low = np.array([0, 100, 1400, 1990, 4010, 5000, 8990])
    high = np.array([90, 1400, 8000, 2010, 4050, 5000, 8999])
    at_once = closure._strongest(residual, low, high)
    assert at_once[2:5].tolist() == [1500, 2000, 4010]
    monkeypatch.setattr(closure, "SAMPLES", 300)
    monkeypatch.setattr(closure, "_LONGEST", 0)
    np.testing.assert_array_equal(closure._strongest(residual, low, high), at_once)


def test_a_long_first_pulse_is_a_batch_of_its_own() -> None:
    widths = np.array([90, 400_000, 80, 800, 100])
    batches = [batch.tolist() for batch in pulses._similar(np.arange(10, 15), widths)]
    assert batches == [[12, 10, 14, 13], [11]]


@pytest.mark.slow
def test_memory_does_not_grow_with_a_gap() -> None:
    voice = glide(1.0, 110, 140)
    gap = np.zeros(25 * 16_000)
    # The first period after the gap must lie within the recording to be measured.
    signal = np.concatenate([gap[:16_000], voice, gap, np.tile(voice, 30)])
    tracemalloc.start()
    try:
        found = analyse(signal, Settings(), on_disk=True, keep_stages=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.diff(found.stages["gci_sample0"]).max() > 24 * 16_000
    assert np.isfinite(found.features).all()
    assert peak < 150 * MIB
