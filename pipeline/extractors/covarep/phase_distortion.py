"""Mean and deviation of the phase distortion of harmonics (HMPD).

Degottex and Erro, A uniform phase representation for the harmonic model in speech synthesis
applications, EURASIP JASMP 2014. ``T`` frames, ``K`` = 513 bins of 15.625 Hz, ``H`` harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from .blocks import allocate, release, spans
from .cepstra import mel_cepstrum, minimum_phase
from .columns import RATE
from .harmonics import Frames

Signal = NDArray[np.float64]
Distortion = NDArray[np.float32]
Real = NDArray[Any]

BINS = 513
_SPACING = RATE / 2 / (BINS - 1)
# First bin of each of the 25 bands of the mean; the last ends with bin 511.
_BANDS = (
    *range(8),
    *(8, 10, 13, 17, 22, 28, 36, 46, 58, 72, 89, 110, 135, 166, 207, 264, 358),
)
_LAST_BIN = 512
_DEVIATION_ORDER = 12
_BLOCK = 384


@dataclass(frozen=True, slots=True)
class Windows:
    """Lengths of the averages in frames of 10 ms, all odd.

    Attributes:
        mean: Of the phase distortion's mean.
        median, trend: Of the median and of the Hann window that make the trend.
        deviation: Of the deviation around the trend.
    """

    mean: int = 25
    median: int = 9
    trend: int = 9
    deviation: int = 9

    @property
    def reach(self) -> int:
        """Frames to either side that a frame's result depends on."""
        around_trend = self.median // 2 + self.trend + self.deviation
        return max(self.mean, around_trend)


def distortion(frames: Frames, generator: np.random.Generator | None) -> Real:
    """Return the phase distortion of frames over frequency, ``(B, K)`` radians in [-pi, pi].

    Args:
        frames: Harmonics.
        generator: Fills harmonics that a frame lacks with uniform random phases, as the original
            does; without one they are NaN.
    """
    f0, count = frames.f0, frames.count
    phase = _source_phase(frames)
    # Bin frequencies in harmonics.
    place = np.arange(BINS) * _SPACING / f0[:, None]
    number = int(max(np.ceil(place[:, -1].max()), count.max())) + 2
    points = np.zeros((len(f0), number))
    # Entry h holds the distortion between harmonics h and h - 1; entries 0 and 1 are 0.
    width = phase.shape[1]
    points[:, 2:width] = phase[:, 2:] - phase[:, 1:-1] - phase[:, 1:2]
    missing = np.arange(number) > count[:, None]
    points[missing] = np.nan
    if generator is not None:
        drawn = generator.uniform(-np.pi, np.pi, points.shape)
        points = np.where(missing, drawn, points)
    low = np.maximum(np.floor(place).astype(np.int64), 1)
    share = place - low
    # Between 0.95 and 2 times F0 the line begins at 0.95.
    share = np.where(low == 1, np.maximum(place - 0.95, 0.0) / 1.05, share)
    first = np.take_along_axis(points, low, axis=1)
    turn = np.take_along_axis(points, low + 1, axis=1) - first
    turn -= 2 * np.pi * np.round(turn / (2 * np.pi))
    # A bin at a harmonic needs nothing beyond it.
    value = first + np.where(share > 0, share * turn, 0.0)
    value -= 2 * np.pi * np.round(value / (2 * np.pi))
    return value.astype(np.float32)


def _source_phase(frames: Frames) -> Signal:
    """Return phases of harmonics without those of the minimum-phase envelope, ``(B, 1 + H)``."""
    count = frames.count[:, None]
    f0 = np.where(frames.spacing > 0, frames.spacing, frames.f0)
    place = np.arange(BINS) * _SPACING / f0[:, None]
    held = np.clip(place, 1.0, count)
    low = np.minimum(np.floor(held).astype(np.int64), np.maximum(count - 1, 1))
    first = np.take_along_axis(frames.log_amplitude, low, axis=1)
    second = np.take_along_axis(frames.log_amplitude, np.minimum(low + 1, count), axis=1)
    envelope_phase = minimum_phase(first + (held - low) * (second - first))
    harmonic = np.arange(frames.phase.shape[1])
    at = harmonic * f0[:, None] / _SPACING
    bins = np.clip(np.floor(at).astype(np.int64), 0, BINS - 2)
    share = np.clip(at - bins, 0.0, 1.0)
    before = np.take_along_axis(envelope_phase, bins, axis=1)
    after = np.take_along_axis(envelope_phase, bins + 1, axis=1)
    phase = frames.phase - (before + share * (after - before))
    phase[:, 0] = 0.0
    return phase - 2 * np.pi * np.round(phase / (2 * np.pi))


def statistics(
    distortions: Real, windows: Windows, *, strict: bool, on_disk: bool = False
) -> tuple[Signal, Signal]:
    """Return means ``(T, 25)`` in radians and mel cepstra of deviations ``(T, 13)``.

    Args:
        distortions: ``(T, K)``, NaN where a frame has no harmonic.
        windows: Lengths of the averages.
        strict: Round as the original does.
        on_disk: Where the results lie.
    """
    count = len(distortions)
    means = allocate((count, len(_BANDS)), on_disk)
    deviations = allocate((count, _DEVIATION_ORDER + 1), on_disk)
    for start, stop in spans(count, _BLOCK):
        low, high = max(0, start - windows.reach), min(count, stop + windows.reach)
        part = np.asarray(distortions[low:high])
        own = slice(start - low, stop - low)
        mean, deviation = (_strict_block if strict else _block)(part, windows)
        means[start:stop] = _banded(mean[own])
        deviations[start:stop] = _deviation_cepstrum(deviation[own])
        release(distortions, means, deviations)
    return means, deviations


def _banded(mean: NDArray[Any]) -> Signal:
    """Return the angle of unit vectors ``(T, K)`` summed over bands, ``(T, 25)``."""
    modulus = np.abs(mean)
    unit = np.divide(mean, modulus, out=np.zeros_like(mean), where=modulus > 0)
    return np.asarray(np.angle(np.add.reduceat(unit[:, :_LAST_BIN], _BANDS, axis=1)), np.float64)


def _deviation_cepstrum(deviation: Real) -> Signal:
    filled = np.array(deviation)
    filled[:, 0] = filled[:, 1]
    filled[filled <= 0] = 0.001
    return mel_cepstrum(filled, _DEVIATION_ORDER)


def _twice(values: Real, kernel: Signal) -> Real:
    """Return values ``(T, K)`` filtered along time, forwards and backwards, as the original."""
    pad = min(3 * (len(kernel) - 1), len(values) - 1)
    if pad < 1:
        return values
    return np.asarray(
        scipy.signal.filtfilt(kernel, [1.0], values, axis=0, padtype="odd", padlen=pad)
    )


def _strict_block(part: Real, windows: Windows) -> tuple[Real, Real]:
    part = part.astype(np.float64)
    cosine, sine = np.cos(part), np.sin(part)
    box = np.full(windows.mean, 1 / windows.mean)
    mean = _twice(cosine, box) + 1j * _twice(sine, box)
    hann = np.hanning(windows.trend) / np.hanning(windows.trend).sum()
    trend = np.arctan2(
        _twice(_median(sine, windows.median), hann), _twice(_median(cosine, windows.median), hann)
    )
    box = np.full(windows.deviation, 1 / windows.deviation)
    around = part - trend
    modulus = np.hypot(_twice(np.cos(around), box), _twice(np.sin(around), box))
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(-2 * np.log(modulus))
    return mean, np.where(modulus >= 1, 0.0, deviation)


def _median(values: Real, length: int) -> Real:
    """Return running medians along time with zeros beyond the ends, ``(T, K)``."""
    padded = np.pad(values, ((length // 2, length // 2), (0, 0)))
    if length != 9:
        view = np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)
        return np.asarray(np.median(view, axis=-1))
    # The median of nine out of three sorted triples, each of which serves three medians.
    one, two, three = padded[:-2], padded[1:-1], padded[2:]
    small, large = np.minimum(one, two), np.maximum(one, two)
    lowest, rest = np.minimum(small, three), np.maximum(small, three)
    middle, highest = np.minimum(large, rest), np.maximum(large, rest)
    count = len(values)
    lows, mids, highs = (
        [part[offset : offset + count] for offset in (0, 3, 6)]
        for part in (lowest, middle, highest)
    )
    low = np.maximum(np.maximum(lows[0], lows[1]), lows[2])
    high = np.minimum(np.minimum(highs[0], highs[1]), highs[2])
    return _middle(low, _middle(*mids), high)


def _middle(one: Real, two: Real, three: Real) -> Real:
    small, large = np.minimum(one, two), np.maximum(one, two)
    return np.asarray(np.maximum(small, np.minimum(large, three)))


def _block(part: Real, windows: Windows) -> tuple[Real, Real]:
    """Return smoothed unit vectors and deviations ``(T, K)``; missing values are left out."""
    present = np.isfinite(part)
    angle = np.where(present, part, np.float32(0.0))
    cosine, sine = np.cos(angle) * present, np.sin(angle) * present
    weight = present.astype(np.float32)
    mean = np.empty(part.shape, np.complex64)
    mean.real, mean.imag = (_averaged(v, weight, windows.mean) for v in (cosine, sine))
    trend_cosine, trend_sine = (
        _trend(_median(values, windows.median), windows.trend) for values in (cosine, sine)
    )
    length = np.sqrt(trend_cosine**2 + trend_sine**2)
    known, one = length > 0, np.float32(1.0)
    trend_cosine = np.where(known, trend_cosine, one) / np.where(known, length, one)
    trend_sine = trend_sine / np.where(known, length, one)
    along = cosine * trend_cosine + sine * trend_sine
    across = sine * trend_cosine - cosine * trend_sine
    total = _averaged(weight, weight, windows.deviation)
    modulus = np.hypot(*(_averaged(v, weight, windows.deviation) for v in (along, across)))
    return mean, _deviation(modulus, total)


def _deviation(modulus: Real, total: Real) -> Real:
    """Return sqrt(-2 ln R); bins without any value repeat the last bin that has one."""
    some = total > 0
    ratio = np.maximum(modulus / np.where(some, total, np.float32(1.0)), np.float32(1e-30))
    deviation = np.sqrt(np.maximum(-2 * np.log(ratio), 0.0))
    # Nothing in single precision lies between one and this.
    deviation[ratio > 1 - 1e-7] = 0.0
    last = np.maximum.accumulate(np.where(some, np.arange(BINS), 0), axis=1)
    return np.asarray(np.take_along_axis(deviation, last, axis=1))


def _extended(values: Real, weight: Real, reach: int) -> Real:
    """Return values with ``reach`` frames of odd extension before and after them.

    Beyond what the recording holds the extension stays constant; where a value is missing on
    either side of the reflection, so is the extension.
    """
    last = len(values) - 1
    steps = np.minimum(np.arange(1, reach + 1), last)
    head = (2 * values[0] - values[steps[::-1]]) * (weight[0] * weight[steps[::-1]])
    tail = (2 * values[last] - values[last - steps]) * (weight[last] * weight[last - steps])
    return np.concatenate([head, values, tail])


def _averaged(values: Real, weight: Real, length: int) -> Real:
    """Return running sums over ``length`` frames taken twice, ``(T, K)``."""
    once = _running_sum(_extended(values, weight, length - 1), length)
    return _running_sum(once, length)


def _running_sum(values: Real, length: int) -> Real:
    """Return sums of ``length`` rows that follow one another, by doubling."""
    count = len(values) - length + 1
    total: Real | None = None
    power, offset, width = values, 0, 1
    while width <= length:
        if length & width:
            part = power[offset : offset + count]
            total = part.copy() if total is None else total + part
            offset += width
        if 2 * width <= length:
            power = power[:-width] + power[width:]
        width *= 2
    assert total is not None
    return total


def _trend(values: Real, length: int) -> Real:
    """Return values filtered twice by a Hann window with zero ends and unit sum."""
    hann = np.hanning(length) / np.hanning(length).sum()
    kernel = np.convolve(hann, hann).astype(np.float32)
    middle = length - 1
    extended = _extended(values, np.ones_like(values), middle)
    count = len(values)
    total = kernel[middle] * extended[middle : middle + count]
    for step in range(1, middle + 1):
        if kernel[middle - step] > 0:
            low, high = extended[middle - step :][:count], extended[middle + step :][:count]
            total += kernel[middle - step] * (low + high)
    return np.asarray(total)
