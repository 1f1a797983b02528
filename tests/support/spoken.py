"""Synthetic voices: harmonics on a glide, LF pulses, vowels through resonances."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import scipy.signal

RATE = 16_000


def glide(seconds: float, low_hz: float, high_hz: float, seed: int = 0) -> np.ndarray:
    """Return harmonics of amplitude 1/k whose pitch goes from low to high, and faint noise."""
    steps = np.arange(int(seconds * RATE))
    f0 = low_hz + (high_hz - low_hz) * steps / max(1, len(steps) - 1)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    voice = np.zeros(len(steps))
    for k in range(1, 40):
        voice += np.where(k * f0 < 7600, np.cos(k * phase) / k, 0.0)
    noise = np.random.default_rng(seed).standard_normal(len(steps))
    return 0.1 * voice + 0.0005 * noise


def lf_glide(seconds: float, low_hz: float, high_hz: float, rd: float, seed: int = 0) -> np.ndarray:
    """Return LF pulses whose pitch goes from low to high, and faint noise."""
    from affectflow.pipeline.extractors.covarep import glottal_shape

    f0 = np.linspace(low_hz, high_hz, int(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    numbers = np.arange(1, int(7600 // min(low_hz, high_hz)) + 1)
    spectrum = glottal_shape.lf_spectrum(np.array([rd]), numbers)[0]
    voice = np.zeros(len(f0))
    for k, value in zip(numbers, spectrum, strict=True):
        voice += np.where(k * f0 < 7600, np.real(value * np.exp(1j * k * phase)), 0.0)
    return 0.05 * voice + 0.0005 * np.random.default_rng(seed).standard_normal(len(f0))


def lf_pulses(seconds: float, f0: float, rd: float) -> np.ndarray:
    """Return band-limited LF pulses at a constant pitch."""
    from affectflow.pipeline.extractors.covarep import glottal_shape

    number = int(7600 // f0)
    spectrum = glottal_shape.lf_spectrum(np.array([rd]), np.arange(1, number + 1))[0]
    time = np.arange(int(seconds * RATE)) / RATE
    waves = np.exp(2j * np.pi * f0 * np.outer(np.arange(1, number + 1), time))
    return 0.1 * np.real(spectrum @ waves)


def vowel(seconds: float, f0: float, rd: float, seed: int = 0) -> np.ndarray:
    """Return LF pulses through the resonances of a neutral vowel."""
    sound = lf_pulses(seconds, f0, rd)
    for frequency, width in ((500, 80), (1500, 90), (2500, 120), (3500, 200)):
        radius = np.exp(-np.pi * width / RATE)
        a = [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]
        sound = scipy.signal.lfilter([sum(a)], a, sound)
    noise = np.random.default_rng(seed).standard_normal(len(sound))
    return 0.3 * sound / np.abs(sound).max() + 1e-4 * noise


def wave_bytes(samples: np.ndarray, rate: int = RATE, **options: Any) -> bytes:
    """Return samples as the bytes of a WAV file."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=options.pop("format", "WAV"), **options)
    return buffer.getvalue()
