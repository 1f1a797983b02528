"""Creaky voice as the product's own quantity `h2h1-v1`, between 0 and 1.

The cue is that of Drugman, Kane, Gobl, Resonator-based creaky voice detection, Interspeech 2012: in
creaky voice the second harmonic of a resonator's output is stronger than the first. It is not the
posterior of the published network and is not comparable with it column for column.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from .blocks import SAMPLES, allocate, gather, release, spans
from .columns import FIRST, HOP, RATE, num_frames, round_away

Signal = NDArray[np.float64]

KIND = "h2h1-v1"
_WIDE = 0.97
_NARROW = 0.8
_SEGMENT = 800
_LAST_LAG = 699
_FIRST_LAG = 20
_SMOOTHING = 9
_THRESHOLD_DB = 1.0
_SLOPE_DB = 1.5
_RANGE_DB = 50.0
_ENERGY_WINDOW = 512
_BATCH = 256
_PART = 32


def creakiness(
    signal: Signal, residual: Signal, median_f0: float, *, on_disk: bool = False
) -> Signal:
    """Return the probability-like value per frame, ``(N,)`` in [0, 1].

    Args:
        signal: ``(L,)``.
        residual: Its residual of order 18; NaN counts as 0.
        median_f0: Median pitch in Hz; NaN when no frame is voiced, then all is 0.
        on_disk: Where temporary arrays lie.
    """
    count = num_frames(len(signal))
    if not np.isfinite(median_f0) or count == 0:
        return np.zeros(count)
    wide = _resonate(residual, median_f0, _WIDE, on_disk)
    narrow = _resonate(residual, median_f0, _NARROW, on_disk)
    ratio, energy = np.zeros(count), np.zeros(count)
    centres = FIRST - 1 + HOP * np.arange(count)
    for low, high in spans(count, _BATCH):
        batch = centres[low:high]
        frequency = _repetition(gather(narrow, batch - _SEGMENT // 2, _SEGMENT))
        ratio[low:high] = _second_over_first(
            gather(wide, batch - _SEGMENT // 2, _SEGMENT), frequency
        )
        rows = gather(signal, batch - _ENERGY_WINDOW // 2, _ENERGY_WINDOW)
        energy[low:high] = np.einsum("bn,bn->b", rows, rows)
        release(wide, narrow, signal)
    smooth = np.convolve(ratio, np.full(_SMOOTHING, 1 / _SMOOTHING), mode="same")[:count]
    if count < _SMOOTHING:
        smooth = np.convolve(np.pad(ratio, _SMOOTHING), np.full(_SMOOTHING, 1 / _SMOOTHING))
        smooth = smooth[_SMOOTHING + _SMOOTHING // 2 :][:count]
    value = 1 / (1 + np.exp(-np.clip((smooth - _THRESHOLD_DB) / _SLOPE_DB, -60, 60)))
    loud = energy > energy.max() * 10 ** (-_RANGE_DB / 10)
    return np.where(loud, value, 0.0)


def _resonate(residual: Signal, f0: float, radius: float, on_disk: bool) -> Signal:
    angle = 2 * np.pi * f0 / RATE
    denominator = [1.0, -2 * radius * np.cos(angle), radius**2]
    result, state = allocate(len(residual), on_disk), np.zeros(2)
    for start, stop in spans(len(residual), SAMPLES):
        result[start:stop], state = scipy.signal.lfilter(
            [1.0], denominator, np.nan_to_num(residual[start:stop]), zi=state
        )
        release(result, residual)
    return result


def _window() -> Signal:
    return np.asarray(scipy.signal.windows.hann(_SEGMENT))


def _repetition(segments: Signal) -> Signal:
    """Return the repetition frequency ``(B,)`` in Hz by autocorrelation, 100 where none."""
    spectrum = scipy.fft.rfft(segments * _window(), 1600, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    lags = np.arange(_LAST_LAG + 1)
    correlation = scipy.fft.irfft(power, 1600, axis=1)[:, : _LAST_LAG + 1]
    correlation *= _SEGMENT / (_SEGMENT - lags)
    below = correlation <= 0
    first = below.argmax(axis=1)
    later = below.any(axis=1)[:, None] & (lags >= first[:, None])
    best = np.where(later, correlation, -np.inf).argmax(axis=1)
    frequency = RATE / np.maximum(best, _FIRST_LAG)
    return np.where(below.any(axis=1), frequency, 100.0)


def _second_over_first(segments: Signal, frequency: Signal) -> Signal:
    """Return 20 log10 U(2f) / U(f) at the nearest hertz, ``(B,)``."""
    windowed = segments * _window()
    first = round_away(frequency)
    second = round_away(2 * frequency)
    level = [_level(windowed, hertz) for hertz in (first, second)]
    return level[1] - level[0]


def _level(windowed: Signal, hertz: NDArray[np.int64]) -> Signal:
    """Return the level in dB of one 1 Hz bin per row, ``(B,)``."""
    # The sum over 800 samples is done in 25 parts of 32, so that few exponentials are needed.
    parts = windowed.reshape(len(windowed), -1, _PART)
    turn = -2j * np.pi * hertz[:, None] / RATE
    inner = np.exp(turn * np.arange(_PART))
    outer = np.exp(turn * _PART * np.arange(parts.shape[1]))
    sums = np.matmul(parts, np.stack([inner.real, inner.imag], axis=-1))
    total = ((sums[..., 0] + 1j * sums[..., 1]) * outer).sum(axis=1)
    return np.asarray(20 * np.log10(np.maximum(np.abs(total), 1e-12)))
