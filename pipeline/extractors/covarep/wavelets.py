"""Wavelet measures of voice quality: MDQ and peakSlope.

Kane and Gobl, Wavelet maxima dispersion for breathy to tense voice discrimination, IEEE TASLP 21,
2013; Kane and Gobl, Identifying regions of non-modal phonation using features of the wavelet
transform, Interspeech 2011. Wavelet: d'Alessandro. ``L`` samples, ``G`` instants, ``P`` frames.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .blocks import release, spans
from .columns import HOP, round_away
from .glottal_flow import periods

Signal = NDArray[np.float64]
Instants = NDArray[np.int64]

SLOPE_SCALES = (1, 2, 4, 8, 16, 32, 64)
DISPERSION_SCALES = (4, 8, 16, 32, 64)
FRAME = 640
# A band maximum of a normal recording is above 1.6e-5; exact zeros would give minus infinity.
FLOOR = 1e-8
# The Gaussian of the wavelet is below 1e-13 beyond eight of its widths.
_REACH = 8 * SLOPE_SCALES[-1]
# As it is defined it reaches this far, and is exactly zero beyond so many widths.
_LONG_REACH = 1000
_UNDERFLOW = 38
_BLOCK = 8192 - 2 * _REACH
_ROWS = 4096
# Maxima are looked for this far from an instant in steady voice; and where they are looked for
# further away than the longest, instants are computed one by one.
_LONGEST = 2048
_USUAL = 64


@functools.cache
def _kernels(scales: tuple[int, ...]) -> NDArray[np.complex128]:
    """Return the transforms of the wavelets, ``(scales, 4097)``, each reaching both ways."""
    steps = np.arange(-_REACH, _REACH + 1, dtype=np.float64)
    waves = [-np.cos(np.pi * steps / s) * np.exp(-(steps**2) / (2.0 * s * s)) for s in scales]
    kernels: NDArray[np.complex128] = scipy.fft.rfft(np.stack(waves), 8192, axis=1)
    return kernels


def bands(signal: Signal, scales: tuple[int, ...]) -> Iterator[tuple[int, Signal]]:
    """Yield ``(start, (scales, n))``: a signal filtered by the wavelets, block after block.

    Args:
        signal: ``(L,)``, zeros beyond its ends.
        scales: Dilations; the centre frequency is 8000 Hz over the scale.
    """
    kernels = _kernels(scales)
    for start, stop in spans(len(signal), _BLOCK):
        block = np.zeros(8192)
        low, high = max(0, start - _REACH), min(len(signal), stop + _REACH)
        block[low - start + _REACH : high - start + _REACH] = signal[low:high]
        filtered = scipy.fft.irfft(scipy.fft.rfft(block) * kernels, 8192, axis=1)
        yield start, filtered[:, 2 * _REACH : 2 * _REACH + stop - start]
        release(signal)


def dispersion(residual: Signal, instants: Instants, *, strict: bool) -> Signal:
    """Return the maxima dispersion quotient per instant, ``(G,)``.

    How far the maxima of the bands lie from the instant on average, over the period; 0 where a
    period around the instant leaves the recording.

    Args:
        residual: Residual of order 18, ``(L,)``; NaN counts as 0.
        instants: Closure instants ``(G,)``.
        strict: Distances count from one sample before the instant, as in the original.
    """
    lengths = periods(instants)
    half = round_away(0.2 * lengths)
    inside = (instants - lengths >= 0) & (instants + lengths < len(residual)) & (lengths > 0)
    result, early = np.zeros(len(instants)), 1 if strict else 0
    for start, stop in spans(len(residual), _BLOCK):
        members = np.flatnonzero(inside & (instants >= start) & (instants < stop))
        usual = members[half[members] <= _LONGEST]
        if len(usual):
            result[usual] = _block_dispersion(residual, instants[usual], half[usual], early)
        for member in members[half[members] > _LONGEST]:
            result[member] = _long_dispersion(residual, instants[member], half[member], early)
        release(residual)
    return np.divide(result, lengths, out=np.zeros(len(instants)), where=inside)


def _block_dispersion(residual: Signal, instants: Instants, half: Instants, early: int) -> Signal:
    low = max(0, int((instants - half).min()) - _REACH)
    high = min(len(residual), int((instants + half).max()) + 1 + _REACH)
    # Frames without energy, NaN in strict mode, count as zeros; a transform would spread them.
    part = np.nan_to_num(residual[low:high])
    size = scipy.fft.next_fast_len(len(part) + 2 * _REACH, real=True)
    filtered = scipy.fft.irfft(scipy.fft.rfft(part, size) * _resized(size), size, axis=1)[
        :, _REACH : _REACH + len(part)
    ]
    result = np.zeros(len(instants))
    # The few wide ranges apart, since all are padded to the widest.
    wide = half > _USUAL
    for members in (np.flatnonzero(~wide), np.flatnonzero(wide)):
        if len(members):
            result[members] = _distances(filtered, instants[members] - low, half[members], early)
    return result


def _distances(bands: Signal, instants: Instants, half: Instants, early: int) -> Signal:
    """Return the mean distance ``(B,)`` of the maxima of bands ``(scales, n)`` from instants."""
    width, length = int(half.max()), bands.shape[1]
    steps = np.arange(-width, width + 1)
    index = instants[:, None] + steps
    outside = (np.abs(steps) > half[:, None]) | (index < 0) | (index >= length)
    values = bands[:, np.clip(index, 0, length - 1)]
    np.copyto(values, -np.inf, where=outside)
    return np.asarray(np.abs(steps[values.argmax(axis=2)] + early).mean(axis=0))


def _long_dispersion(residual: Signal, instant: int, half: int, early: int) -> float:
    """Return the mean distance of one instant's maxima, searched part after part.

    The period of the first instant after a gap is as long as the gap.
    """
    low, high = max(0, instant - half), min(len(residual), instant + half + 1)
    best = np.full(len(DISPERSION_SCALES), -np.inf)
    place = np.full(len(DISPERSION_SCALES), low)
    for start, stop in spans(high - low, _BLOCK):
        first, last = low + start, low + stop
        before = max(0, first - _REACH)
        part = np.zeros(8192)
        sound = np.nan_to_num(residual[before : min(len(residual), last + _REACH)])
        part[before - first + _REACH :][: len(sound)] = sound
        filtered = scipy.fft.irfft(scipy.fft.rfft(part) * _resized(8192), 8192, axis=1)
        own = filtered[:, 2 * _REACH : 2 * _REACH + last - first]
        found = own.max(axis=1)
        place = np.where(found > best, first + own.argmax(axis=1), place)
        best = np.maximum(best, found)
        release(residual)
    return float(np.abs(place - instant + early).mean())


@functools.lru_cache(maxsize=64)
def _resized(size: int) -> NDArray[np.complex128]:
    steps = np.arange(-_REACH, _REACH + 1, dtype=np.float64)
    waves = [
        -np.cos(np.pi * steps / s) * np.exp(-(steps**2) / (2.0 * s * s)) for s in DISPERSION_SCALES
    ]
    kernels: NDArray[np.complex128] = scipy.fft.rfft(np.stack(waves), size, axis=1)
    return kernels


def peak_slope(signal: Signal, *, strict: bool) -> Signal:
    """Return the slope of the bands' maxima over octaves, ``(P,)``.

    Frames of 640 samples every 160; frame j is centred at 1-based sample 320 + 160 j.

    Args:
        signal: ``(L,)`` of positive polarity.
        strict: Exact zeros give minus infinity, as in the original; otherwise maxima have a floor.
    """
    count = (len(signal) - FRAME) // HOP + 1 if len(signal) >= FRAME else 0
    if count == 0:
        return np.zeros(0)
    parts = len(signal) // HOP
    maxima = np.zeros((len(SLOPE_SCALES), parts))
    for start, filtered in bands(signal, SLOPE_SCALES):
        magnitude = np.abs(filtered)
        if strict:
            _silence(magnitude, signal, start)
        _raise_maxima(maxima, start, magnitude)
    # Octave 1 is the lowest band, scale 64.
    octaves = np.arange(len(SLOPE_SCALES), 0, -1, dtype=np.float64)
    weights = (octaves - octaves.mean()) / ((octaves - octaves.mean()) ** 2).sum()
    slope = np.zeros(count)
    for low, high in spans(count, _ROWS):
        largest = maxima[:, low:high].copy()
        for step in range(1, FRAME // HOP):
            np.maximum(largest, maxima[:, low + step : high + step], out=largest)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.log10(largest if strict else np.maximum(largest, FLOOR))
            slope[low:high] = weights @ level
    return slope


def _silence(magnitude: Signal, signal: Signal, start: int) -> None:
    """Set bands to 0 where the wavelet meets zeros alone; a transform leaves rounding errors."""
    at = np.arange(start, start + magnitude.shape[1])
    first, last = max(0, start - _LONG_REACH), min(len(signal), int(at[-1]) + 1 + _LONG_REACH)
    heard = np.concatenate([[0], np.cumsum(np.asarray(signal[first:last]) != 0)])
    for row, scale in zip(magnitude, SLOPE_SCALES, strict=True):
        reach = min(_LONG_REACH, _UNDERFLOW * scale)
        before = heard[np.maximum(at - reach, first) - first]
        row[heard[np.minimum(at + reach + 1, last) - first] == before] = 0.0


def _raise_maxima(maxima: Signal, start: int, magnitude: Signal) -> None:
    """Raise the maxima ``(scales, L / 160)`` by a block, whose start is a multiple of 32."""
    first, offset = divmod(start, HOP)
    whole = -(-(offset + magnitude.shape[1]) // HOP)
    padded = np.zeros((len(magnitude), whole * HOP))
    padded[:, offset : offset + magnitude.shape[1]] = magnitude
    found = padded.reshape(len(magnitude), whole, HOP).max(axis=2)
    last = min(first + whole, maxima.shape[1])
    maxima[:, first:last] = np.maximum(maxima[:, first:last], found[:, : last - first])
