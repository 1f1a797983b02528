"""Shape of glottal pulses: NAQ, QOQ, H1H2, PSP.

``G`` instants, ``B`` pulses of a batch, ``M`` their padded length, ``T0`` the period in samples.

- NAQ: Alku, Bäckström, Vilkman, JASA 112, 2002.
- QOQ: Hacki 1989.
- H1H2: Hanson, JASA 101, 1997.
- PSP: Alku, Strik, Vilkman, Speech Communication 22, 1997.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

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
_PSP_USUAL = 96
_PSP_ERROR = 0.01
# Maxima are looked for below this times F0, in segments of up to three periods at 50 Hz.
_REACH = 5.0
_LONGEST = 480


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
    for low, high in spans(len(used), 8 * _BATCH):
        members = used[low:high]
        values[members, 2] = _h1h2(derivative, instants[members], lengths[members])
        for batch in _similar(members, instants[members] - begins[members]):
            where = (begins[batch], instants[batch], lengths[batch])
            values[batch, :2] = _time_domain(flow, derivative, *where)
            values[batch, 3] = _psp(flow, *where)
        release(flow, derivative)
    values[0, 3] = 0.0
    return values


def _similar(members: Instants, widths: Instants) -> Iterator[Instants]:
    """Yield members of batches of similar width, since all are padded to the widest.

    A pulse longer than any period, the first one in strict mode, is a batch of its own.
    """
    ordered = members[np.argsort(widths, kind="stable")]
    long = int((widths > RATE // LOWEST).sum())
    for first, last in spans(len(ordered) - long, _BATCH):
        yield ordered[first:last]
    for first in range(len(ordered) - long, len(ordered)):
        yield ordered[first : first + 1]


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

    Maxima of the spectrum of three periods in bins of 1 Hz; of neighbours within F0 / 2 the lower
    goes, until there are none. 0 where fewer than five maxima are left on both sides of the
    spectrum.
    """
    half = round_away(1.5 * lengths)
    inside = (ends - half >= 0) & (ends + half < len(derivative)) & (half <= _LONGEST)
    result, sure = np.zeros(len(ends)), np.zeros(len(ends), bool)
    order = np.flatnonzero(inside)[np.argsort(half[inside], kind="stable")]
    for low, high in spans(len(order), _BATCH):
        members = order[low:high]
        power = _low_band(derivative, ends[members], half[members])
        found, count = _harmonic_difference(power, RATE / lengths[members], _REACH)
        result[members], sure[members] = found, 2 * count >= 5
    for member in np.flatnonzero(~sure):
        part = derivative[max(ends[member] - half[member], 0) : ends[member] + half[member] + 1]
        spectrum = scipy.fft.rfft(part * np.hamming(len(part)) * 32768, RATE)
        power = spectrum.real**2 + spectrum.imag**2
        found, count = _harmonic_difference(power[None, :], RATE / lengths[[member]], np.inf)
        result[member] = found[0] if 2 * count[0] >= 5 else 0.0
    return result


@functools.lru_cache(maxsize=1)
def _waves() -> tuple[Signal, Signal]:
    """Return cosines and sines ``(samples from the centre, bins of 1 Hz)`` of the low band."""
    angle = np.outer(np.arange(_LONGEST + 1), np.arange(int(_REACH * HIGHEST) + 2))
    # One period of the circle is RATE steps, so that angles stay exact.
    circle = 2 * np.pi * np.arange(RATE) / RATE
    angle %= RATE
    return np.cos(circle)[angle], np.sin(circle)[angle]


def _low_band(derivative: Signal, ends: Instants, half: Instants) -> Signal:
    """Return power spectra at 1 Hz up to five times F0, by even and odd parts of segments."""
    longest = int(half.max())
    steps = np.arange(-longest, longest + 1)
    window = 0.54 + 0.46 * np.cos(np.pi * steps / half[:, None])
    window[np.abs(steps) > half[:, None]] = 0.0
    rows = gather(derivative, ends - longest, 2 * longest + 1) * window * 32768
    after, before = rows[:, longest + 1 :], rows[:, longest - 1 :: -1]
    even = np.concatenate([rows[:, longest : longest + 1], after + before], axis=1)
    cosines, sines = _waves()
    bins = min(int(_REACH * 1.5 * RATE / half.min()) + 2, cosines.shape[1])
    real = even @ cosines[: longest + 1, :bins]
    imaginary = (after - before) @ sines[1 : longest + 1, :bins]
    return real**2 + imaginary**2


def _harmonic_difference(power: NDArray[Any], f0: Signal, reach: float) -> tuple[Signal, Instants]:
    """Return the difference of the first two harmonics in dB and the number of maxima, ``(B,)``.

    Only maxima below ``reach`` times F0 are looked at: those far above cannot change which ones are
    left near the first two harmonics.
    """
    row, place, height = _separate_peaks(power, f0, reach)
    count = np.bincount(row, minlength=len(f0))
    if len(row) == 0:
        return np.zeros(len(f0)), count
    table = np.full((2, len(f0), int(count.max())), np.inf)
    column = np.arange(len(row)) - np.concatenate([[0], np.cumsum(count)[:-1]])[row]
    table[0, row, column], table[1, row, column] = place, height
    # The definition numbers bins from 1.
    first = np.abs(table[0] + 1 - f0[:, None]).argmin(axis=1)
    second = np.abs(table[0] + 1 - 2 * f0[:, None]).argmin(axis=1)
    every = np.arange(len(f0))
    heights = np.where(np.isfinite(table[1]), table[1], 0.0)
    return heights[every, first] - heights[every, second], count


def _separate_peaks(
    power: NDArray[Any], f0: Signal, reach: float
) -> tuple[Instants, Instants, Signal]:
    """Return row, bin and level in dB of the maxima left in each row, in order."""
    middle = power[:, 1:-1]
    maxima = (middle > power[:, :-2]) & (middle > power[:, 2:])
    maxima &= np.arange(1, power.shape[1] - 1) <= reach * f0[:, None]
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
    own = _fitted(scaled)
    whole = np.array([_rectangle(int(length)) for length in lengths])
    return np.divide(own, whole, out=np.zeros(len(own)), where=whole != 0)


@functools.lru_cache(maxsize=1024)
def _rectangle(length: int) -> float:
    return float(_fitted(np.full((1, length), 1.0 / length))[0])


def _fitted(rows: Signal) -> Signal:
    """Return ``a`` of the fit ``a k^2 + b`` to the log spectra of rows, ``(B,)``.

    Over the fewest points whose error reaches 1 %, which the first points nearly always do.
    """
    spectrum = scipy.fft.rfft(rows[:, :_PSP_BINS], _PSP_BINS, axis=1)
    slope, reached = _parabola(_decibel(spectrum[:, :_PSP_USUAL]))
    if not reached.all():
        slope[~reached] = _parabola(_decibel(spectrum[~reached]))[0]
    return slope


def _decibel(spectrum: NDArray[np.complex128]) -> Signal:
    power = spectrum.real**2 + spectrum.imag**2
    return 10 * np.log10(np.maximum(power, 1e-24))


def _parabola(level: Signal) -> tuple[Signal, NDArray[np.bool_]]:
    """Return the slope, and whether the error reached 1 % within the points given."""
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
    some = np.asarray(reached.any(axis=1))
    place = np.where(some, reached.argmax(axis=1) + 2, level.shape[1] - 1)
    return np.asarray(slope[np.arange(len(level)), place]), some
