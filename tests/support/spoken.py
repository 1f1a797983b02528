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
