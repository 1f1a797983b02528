"""Minimum phases and mel cepstra."""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .columns import RATE

Signal = NDArray[np.float64]


def minimum_phase(log_amplitude: Signal) -> Signal:
    """Return the phase of the minimum-phase system with these amplitudes.

    Args:
        log_amplitude: Natural logarithm on ``n`` bins from 0 to half the rate, ``(..., n)``,
            n above 1.

    Returns:
        Radians, ``(..., n)``, by the folded cepstrum of length 2 (n - 1).
    """
    half = log_amplitude.shape[-1] - 1
    cepstrum = scipy.fft.irfft(log_amplitude, 2 * half, axis=-1)
    # Of even cepstra the causal part is twice the sine part of the spectrum.
    folded = np.zeros_like(cepstrum)
    folded[..., 1:half] = 2 * cepstrum[..., 1:half]
    return np.asarray(scipy.fft.rfft(folded, axis=-1).imag)


def mel(frequency: Signal | float) -> Signal:
    """Return ln(1 + f / 700)."""
    return np.log1p(np.asarray(frequency, dtype=np.float64) / 700.0)


@functools.lru_cache(maxsize=8)
def _warping(bins: int) -> tuple[NDArray[np.int64], Signal]:
    """Return for each bin of the mel axis the lower bin it lies after, and the share of the next.

    Amplitudes are interpolated along the warped axis.
    """
    half = RATE / 2
    axis = np.linspace(0.0, half, bins)
    warped = half * mel(axis) / mel(half)
    low = np.clip(np.searchsorted(warped, axis, side="right") - 1, 0, bins - 2)
    share = (axis - warped[low]) / (warped[low + 1] - warped[low])
    return low, np.clip(share, 0.0, 1.0)


@functools.lru_cache(maxsize=8)
def _cosines(bins: int, order: int) -> Signal:
    """Return ``(bins, order + 1)``: even spectra of ``bins`` points to c0, 2 c1, ... 2 c_order."""
    half = bins - 1
    weights = np.full(bins, 1.0 / half)
    weights[[0, -1]] = 0.5 / half
    steps = np.outer(np.arange(bins), np.arange(order + 1))
    matrix = np.cos(np.pi * steps / half) * weights[:, None]
    matrix[:, 1:] *= 2
    return np.asarray(matrix)


def mel_cepstrum(amplitude: Signal, order: int) -> Signal:
    """Return c0, 2 c1, ... 2 c_order of the logarithm on a mel axis.

    Args:
        amplitude: Positive, on ``n`` bins from 0 to half the rate, ``(B, n)``.
        order: Number of the last coefficient.

    Returns:
        ``(B, order + 1)``.
    """
    low, share = _warping(amplitude.shape[1])
    warped = amplitude[:, low] * (1 - share) + amplitude[:, low + 1] * share
    return np.asarray(np.log(warped) @ _cosines(amplitude.shape[1], order))
