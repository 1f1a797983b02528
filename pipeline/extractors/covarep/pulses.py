"""Shape of glottal pulses: NAQ, QOQ, H1H2, PSP.

``G`` instants, ``B`` pulses of a batch, ``M`` their padded length, ``T0`` the period in samples.

- NAQ: Alku, Bäckström, Vilkman, JASA 112, 2002.
- QOQ: Hacki 1989.
- H1H2: Hanson, JASA 101, 1997.
- PSP: Alku, Strik, Vilkman, Speech Communication 22, 1997.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .blocks import gather, release, spans
from .columns import RATE, round_away
from .glottal_flow import periods

Signal = NDArray[np.float64]
Instants = NDArray[np.int64]

LOWEST = 20
HIGHEST = 500
_BATCH = 256
_PSP_BINS = 2048
_PSP_ERROR = 0.01
_H1H2_BINS = 4_000


def shape_parameters(
    flow: Signal, derivative: Signal, instants: Instants, *, strict: bool
) -> Signal:
    """Return NAQ, QOQ, H1H2 (dB) and PSP per instant, ``(G, 4)``.

    All are 0 where the period is not within 20 to 500 Hz.

    Args:
        flow: Glottal flow ``(L,)``.
        derivative: Its derivative ``(L,)``.
        instants: Closure instants ``(G,)``.
        strict: The first pulse begins at the first sample of the recording, as in the original,
            otherwise it is one period long. It has no PSP in either mode.
    """
    values = np.zeros((len(instants), 4))
    lengths = periods(instants)
    if len(instants) < 2:
        return values
    begins = np.concatenate([[0 if strict else max(0, instants[0] - lengths[0])], instants[:-1]])
    f0 = RATE / np.maximum(lengths, 1)
    used = np.flatnonzero((f0 > LOWEST) & (f0 < HIGHEST) & (lengths > 0))
    for low, high in spans(len(used), _BATCH):
        members = used[low:high]
        where = (begins[members], instants[members], lengths[members])
        values[members, :2] = _time_domain(flow, derivative, *where)
        values[members, 2] = _h1h2(derivative, instants[members], lengths[members])
        values[members, 3] = _psp(flow, *where)
        release(flow, derivative)
    values[0, 3] = 0.0
    return values


def _pulses(signal: Signal, begins: Instants, ends: Instants) -> tuple[Signal, NDArray[np.bool_]]:
    """Return ``(B, M)`` samples from begin to end, both included, and which are real."""
    width = int((ends - begins).max()) + 1
    inside = np.arange(width) <= (ends - begins)[:, None]
    return gather(signal, begins, width), inside


def _time_domain(
    flow: Signal, derivative: Signal, begins: Instants, ends: Instants, lengths: Instants
) -> Signal:
    pulse, inside = _pulses(flow, begins, ends)
    last = ends - begins
    rows = np.arange(len(pulse))
    steps = np.arange(pulse.shape[1])
    slope = (pulse[rows, last] - pulse[:, 0]) / np.maximum(last, 1)
    level = np.where(inside, pulse - pulse[:, :1] - slope[:, None] * steps, -np.inf)
    peak = level.argmax(axis=1)
    height = level[rows, peak]
    window_end = np.minimum(ends + 8, len(derivative) - 1)
    change, within = _pulses(derivative, begins, window_end)
    steepest = np.where(within, np.abs(change), 0.0).max(axis=1)
    naq = np.divide(height, steepest * lengths, out=np.zeros(len(pulse)), where=steepest > 0)
    return np.stack([naq, _open_quotient(level, peak, height, last, lengths)], axis=1)


def _open_quotient(
    level: Signal, peak: Instants, height: Signal, last: Instants, lengths: Instants
) -> Signal:
    """Return the time above half of the pulse's height as a share of the period."""
    steps = np.arange(level.shape[1])
    low = level <= (height / 2)[:, None]
    # Walking left stops at index 2 at the latest, walking right two before the last.
    left_stop = low | (steps <= 2)
    before = left_stop & (steps <= peak[:, None])
    left = np.where(before.any(axis=1), level.shape[1] - 1 - before[:, ::-1].argmax(axis=1), peak)
    right_stop = low | (steps >= (last - 2)[:, None])
    after = right_stop & (steps >= peak[:, None])
    right = np.where(after.any(axis=1), after.argmax(axis=1), peak)
    return (right - left) / lengths


def _h1h2(derivative: Signal, ends: Instants, lengths: Instants) -> Signal:
    """Return the level of the first harmonic above the second in dB, 0 where there is no spectrum.

    The definition takes the maxima of a spectrum with bins of 1 Hz. Its peaks are three of its
    bins wide or more, so a spectrum of quarter that size and parabolas give the same levels within
    0.01 dB.
    """
    half = round_away(1.5 * lengths)
    low = np.maximum(ends - half, 0)
    width = np.minimum(ends + half + 1, len(derivative)) - low
    longest = int(width.max())
    steps = np.arange(longest)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * steps / np.maximum(width - 1, 1)[:, None])
    rows = gather(derivative, low, longest) * np.where(steps < width[:, None], window, 0.0)
    spectrum = scipy.fft.rfft(rows * 32768, _H1H2_BINS, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    level = 10 * np.log10(np.maximum(power, 1e-24))
    return np.array(
        [_harmonic_difference(row, RATE / t0) for row, t0 in zip(level, lengths, strict=True)]
    )


def _harmonic_difference(level: Signal, f0: float) -> float:
    places, heights = _peaks(level)
    places, heights = _well_apart(places, heights, f0 / 2)
    # The definition counts the peaks of both sides of the spectrum.
    if 2 * len(places) < 5:
        return 0.0
    # Its bins are numbered from 1.
    first = np.abs(places + 1 - f0).argmin()
    second = np.abs(places + 1 - 2 * f0).argmin()
    return float(heights[first] - heights[second])


def _peaks(level: Signal) -> tuple[Signal, Signal]:
    """Return places in whole Hz and heights of the maxima of one side of a spectrum."""
    top = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])) + 1
    left, middle, right = level[top - 1], level[top], level[top + 1]
    shift = 0.5 * (left - right) / (left - 2 * middle + right)
    return np.rint((top + shift) * (RATE / _H1H2_BINS)), middle - 0.25 * (left - right) * shift


def _well_apart(places: Signal, heights: Signal, least: float) -> tuple[Signal, Signal]:
    """Drop the lower of every two neighbours ``least`` or less apart until there are none."""
    while len(places) > 1:
        close = np.flatnonzero(np.diff(places) <= least)
        if len(close) == 0:
            break
        keep = np.ones(len(places), bool)
        keep[np.where(heights[close] < heights[close + 1], close, close + 1)] = False
        places, heights = places[keep], heights[keep]
    return places, heights


def _psp(flow: Signal, begins: Instants, ends: Instants, lengths: Instants) -> Signal:
    pulse, inside = _pulses(flow, begins, ends)
    low = np.where(inside, pulse, np.inf).min(axis=1, keepdims=True)
    high = np.where(inside, pulse, -np.inf).max(axis=1, keepdims=True)
    scale = np.where(high > low, high - low, 1.0)
    scaled = np.where(inside, (pulse - low) / scale, 0.0)
    own = _parabola(_log_spectrum(scaled))
    whole = np.array([_rectangle(int(length)) for length in lengths])
    return np.divide(own, whole, out=np.zeros(len(own)), where=whole != 0)


@functools.lru_cache(maxsize=1024)
def _rectangle(length: int) -> float:
    return float(_parabola(_log_spectrum(np.full((1, length), 1.0 / length)))[0])


def _log_spectrum(rows: Signal) -> Signal:
    spectrum = scipy.fft.rfft(rows[:, :_PSP_BINS], _PSP_BINS, axis=1)
    return 20 * np.log10(np.maximum(np.abs(spectrum), 1e-12))


def _parabola(level: Signal) -> Signal:
    """Return ``a`` of the fit ``a k^2 + b`` over the fewest points whose error reaches 1 %."""
    k2 = np.arange(level.shape[1], dtype=np.float64) ** 2
    count = np.arange(1, level.shape[1] + 1)
    sum_k2, sum_k4 = np.cumsum(k2), np.cumsum(k2**2)
    sum_x, sum_xx = np.cumsum(level, axis=1), np.cumsum(level**2, axis=1)
    sum_xk = np.cumsum(level * k2, axis=1)
    spread = sum_k4 - sum_k2**2 / count
    spread[0] = 1.0
    slope = (sum_xk - sum_x * sum_k2 / count) / spread
    residual = sum_xx - sum_x**2 / count - slope**2 * spread
    error = residual / np.maximum(sum_xx, 1e-300)
    reached = error[:, 2:] >= _PSP_ERROR
    place = np.where(reached.any(axis=1), reached.argmax(axis=1) + 2, level.shape[1] - 1)
    return np.asarray(slope[np.arange(len(level)), place])
