"""Linear prediction: the residual of a recording, and its polarity.

``L`` samples, ``F`` frames, ``p`` order. Residual-based polarity follows Drugman 2013 (RESKEW).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from .blocks import SAMPLES, allocate, gather, release, spans, zero_phase
from .columns import RATE

Signal = NDArray[np.float64]

FRAME = 401
STEP = 80
# At least FRAME plus the highest order, and a length whose transform is fast.
_FFT = 432
_BATCH = 256


def hann(length: int) -> Signal:
    """Return 0.5 - 0.5 cos(2 pi (n + 1) / (length + 1)), which is nowhere zero."""
    steps = np.arange(1, length + 1)
    return 0.5 - 0.5 * np.cos(2 * np.pi * steps / (length + 1))


def levinson(autocorrelation: Signal) -> tuple[Signal, NDArray[np.bool_]]:
    """Return predictors ``A(z)`` by the Levinson-Durbin recursion.

    Args:
        autocorrelation: ``(F, p + 1)``.

    Returns:
        Coefficients ``(F, p + 1)``, the first 1, and which rows ``(F,)`` had energy. Rows without
        are 1, 0, 0...
    """
    frames, width = autocorrelation.shape
    alive = autocorrelation[:, 0] > 0
    scale = np.where(alive, autocorrelation[:, 0], 1.0)
    normal = autocorrelation / scale[:, None]
    predictor = np.zeros((width, frames))
    predictor[0] = 1.0
    error = np.ones(frames)
    lags = np.ascontiguousarray(normal.T)
    for order in range(1, width):
        product = np.einsum("kf,kf->f", predictor[:order], lags[order:0:-1])
        # A signal that is predicted perfectly leaves nothing to divide by.
        reflection = np.where(error > 1e-300, -product / np.maximum(error, 1e-300), 0.0)
        predictor[1 : order + 1] += reflection * predictor[order - 1 :: -1][:order]
        error = error * (1 - reflection**2)
    predictor[1:, ~alive] = 0.0
    return predictor.T, alive


def residuals(
    signal: Signal,
    orders: Sequence[int],
    *,
    strict: bool,
    on_disk: bool = False,
    model: Signal | None = None,
) -> list[Signal]:
    """Return the prediction residual of a signal for several orders.

    Frames of 401 samples every 80, windowed, filtered by their predictor from rest, scaled to the
    energy of the frame and added up; the result is divided by its largest magnitude.

    Args:
        signal: ``(L,)``.
        orders: One residual per order.
        strict: A frame without energy gives NaN, as in the original; otherwise zeros.
        on_disk: Where the results lie.
        model: Take the predictors from this signal ``(L,)`` instead.
    """
    results = [allocate(len(signal), on_disk) for _ in orders]
    starts = np.arange(0, max(0, len(signal) - FRAME), STEP, dtype=np.int64)
    for low, high in spans(len(starts), _BATCH):
        batch = starts[low:high]
        spectrum = _spectra(signal, batch)
        predicted = spectrum if model is None else _spectra(model, batch)
        power = predicted.real**2 + predicted.imag**2
        lags = scipy.fft.irfft(power, _FFT, axis=1)[:, : max(orders) + 1]
        energy = _energy(spectrum)
        for order, result in zip(orders, results, strict=True):
            frames = _filtered(spectrum, lags[:, : order + 1], energy, strict)
            _overlap_add(result, int(batch[0]), frames)
        release(signal, *results, *([] if model is None else [model]))
    for order, result in zip(orders, results, strict=True):
        _silence(result, signal, order)
        _normalise(result)
    return results


def _silence(result: Signal, signal: Signal, order: int) -> None:
    """Set to 0 what follows from zeros alone, where a transform leaves rounding errors.

    Closure instants are the first of the largest values, which zeros share.
    """
    for low, high in spans(len(signal), SAMPLES):
        before = min(low, order)
        heard = np.cumsum(np.asarray(signal[low - before : high]) != 0)
        # Sounds within the last order + 1 samples; there are none before the recording.
        earlier = np.concatenate([np.zeros(order + 1 - before, heard.dtype), heard])
        silent = heard[before:] == earlier[: high - low]
        part = result[low:high]
        part[silent & ~np.isnan(part)] = 0.0
        release(signal, result)


def _spectra(signal: Signal, starts: NDArray[np.int64]) -> NDArray[np.complex128]:
    frames = gather(signal, starts, FRAME) * hann(FRAME)
    spectrum: NDArray[np.complex128] = scipy.fft.rfft(frames, _FFT, axis=1)
    return spectrum


def _energy(spectrum: NDArray[np.complex128]) -> Signal:
    power = spectrum.real**2 + spectrum.imag**2
    total = 2 * power.sum(axis=1) - power[:, 0] - power[:, -1]
    return np.asarray(total / _FFT)


def _filtered(
    spectrum: NDArray[np.complex128], lags: Signal, energy: Signal, strict: bool
) -> Signal:
    predictor, alive = levinson(lags)
    frames = scipy.fft.irfft(spectrum * scipy.fft.rfft(predictor, _FFT, axis=1), _FFT, axis=1)
    frames = frames[:, :FRAME]
    own = np.einsum("fn,fn->f", frames, frames)
    frames = (
        frames * np.sqrt(np.divide(energy, own, out=np.zeros_like(own), where=own > 0))[:, None]
    )
    if strict:
        frames[~alive] = np.nan
    return np.asarray(frames)


def _overlap_add(result: Signal, start: int, frames: Signal) -> None:
    """Add frames that begin every STEP samples from ``start``."""
    count = len(frames)
    parts = -(-FRAME // STEP)
    padded = np.zeros((count, parts * STEP))
    padded[:, :FRAME] = frames
    total = np.zeros((count + parts - 1, STEP))
    for part in range(parts):
        total[part : part + count] += padded[:, part * STEP : (part + 1) * STEP]
    flat = total.ravel()[: len(result) - start]
    result[start : start + len(flat)] += flat


def _normalise(result: Signal) -> None:
    largest = 0.0
    for low, high in spans(len(result), 1 << 20):
        part = np.abs(result[low:high])
        largest = max(largest, float(np.fmax.reduce(part)) if np.isfinite(part).any() else 0.0)
        release(result)
    if largest > 0:
        for low, high in spans(len(result), 1 << 20):
            result[low:high] /= largest
            release(result)


@functools.cache
def _high_pass() -> tuple[Signal, int]:
    order, _ = scipy.signal.ellipord(500 / (RATE / 2), 480 / (RATE / 2), 3, 60)
    sections = scipy.signal.ellip(order, 3, 60, 480 / (RATE / 2), "highpass", output="sos")
    return sections, int(order)


def polarity(signal: Signal, residual: Signal, *, strict: bool, on_disk: bool = False) -> int:
    """Return +1 or -1, or 0 where it is undefined.

    The sign of the difference between the skewness of the residual and that of the signal
    filtered by the predictors of its high-passed version.

    Args:
        signal: ``(L,)``.
        residual: Its residual of order 18.
        strict: See `residuals`.
        on_disk: Where temporary arrays lie.
    """
    sections, order = _high_pass()
    pad = min(3 * order, len(signal) - 1)
    if pad < 1:
        return 0
    filtered = zero_phase(sections, signal, pad, on_disk)
    other = residuals(signal, (18,), strict=strict, on_disk=on_disk, model=filtered)[0]
    return int(np.sign(_skewness(residual) - _skewness(other)))


def _skewness(signal: Signal) -> float:
    """Return the third standardised moment of the values that are finite; 0 for a constant."""
    count, total = 0, 0.0
    for low, high in spans(len(signal), 1 << 20):
        part = signal[low:high]
        part = part[np.isfinite(part)]
        count, total = count + len(part), total + float(part.sum())
        release(signal)
    if count == 0:
        return 0.0
    mean, second, third = total / count, 0.0, 0.0
    for low, high in spans(len(signal), 1 << 20):
        part = signal[low:high]
        part = part[np.isfinite(part)] - mean
        squared = part * part
        # A general power would take twenty times as long.
        second, third = second + float(squared.sum()), third + float((squared * part).sum())
        release(signal)
    if second <= 0:
        return 0.0
    return (third / count) / (second / count) ** 1.5
