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
_BATCH = 64
_PSP_BINS = 2048
_PSP_ERROR = 0.01
_H1H2_REACH = 6.0


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
    """Return the level of the first harmonic above the second in dB, ``(B,)``.

    Maxima of the spectrum in bins of 1 Hz; of neighbours within F0 / 2 the lower goes, until there
    are none. Only the bins below six times F0 are looked at, since peaks far above cannot change
    which ones are left near the first two harmonics. 0 where fewer than five peaks are left on
    both sides of the spectrum.
    """
    half = round_away(1.5 * lengths)
    low = np.maximum(ends - half, 0)
    width = np.minimum(ends + half + 1, len(derivative)) - low
    longest = int(width.max())
    steps = np.arange(longest)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * steps / np.maximum(width - 1, 1)[:, None])
    rows = gather(derivative, low, longest) * np.where(steps < width[:, None], window, 0.0)
    f0 = RATE / lengths
    bins = int(min(_H1H2_REACH * f0.max(), RATE / 2 - 1)) + 2
    spectrum = scipy.fft.rfft((rows * 32768).astype(np.float32), RATE, axis=1)[:, :bins]
    power = spectrum.real**2 + spectrum.imag**2
    row, place, height = _separate_peaks(power, f0)
    count = np.bincount(row, minlength=len(ends))
    if len(row) == 0:
        return np.zeros(len(ends))
    table = np.full((2, len(ends), int(count.max())), np.inf)
    column = np.arange(len(row)) - np.concatenate([[0], np.cumsum(count)[:-1]])[row]
    table[0, row, column], table[1, row, column] = place, height
    # The definition numbers bins from 1.
    first = np.abs(table[0] + 1 - f0[:, None]).argmin(axis=1)
    second = np.abs(table[0] + 1 - 2 * f0[:, None]).argmin(axis=1)
    every = np.arange(len(ends))
    heights = np.where(np.isfinite(table[1]), table[1], 0.0)
    difference = heights[every, first] - heights[every, second]
    return np.where(2 * count >= 5, difference, 0.0)


def _separate_peaks(power: NDArray[np.float32], f0: Signal) -> tuple[Instants, Instants, Signal]:
    """Return row, bin and level in dB of the maxima left in each row, in order."""
    middle = power[:, 1:-1]
    maxima = (middle > power[:, :-2]) & (middle > power[:, 2:])
    maxima &= np.arange(1, power.shape[1] - 1) <= _H1H2_REACH * f0[:, None]
    row, place = np.nonzero(maxima)
    place = place + 1
    height = 10 * np.log10(np.maximum(power[row, place].astype(np.float64), 1e-24))
    while len(row) > 1:
        near = np.diff(place) <= f0[row[:-1]] / 2
        close = np.flatnonzero((row[:-1] == row[1:]) & near)
        if len(close) == 0:
            break
        keep = np.ones(len(row), bool)
        keep[np.where(height[close] < height[close + 1], close, close + 1)] = False
        row, place, height = row[keep], place[keep], height[keep]
    return row, place, height


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
