"""Amplitudes and phases of harmonics by peak picking, frame by frame.

``S`` pitch frames of which ``T`` are kept, ``B`` frames of a batch, ``H`` harmonics above DC.
Frame j is centred at 0-based sample 800 + 160 j.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from .blocks import FRAMES, gather, release, spans
from .columns import HOP, RATE, round_away
from .pitch import FIRST

Signal = NDArray[np.float64]

BINS = 4096
DEFAULT_F0 = 100.0
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Frames:
    """Sinusoids of a batch of frames.

    Attributes:
        index: Pitch frame of each, ``(B,)``.
        f0: Pitch the analysis started from, ``(B,)`` Hz.
        spacing: Median distance of the harmonics found, ``(B,)`` Hz.
        count: Number of harmonics above DC, ``(B,)``.
        log_amplitude: ``(B, 1 + max H)`` natural logarithm, entry 0 is DC.
        phase: ``(B, 1 + max H)`` radians, at the frame's centre.
        power: ``(B, 2049)`` power spectrum.
        silent: ``(B,)`` frames without any energy.
    """

    index: NDArray[np.int64]
    f0: Signal
    spacing: Signal
    count: NDArray[np.int64]
    log_amplitude: Signal
    phase: Signal
    power: Signal
    silent: NDArray[np.bool_]


def log_level(power: Signal) -> Signal:
    """Return the natural logarithm of amplitudes, with a floor."""
    return np.asarray(0.5 * np.log(np.maximum(power, _FLOOR**2)))


def half_window(f0: Signal) -> NDArray[np.int64]:
    """Return half of the window's length less one half, three periods wide in all."""
    return round_away(1.5 * RATE / f0)


def kept(num_samples: int, f0: Signal) -> NDArray[np.int64]:
    """Return the frames ``(T,)`` whose window lies within the recording."""
    centre = FIRST + HOP * np.arange(len(f0))
    half = half_window(f0)
    return np.flatnonzero((centre - half >= 0) & (centre + half < num_samples))


def analyse(signal: Signal, f0: Signal) -> Iterator[Frames]:
    """Yield the sinusoids of all kept frames, batch after batch.

    Args:
        signal: ``(L,)`` of positive polarity.
        f0: Pitch of each frame ``(S,)``, nowhere 0.
    """
    members = kept(len(signal), f0)
    for low, high in spans(len(members), FRAMES):
        yield _frames(signal, members[low:high], f0[members[low:high]])
        release(signal)


def _frames(signal: Signal, index: NDArray[np.int64], f0: Signal) -> Frames:
    spectrum = _spectra(signal, FIRST + HOP * index, half_window(f0))
    power = spectrum.real**2 + spectrum.imag**2
    silent = power.max(axis=1) <= 0
    count = round_away((RATE / 2 - f0 / 2) / f0)
    harmonic = np.arange(1, int(count.max()) + 1)
    # Rows with fewer harmonics than others go on in place beyond the spectrum.
    target = np.minimum(harmonic * f0[:, None] * (BINS / RATE), BINS / 2)
    frequency, amplitude = _pick(power, target, f0 * (BINS / RATE) / 2)
    phase = _phase_at(spectrum, frequency)
    valid = harmonic <= count[:, None]
    steps = np.where(valid, np.diff(frequency, axis=1, prepend=0.0), np.nan)
    spacing = _row_medians(steps, count) * (RATE / BINS)
    first = np.angle(spectrum[:, :1])
    return Frames(
        index,
        f0,
        spacing,
        count,
        np.concatenate([log_level(power[:, :1]), np.where(valid, amplitude, 0.0)], axis=1),
        np.concatenate([first, np.where(valid, phase, 0.0)], axis=1),
        power,
        silent,
    )


def _row_medians(values: Signal, count: NDArray[np.int64]) -> Signal:
    ordered = np.sort(values, axis=1)
    rows = np.arange(len(values))
    return np.asarray((ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2)


@functools.lru_cache(maxsize=1024)
def _window(half: int) -> Signal:
    window = scipy.signal.windows.blackman(2 * half + 1)
    return np.asarray(window / window.sum())


def _spectra(
    signal: Signal, centres: NDArray[np.int64], half: NDArray[np.int64]
) -> NDArray[np.complex128]:
    """Return spectra ``(B, 2049)`` with phases that refer to the centres."""
    buffer = np.zeros((len(centres), BINS))
    for size in np.unique(half):
        members = np.flatnonzero(half == size)
        rows = gather(signal, centres[members] - size, 2 * int(size) + 1)
        rows *= _window(int(size))
        # Of a window longer than the transform, in strict mode at 1 Hz, the first part is used.
        place = (np.arange(min(rows.shape[1], BINS)) - int(size)) % BINS
        buffer[members[:, None], place] = rows[:, : len(place)]
    spectrum: NDArray[np.complex128] = scipy.fft.rfft(buffer, axis=1)
    return spectrum


def _pick(power: Signal, target: Signal, reach: Signal) -> tuple[Signal, Signal]:
    """Return place and level of the peak nearest each target; else the target and its bin's level.

    Args:
        power: ``(B, 2049)``.
        target: ``(B, H)`` in bins.
        reach: ``(B,)`` bins around a target in which a peak counts.
    """
    middle, before, after = power[:, 1:-1], power[:, :-2], power[:, 2:]
    row, column = np.nonzero((middle > before) & (middle > after) & (middle > _FLOOR**2))
    left, top, right = (log_level(power[row, column + offset]) for offset in range(3))
    shift = 0.5 * (left - right) / (left - 2 * top + right)
    place = column + 1 + shift
    height = top - 0.25 * (left - right) * shift
    # Frames lie far apart on one axis, so that one search serves all of them.
    apart = 4.0 * BINS
    keys = np.concatenate([[-apart], row * apart + place, [(len(power) + 1) * apart]])
    wanted = target + apart * np.arange(len(power))[:, None]
    above = np.searchsorted(keys, wanted)
    below = above - 1
    nearest = np.where(wanted - keys[below] <= keys[above] - wanted, below, above)
    found = np.abs(keys[nearest] - wanted) <= reach[:, None]
    bins = np.clip(round_away(target), 0, BINS // 2)
    own_level = log_level(np.take_along_axis(power, bins, axis=1))
    peak = np.clip(nearest - 1, 0, max(0, len(place) - 1))
    if len(place) == 0:
        return target, own_level
    return np.where(found, place[peak], target), np.where(found, height[peak], own_level)


def _phase_at(spectrum: NDArray[np.complex128], place: Signal) -> Signal:
    """Return phases ``(B, H)`` interpolated along the shorter way between neighbouring bins."""
    low = np.clip(np.floor(place).astype(np.int64), 0, BINS // 2 - 1)
    first = np.take_along_axis(spectrum, low, axis=1)
    second = np.take_along_axis(spectrum, low + 1, axis=1)
    turn = np.angle(second * np.conj(first))
    return np.asarray(np.angle(first) + (place - low) * turn)
