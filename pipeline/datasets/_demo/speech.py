"""Speech-like audio with a known pitch: harmonics of a voice shaped by moving formants.

``N`` samples, ``T`` pitch frames. The pitch contour is chosen first and the sound is made from it,
so it is exact: no estimate is involved. The words are not spoken; only rhythm, pitch and vowels are
speech-like.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
F0_HOP_S = 0.01

# First three formants in Hz of five vowels (rounded averages of adult speakers).
_VOWELS = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
)
_BANDWIDTHS = (80.0, 110.0, 160.0)
_HIGHEST_HZ = 7_600.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip.

    Attributes:
        samples: (N,) float64 from -1 to 1 at `SAMPLE_RATE_HZ`.
        f0_hz: (T,) pitch at t = k * `F0_HOP_S`; 0 where there is no voice.
    """

    samples: NDArray[np.float64]
    f0_hz: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Syllable:
    """Times in seconds: the consonant begins at ``start``, the vowel at ``onset``."""

    start: float
    onset: float
    end: float
    vowel: tuple[int, int, int]
    accent: float


def spoken(rng: np.random.Generator, num_syllables: int, mood: int) -> Clip:
    """Return a phrase of syllables.

    Args:
        rng: Source of randomness.
        num_syllables: At least one.
        mood: -1 speaks low, flat and slow, 1 high, lively and fast.
    """
    syllables = _rhythm(rng, num_syllables, mood)
    num = round((syllables[-1].end + 0.12) * SAMPLE_RATE_HZ)
    time = np.arange(num) / SAMPLE_RATE_HZ
    base_hz = float(rng.uniform(100, 210)) * (1 + 0.12 * mood)
    pitch = _pitch(time, syllables, base_hz, lively=2.5 + 1.5 * mood)
    voice = _voice_gain(time, syllables)
    sound = voice * _voiced(time, pitch, syllables) + 0.16 * _consonants(rng, time, syllables)
    sound += 0.0004 * rng.standard_normal(num)
    frames = np.round(np.arange(0, num, round(F0_HOP_S * SAMPLE_RATE_HZ))).astype(int)
    contour = np.where(voice[frames] > 0, pitch[frames], 0.0)
    return Clip(0.7 * sound / np.abs(sound).max(), contour)


def wav_bytes(samples: NDArray[np.float64]) -> bytes:
    """Return samples (N,) from -1 to 1 as a mono 16-bit WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def _rhythm(rng: np.random.Generator, number: int, mood: int) -> list[_Syllable]:
    syllables = []
    time = 0.1
    for index in range(number):
        consonant = float(rng.uniform(0.03, 0.07))
        vowel = float(rng.uniform(0.1, 0.2)) * (1 - 0.15 * mood)
        end = time + consonant + vowel
        formants = _VOWELS[int(rng.integers(len(_VOWELS)))]
        syllables.append(_Syllable(time, time + consonant, end, formants, float(rng.uniform(0, 1))))
        # A breath about every fifth syllable.
        time = end + (float(rng.uniform(0.15, 0.25)) if index % 5 == 4 else 0.0)
    return syllables


def _pitch(
    time: NDArray[np.float64], syllables: list[_Syllable], base_hz: float, lively: float
) -> NDArray[np.float64]:
    """Return F0 in Hz (N,): it falls over the phrase and rises on accents, in semitones."""
    semitones = 2.0 - 4.0 * time / time[-1]
    for syllable in syllables:
        middle = (syllable.onset + syllable.end) / 2
        semitones += lively * syllable.accent * np.exp(-(((time - middle) / 0.09) ** 2))
    return base_hz * 2 ** (semitones / 12)


def _voice_gain(time: NDArray[np.float64], syllables: list[_Syllable]) -> NDArray[np.float64]:
    gain = np.zeros_like(time)
    for syllable in syllables:
        inside = (time >= syllable.onset) & (time < syllable.end)
        share = (time[inside] - syllable.onset) / (syllable.end - syllable.onset)
        gain[inside] = np.sin(np.pi * np.clip(share, 1e-3, 1)) ** 0.6 * (
            0.7 + 0.3 * syllable.accent
        )
    return gain


def _voiced(
    time: NDArray[np.float64], pitch: NDArray[np.float64], syllables: list[_Syllable]
) -> NDArray[np.float64]:
    """Return the sum of all harmonics below `_HIGHEST_HZ`, each as loud as the formants say."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE_HZ
    middles = [(syllable.onset + syllable.end) / 2 for syllable in syllables]
    tracks = [
        np.interp(time, middles, [float(syllable.vowel[index]) for syllable in syllables])
        for index in range(3)
    ]
    total = np.zeros_like(time)
    for harmonic in range(1, int(_HIGHEST_HZ / pitch.min()) + 1):
        frequency = harmonic * pitch
        gain = sum(
            1.0 / (1 + ((frequency - track) / width) ** 2) / (1 + index)
            for index, (track, width) in enumerate(zip(tracks, _BANDWIDTHS, strict=True))
        )
        audible = frequency < _HIGHEST_HZ
        total += audible * (gain + 0.02) / harmonic**0.6 * np.sin(harmonic * phase)
    return total


def _consonants(
    rng: np.random.Generator, time: NDArray[np.float64], syllables: list[_Syllable]
) -> NDArray[np.float64]:
    """Return bursts of high-passed noise before each vowel (N,)."""
    hiss = np.diff(rng.standard_normal(len(time) + 1))
    gain = np.zeros_like(time)
    for syllable in syllables:
        inside = (time >= syllable.start) & (time < syllable.onset)
        share = (time[inside] - syllable.start) / (syllable.onset - syllable.start)
        gain[inside] = np.sin(np.pi * share)
    return gain * hiss
