"""Glottal flow by iterative adaptive inverse filtering (IAIF).

Alku, Glottal wave analysis with pitch synchronous iterative adaptive inverse filtering, Speech
Communication 11, 1992. ``G`` instants, ``B`` segments of a batch, ``M`` their padded length.

Segments of similar length are padded with zeros to one length and computed together, which leaves
windowed autocorrelations as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from .blocks import allocate, release, spans
from .columns import RATE
from .residual import levinson

Signal = NDArray[np.float64]
Instants = NDArray[np.int64]

_TRACT = 20
_SOURCE = 8
_RAMP = _TRACT + 1
_LEAK = 0.99
_TAPS = 301
# Instants that are computed one after another, and samples of one padded batch.
_WINDOW = 4096
_BATCH_SAMPLES = 1 << 17


def periods(instants: Instants) -> Instants:
    """Return the distance ``(G,)`` of each instant to the one before; of the first to the next."""
    if len(instants) < 2:
        return np.zeros(len(instants), dtype=np.int64)
    steps = np.diff(instants)
    return np.concatenate([steps[:1], steps])


def inverse_filter(
    signal: Signal,
    instants: Instants,
    *,
    strict: bool,
    max_t0: int | None = None,
    on_disk: bool = False,
) -> tuple[Signal, Signal]:
    """Return glottal flow and its derivative, each ``(L,)``.

    Args:
        signal: ``(L,)`` of positive polarity.
        instants: Closure instants ``(G,)``.
        strict: Segments are centred one sample before the instant, as in the original.
        max_t0: Longest period in samples; longer ones, after gaps, are cut to it.
        on_disk: Where the results lie.
    """
    flow, derivative = allocate(len(signal), on_disk), allocate(len(signal), on_disk)
    lengths = periods(instants)
    if max_t0 is not None:
        lengths = np.minimum(lengths, max_t0)
    centres = instants - 1 if strict else instants
    low = np.maximum(centres - lengths, 0)
    high = np.minimum(centres + lengths + 1, len(signal))
    for start, stop in spans(len(instants), _WINDOW):
        for members in _batches(high[start:stop] - low[start:stop]):
            _add_segments(
                signal, low[start:stop][members], high[start:stop][members], flow, derivative
            )
        release(signal, flow, derivative)
    return flow, derivative


def _batches(lengths: Instants) -> Iterator[Instants]:
    """Yield members of batches of similar length; segments of 20 samples or less are left out."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > _TRACT]
    first = 0
    while first < len(order):
        shortest = lengths[order[first]]
        last = first + 1
        while (
            last < len(order)
            and lengths[order[last]] <= 1.25 * shortest + 8
            and (last + 1 - first) * lengths[order[last]] <= _BATCH_SAMPLES
        ):
            last += 1
        yield order[first:last]
        first = last


def _add_segments(
    signal: Signal, low: Instants, high: Instants, flow: Signal, derivative: Signal
) -> None:
    lengths = high - low
    width = int(lengths.max())
    steps = np.arange(width)
    inside = steps < lengths[:, None]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (steps + 1) / (lengths[:, None] + 1))
    window[~inside] = 0.0
    segments = np.zeros((len(low), width))
    for row, (start, stop) in enumerate(zip(low, high, strict=True)):
        segments[row, : stop - start] = signal[start:stop]
    found_flow, found_derivative = iaif(segments * window, window)
    for row, (start, stop) in enumerate(zip(low, high, strict=True)):
        flow[start:stop] += found_flow[row, : stop - start]
        derivative[start:stop] += found_derivative[row, : stop - start]


@functools.cache
def _high_pass() -> Signal:
    half = RATE / 2
    edges = [0, 40 / half, 70 / half, 1]
    return np.asarray(scipy.signal.firls(_TAPS, edges, [0, 0, 1, 1]))


def iaif(segments: Signal, window: Signal) -> tuple[Signal, Signal]:
    """Return flow and derivative ``(B, M)`` of windowed segments.

    Args:
        segments: ``(B, M)``, zeros after the end of each.
        window: ``(B, M)`` window of each segment, zeros after its end.
    """
    width = segments.shape[1]
    inside = window > 0
    size = scipy.fft.next_fast_len(width + _TAPS, real=True)
    high_passed = scipy.fft.irfft(
        scipy.fft.rfft(segments, size, axis=1) * scipy.fft.rfft(_high_pass(), size), size, axis=1
    )[:, _TAPS // 2 : _TAPS // 2 + width]
    high_passed = np.where(inside, high_passed, 0.0)
    # Every filter starts on a ramp from -x(0) to x(0), which is dropped afterwards.
    ramp = high_passed[:, :1] * np.linspace(-1.0, 1.0, _RAMP)
    signal = np.concatenate([ramp, high_passed], axis=1)
    analysis = _Filter(signal, window)
    tilt = analysis.predictor(high_passed, 1)
    tract = analysis.predictor(analysis.apply(tilt)[:, _RAMP:], _TRACT)
    source = analysis.predictor(_integrate(analysis.apply(tract))[:, _RAMP:], _SOURCE)
    tract = analysis.predictor(_integrate(analysis.apply(source))[:, _RAMP:], _TRACT)
    derivative = analysis.apply(tract)
    return _integrate(derivative)[:, _RAMP:], derivative[:, _RAMP:]


class _Filter:
    """Linear prediction of windowed rows, and filtering one fixed signal by its predictors."""

    def __init__(self, signal: Signal, window: Signal) -> None:
        self._width = signal.shape[1]
        self._size = scipy.fft.next_fast_len(self._width + _TRACT + 1, real=True)
        self._spectrum = scipy.fft.rfft(signal, self._size, axis=1)
        self._window = window

    def predictor(self, rows: Signal, order: int) -> Signal:
        """Return ``A(z)`` ``(B, order + 1)`` of windowed rows ``(B, M)``."""
        spectrum = scipy.fft.rfft(rows * self._window, self._size, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        lags = scipy.fft.irfft(power, self._size, axis=1)[:, : order + 1]
        return levinson(lags)[0]

    def apply(self, predictor: Signal) -> Signal:
        """Return the signal filtered by ``A(z)`` from rest, ``(B, M + ramp)``."""
        product = self._spectrum * scipy.fft.rfft(predictor, self._size, axis=1)
        return np.asarray(scipy.fft.irfft(product, self._size, axis=1)[:, : self._width])


def _integrate(rows: Signal) -> Signal:
    return np.asarray(scipy.signal.lfilter([1.0], [1.0, -_LEAK], rows, axis=1))
