"""Spectral envelope by the true envelope, as mel cepstra.

Röbel and Rodet, Efficient spectral envelope estimation and its application to pitch shifting and
envelope preservation, DAFx 2005; Röbel, Villavicencio, Rodet, Pattern Recognition Letters 28, 2007.
``B`` frames, ``K`` bins from 0 to half the rate, ``C`` quefrencies.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .cepstra import mel_cepstrum
from .columns import RATE, round_away

Signal = NDArray[np.float64]

ORDER = 24
_ITERATIONS = 200
# Two decibels.
_TOLERANCE = np.log(10.0) / 10.0


def mel_cepstra(level: Signal, f0: Signal) -> Signal:
    """Return MCEP 0 to 24 of frames, ``(B, 25)``.

    Args:
        level: Natural logarithm of the amplitude spectrum, ``(B, K)``.
        f0: Hz, ``(B,)``.
    """
    bins = level.shape[1]
    order = np.minimum(envelope_order(f0), bins - 2)
    extended = _extend_ends(level, order)
    return mel_cepstrum(np.exp(true_envelope(extended, order)), ORDER)


def envelope_order(f0: Signal) -> NDArray[np.int64]:
    """Return the order of the envelope that resolves no harmonics, ``(B,)``."""
    return round_away(1.2 * round_away(0.5 * RATE / f0))


def _extend_ends(level: Signal, order: NDArray[np.int64]) -> Signal:
    """Replace the lowest and highest bins, where there are no harmonics, by a coarser envelope."""
    bins = level.shape[1]
    length = 2 * (bins - 1)
    plain = round_away(round_away(order / 2) * 1.2)
    smooth = true_envelope(level, plain)
    width = round_away(0.25 * length / order)[:, None]
    place = np.arange(bins)
    ends = (place < width) | (place >= bins - (width - 1))
    return np.where(ends, smooth, level)


def _cepstrum(level: Signal) -> Signal:
    """Return c0, 2 c1, ... of an even spectrum, ``(B, K)``; the last one is not doubled."""
    half = level.shape[1] - 1
    result = scipy.fft.dct(level, type=1, axis=1) / half
    result[:, 0] /= 2
    result[:, -1] /= 2
    return np.asarray(result)


def _spectrum(cepstrum: Signal) -> Signal:
    """Return the even spectrum ``(B, K)`` of c0, 2 c1, ..."""
    halved = cepstrum * 0.5
    halved[:, 0] *= 2
    halved[:, -1] *= 2
    return np.asarray(scipy.fft.dct(halved, type=1, axis=1))


def true_envelope(level: Signal, order: NDArray[np.int64]) -> Signal:
    """Return the smooth envelope over the peaks of spectra, ``(B, K)``.

    Args:
        level: Natural logarithm, ``(B, K)``.
        order: Order of each row, ``(B,)``, below K - 1.
    """
    bins = level.shape[1]
    lifter = _lifter(order, bins)
    inside = np.arange(bins) <= order[:, None]
    envelope = np.array(level)
    active = np.arange(len(level))
    raised, current = np.array(level), np.zeros_like(level)
    target_level = level
    for _ in range(_ITERATIONS):
        cepstrum = _cepstrum(raised)
        target = np.where(inside, cepstrum, 0.0)
        rest = np.where(inside, 0.0, cepstrum)[:, :-1]
        norm = np.sqrt(np.einsum("bk,bk->b", target, target))
        beyond = np.sqrt(np.einsum("bk,bk->b", rest, rest))
        speed = 1 + np.divide(beyond, norm, out=np.zeros_like(norm), where=norm > 0)
        current = current + speed[:, None] * lifter * (target - current)
        smooth = _spectrum(current)
        envelope[active] = smooth
        going = (target_level - smooth).max(axis=1) > _TOLERANCE
        if not going.any():
            break
        active, current, inside = active[going], current[going], inside[going]
        lifter, target_level = lifter[going], target_level[going]
        raised = np.maximum(raised[going], smooth[going])
    return envelope


def _lifter(order: NDArray[np.int64], bins: int) -> Signal:
    """Return the right half of a Hamming window of 2 q + 1 points, zeros beyond."""
    steps = np.arange(bins)
    window = 0.54 + 0.46 * np.cos(np.pi * steps / np.maximum(order, 1)[:, None])
    return np.where(steps <= order[:, None], window, 0.0)
