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

from .blocks import SAMPLES, allocate, release, spans
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
# Longer segments, after long gaps, are computed in parts.
_LONGEST = 32 * RATE


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
        sizes = high[start:stop] - low[start:stop]
        for members in _batches(np.where(sizes > _LONGEST, 0, sizes)):
            _add_segments(
                signal, low[start:stop][members], high[start:stop][members], flow, derivative
            )
        release(signal, flow, derivative)
        for member in start + np.flatnonzero(sizes > _LONGEST):
            part = slice(int(low[member]), int(high[member]))
            _LongSegment(signal[part], on_disk).add_to(flow[part], derivative[part])
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


class _LongSegment:
    """`iaif` of one segment ``(M,)`` of any length, part after part in the time domain."""

    def __init__(self, segment: Signal, on_disk: bool) -> None:
        self._length = len(segment)
        self._signal = allocate(self._length, on_disk)
        reach = _TAPS // 2
        for start, stop in spans(self._length, SAMPLES):
            low, high = max(0, start - reach), min(self._length, stop + reach)
            part = np.zeros(stop - start + 2 * reach)
            part[low - start + reach :][: high - low] = segment[low:high] * self._window(low, high)
            self._signal[start:stop] = scipy.signal.oaconvolve(part, _high_pass(), mode="valid")
            release(self._signal)
        self._ramp = self._signal[0] * np.linspace(-1.0, 1.0, _RAMP)

    def add_to(self, flow: Signal, derivative: Signal) -> None:
        """Add the segment's flow and derivative to ``(M,)`` arrays."""
        tilt = self._predictor(self._filtered(np.ones(1)), 1)
        tract = self._predictor(self._filtered(tilt), _TRACT)
        source = self._predictor(self._filtered(tract, integrated=True), _SOURCE)
        tract = self._predictor(self._filtered(source, integrated=True), _TRACT)
        both = zip(self._filtered(tract), self._filtered(tract, integrated=True), strict=True)
        for (start, change), (_, level) in both:
            derivative[start : start + len(change)] += change
            flow[start : start + len(level)] += level
            release(flow, derivative)

    def _window(self, start: int, stop: int) -> Signal:
        steps = np.arange(start + 1, stop + 1)
        return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * steps / (self._length + 1)))

    def _filtered(
        self, predictor: Signal, *, integrated: bool = False
    ) -> Iterator[tuple[int, Signal]]:
        """Yield ``(start, values)``: the signal filtered by ``A(z)``, begun on its ramp."""
        leak = [1.0, -_LEAK if integrated else 0.0]
        found, zeros = scipy.signal.lfilter(
            predictor, [1.0], self._ramp, zi=np.zeros(len(predictor) - 1)
        )
        _, poles = scipy.signal.lfilter([1.0], leak, found, zi=np.zeros(1))
        for start, stop in spans(self._length, SAMPLES):
            found, zeros = scipy.signal.lfilter(
                predictor, [1.0], self._signal[start:stop], zi=zeros
            )
            found, poles = scipy.signal.lfilter([1.0], leak, found, zi=poles)
            release(self._signal)
            yield start, found

    def _predictor(self, parts: Iterator[tuple[int, Signal]], order: int) -> Signal:
        """Return ``A(z)`` ``(order + 1,)`` of the windowed parts."""
        lags, before = np.zeros(order + 1), np.zeros(order)
        for start, values in parts:
            windowed = values * self._window(start, start + len(values))
            joined = np.concatenate([before, windowed])
            lags += [windowed @ joined[order - k : len(joined) - k] for k in range(order + 1)]
            before = joined[-order:]
        return levinson(lags[None, :])[0][0]


def _integrate(rows: Signal) -> Signal:
    return np.asarray(scipy.signal.lfilter([1.0], [1.0, -_LEAK], rows, axis=1))
