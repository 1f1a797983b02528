"""Glottal closure instants by SEDREAMS.

Drugman and Dutoit, Glottal closure and opening instant detection from speech signals,
Interspeech 2009; Drugman et al., IEEE TASLP 2012. ``G`` instants, 0-based samples.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from .blocks import SAMPLES, allocate, release, spans, zero_phase
from .columns import RATE, interpolate, round_away
from .pitch import Pitch

Signal = NDArray[np.float64]
Instants = NDArray[np.int64]

_SEARCH = 0.35
_PEAK = 0.4
# Longer ranges than this, in samples, are searched one by one.
_LONGEST = 4096


def instants(
    signal: Signal, residual: Signal, pitch: Pitch, *, strict: bool, on_disk: bool = False
) -> Instants:
    """Return the closure instants within voiced speech, ``(G,)`` ascending.

    Args:
        signal: ``(L,)`` of positive polarity.
        residual: Its residual of order 18; may hold NaN in strict mode.
        pitch: Its pitch.
        strict: Voicing is read one sample early, as in the original.
        on_disk: Where temporary arrays lie.
    """
    if not np.isfinite(pitch.median):
        return np.zeros(0, dtype=np.int64)
    smooth = _mean_based(signal, pitch.median, on_disk)
    minima, maxima = _extrema(smooth)
    del smooth
    minima, maxima = _paired(minima, maxima)
    if len(minima) == 0:
        return minima
    interval = (maxima - minima).astype(np.float64)
    ratio = _typical_ratio(residual, minima, interval)
    low = np.clip(minima + round_away((ratio - _SEARCH) * interval), 0, len(signal) - 1)
    high = np.clip(minima + round_away((ratio + _SEARCH) * interval), 0, len(signal) - 1)
    found = _strongest(residual, low, high)
    shift = 0 if strict else 1
    voiced = interpolate(found + float(shift), pitch.positions, pitch.voiced.astype(np.float64))
    return np.unique(found[np.nan_to_num(voiced) >= 0.5])


@functools.cache
def _high_pass() -> tuple[Signal, int]:
    half = RATE / 2
    order, edge = scipy.signal.ellipord(50 / half, 30 / half, 3, 60)
    return scipy.signal.ellip(order, 3, 60, edge, "highpass", output="sos"), int(order)


def _mean_based(signal: Signal, median_f0: float, on_disk: bool) -> Signal:
    """Return the signal smoothed by a Blackman window of 1.7 periods, high-passed."""
    half = int(round_away(0.85 * round_away(RATE / median_f0)))
    window = scipy.signal.windows.blackman(2 * half + 1) / (2 * half + 1)
    smooth = allocate(len(signal), on_disk)
    for start, stop in spans(len(signal), SAMPLES):
        low, high = max(start, half), min(stop, len(signal) - half)
        if low < high:
            part = np.asarray(signal[low - half : high + half])
            smooth[low:high] = scipy.signal.oaconvolve(part, window, mode="valid")
        release(signal, smooth)
    sections, order = _high_pass()
    pad = min(3 * order, len(signal) - 1)
    return zero_phase(sections, smooth, pad, on_disk) if pad > 0 else smooth


def _extrema(smooth: Signal) -> tuple[Instants, Instants]:
    minima, maxima = [], []
    for start, stop in spans(len(smooth) - 2, SAMPLES):
        part = np.asarray(smooth[start : stop + 2])
        middle, before, after = part[1:-1], part[:-2], part[2:]
        minima.append(np.flatnonzero((middle < before) & (middle < after)) + start + 1)
        maxima.append(np.flatnonzero((middle > before) & (middle > after)) + start + 1)
        release(smooth)
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *minima]), np.concatenate([none, *maxima])


def _paired(minima: Instants, maxima: Instants) -> tuple[Instants, Instants]:
    """Return minima and the maxima that follow them, paired by index."""
    if len(minima) == 0 or len(maxima) == 0:
        return minima[:0], maxima[:0]
    maxima = maxima[maxima > minima[0]]
    if len(maxima) == 0:
        return minima[:0], maxima
    minima = minima[minima < maxima[-1]]
    count = min(len(minima), len(maxima))
    return minima[:count], maxima[:count]


def _typical_ratio(residual: Signal, minima: Instants, interval: Signal) -> float:
    """Return where strong residual peaks lie between minimum and maximum, as a median share."""
    found = []
    for start, stop in spans(len(residual), SAMPLES):
        peaks = np.flatnonzero(residual[start:stop] > _PEAK) + start
        right = np.clip(np.searchsorted(minima, peaks), 1, max(1, len(minima) - 1))
        right = np.minimum(right, len(minima) - 1)
        left = np.maximum(right - 1, 0)
        nearest = np.where(peaks - minima[left] <= minima[right] - peaks, left, right)
        found.append((peaks - minima[nearest]) / interval[nearest])
        release(residual)
    ratios = np.concatenate(found)
    return float(np.median(ratios)) if len(ratios) else 0.0


def _strongest(residual: Signal, low: Instants, high: Instants) -> Instants:
    """Return the position of the largest residual in each range, both ends included."""
    result = np.zeros(len(low), dtype=np.int64)
    long = high - low >= _LONGEST
    for start, stop in spans(len(low), 1024):
        usual = start + np.flatnonzero(~long[start:stop])
        if len(usual):
            first, last = low[usual, None], high[usual, None]
            index = first + np.arange(int((last - first).max()) + 1)
            values = residual[np.minimum(index, len(residual) - 1)]
            values[(index > last) | ~np.isfinite(values)] = -np.inf
            result[usual] = low[usual] + values.argmax(axis=1)
        release(residual)
    for place in np.flatnonzero(long):
        result[place] = _strongest_of_many(residual, int(low[place]), int(high[place]))
    return result


def _strongest_of_many(residual: Signal, low: int, high: int) -> int:
    """Return `_strongest` of one range of any length, as silence may have, part after part."""
    best, found = -np.inf, low
    for start, stop in spans(high + 1 - low, SAMPLES):
        part = np.asarray(residual[low + start : low + stop])
        part = np.where(np.isfinite(part), part, -np.inf)
        place = int(part.argmax())
        if part[place] > best:
            best, found = float(part[place]), low + start + place
        release(residual)
    return found
