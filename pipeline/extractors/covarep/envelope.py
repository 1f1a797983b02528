"""Spectral envelope by the true envelope, as mel cepstra.

Röbel and Rodet, Efficient spectral envelope estimation and its application to pitch shifting and
envelope preservation, DAFx 2005; Röbel, Villavicencio, Rodet, Pattern Recognition Letters 28, 2007.
``B`` frames, ``K`` bins from 0 to half the rate, ``Q`` quefrencies kept.

An envelope has few quefrencies, so that products with a cosine matrix in single precision are
faster than transforms; the energy beyond the order follows from that of the spectrum (Parseval).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from .cepstra import mel_cepstrum
from .columns import RATE, round_away

Signal = NDArray[np.float64]
Single = NDArray[np.float32]

ORDER = 24
_ITERATIONS = 200
# Two decibels.
_TOLERANCE = np.float32(np.log(10.0) / 10.0)
# Frames whose order is at most one of these are computed together.
_GROUPS = (32, 48, 64, 96, 128, 192, 2047)


def mel_cepstra(level: Signal, f0: Signal) -> Signal:
    """Return MCEP 0 to 24 of frames, ``(B, 25)``.

    Args:
        level: Natural logarithm of the amplitude spectrum, ``(B, K)``.
        f0: Hz, ``(B,)``.
    """
    bins = level.shape[1]
    order = np.minimum(envelope_order(f0), bins - 2)
    result = np.zeros((len(level), ORDER + 1))
    least = 0
    for most in _GROUPS:
        members = np.flatnonzero((order > least) & (order <= most))
        least = most
        if len(members):
            part = level[members].astype(np.float32)
            extended = _extend_ends(part, order[members])
            smooth = true_envelope(extended, order[members])
            result[members] = mel_cepstrum(np.exp(smooth.astype(np.float64)), ORDER)
    return result


def envelope_order(f0: Signal) -> NDArray[np.int64]:
    """Return the order of the envelope that resolves no harmonics, ``(B,)``."""
    return round_away(1.2 * round_away(0.5 * RATE / f0))


def _extend_ends(level: Single, order: NDArray[np.int64]) -> Single:
    """Replace the lowest and highest bins, where there are no harmonics, by a coarser envelope."""
    bins = level.shape[1]
    length = 2 * (bins - 1)
    smooth = true_envelope(level, round_away(round_away(order / 2) * 1.2))
    width = round_away(0.25 * length / order)[:, None]
    place = np.arange(bins)
    ends = (place < width) | (place >= bins - (width - 1))
    return np.where(ends, smooth, level)


@functools.lru_cache(maxsize=16)
def _cosines(bins: int, order: int) -> tuple[Single, Single, Single]:
    """Return both ways between even spectra and c0, 2 c1, ..., and the weights of their energy.

    Spectrum to cepstrum ``(K, order + 1)``, cepstrum to spectrum ``(order + 1, K)``, weights
    ``(K,)`` for which the squared spectrum sums to c0^2 + (2 c1)^2 / 2 + (2 c2)^2 / 2 + ...
    An order beyond that of the spectrum is cut to it.
    """
    half = bins - 1
    order = min(order, half)
    weights = np.full(bins, 1.0 / half)
    weights[[0, -1]] = 0.5 / half
    waves = np.cos(np.pi * np.outer(np.arange(order + 1), np.arange(bins)) / half)
    forward = waves.T * weights[:, None]
    forward[:, 1:] *= 2
    return forward.astype(np.float32), waves.astype(np.float32), weights.astype(np.float32)


def true_envelope(level: Single, order: NDArray[np.int64]) -> Single:
    """Return the smooth envelope over the peaks of spectra, ``(B, K)``.

    Args:
        level: Natural logarithm, ``(B, K)``.
        order: Order of each row, ``(B,)``, below K - 1.
    """
    bins, most = level.shape[1], int(order.max())
    forward, backward, weights = _cosines(bins, next(top for top in _GROUPS if most <= top))
    forward, backward = forward[:, : most + 1], backward[: most + 1]
    lifter = _lifter(order, most)
    inside = (np.arange(most + 1) <= order[:, None]).astype(np.float32)
    envelope = np.empty_like(level)
    active = np.arange(len(level))
    raised, wanted = level, level
    current = np.zeros((len(level), most + 1), np.float32)
    for _ in range(_ITERATIONS):
        target = (raised @ forward) * inside
        speed = 1 + _beyond(raised, target, weights)
        current = current + speed[:, None] * lifter * (target - current)
        smooth = current @ backward
        going = (wanted - smooth).max(axis=1) > _TOLERANCE
        done = ~going
        envelope[active[done]] = smooth[done]
        if not going.any():
            return envelope
        if done.any():
            active, current, inside = active[going], current[going], inside[going]
            lifter, wanted, raised = lifter[going], wanted[going], raised[going]
            smooth = smooth[going]
        raised = np.maximum(raised, smooth)
    envelope[active] = smooth
    return envelope


def _beyond(level: Single, target: Single, weights: Single) -> Single:
    """Return the norm of the cepstrum beyond the order over that within, ``(B,)``."""
    # Without the mean, whose square would hide the rest.
    centred = level - target[:, :1]
    total = 2 * ((centred * centred) @ weights)
    own = np.einsum("bq,bq->b", target[:, 1:], target[:, 1:])
    norm = np.sqrt(own + target[:, 0] ** 2)
    rest = np.sqrt(np.maximum(total - own, 0))
    return np.divide(rest, norm, out=np.zeros_like(norm), where=norm > 0)


def _lifter(order: NDArray[np.int64], most: int) -> Single:
    """Return the right half of a Hamming window of 2 q + 1 points, zeros beyond."""
    steps = np.arange(most + 1)
    window = 0.54 + 0.46 * np.cos(np.pi * steps / np.maximum(order, 1)[:, None])
    return np.where(steps <= order[:, None], window, 0.0).astype(np.float32)
