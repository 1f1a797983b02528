"""Thirty-three spectral descriptors as in the CH-SIMS features: zero crossings, MFCC, chroma.

Feature: ``librosa`` (N, 33) float32, a row every ``hop`` samples, row ``i`` centred on sample
``hop * i``: the share of zero crossings, 20 mel-frequency cepstral coefficients and 12 pitch
classes of a constant-Q transform. Every column is what librosa computes with its own defaults.
Long recordings are processed in blocks; what librosa takes from the whole recording (the loudest
mel band, which limits the range of decibels, and the tuning) is taken from the whole recording
here too. Only the chroma of the first and last rows, whose filters reach beyond the ends of the
recording, differ a little. A sample that is an interval of a recording is cut out of it, see
`media.clips`.

McFee et al., librosa: audio and music signal analysis in Python, SciPy 2015; Yu et al., CH-SIMS,
ACL 2020, for the choice of columns.

``L`` samples, ``N`` rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from ..config import StageConfig
from ..media.audio import AUDIO_POLICY, Channel, Recording
from ..media.clips import Clip, ClipReader, Shared
from ..records import FeatureSpec, Row
from ..stage import BaseStage, Resources
from ._packages import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..records import Value

NUM_MFCC, NUM_CHROMA = 20, 12
_PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
COLUMNS = (
    "zero_crossing_rate",
    *(f"mfcc_{i}" for i in range(NUM_MFCC)),
    *(f"chroma_{name}" for name in _PITCH_CLASSES),
)
_WINDOW = 2048
# Rows of a block, and rows of sound on both sides that reach into it: half of the longest filter
# of the constant-Q transform lasts 0.8 s. Multiples of 64 rows, for it halves the rate six times.
_BLOCK, _CONTEXT = 2560, 128
# The tuning of recordings of more rows, some four minutes, is estimated from this many of them.
_TUNING_ROWS = 10_240
# Bins per octave of the constant-Q transform, and the range of decibels below the loudest.
_BINS_PER_OCTAVE, _RANGE_DB = 36, 80.0


class Config(StageConfig):
    """How the columns are computed.

    Attributes:
        rate_hz: Rate the recording is brought to.
        hop: Samples between rows; the transform halves the rate, so it is a multiple of 64.
        channel: Of recordings with several channels, the first or the mean.
        disk_above_s: Longer recordings keep their signal in a temporary file.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size", "disk_above_s"})

    rate_hz: int = Field(default=22_050, ge=16_000, le=48_000)
    hop: int = Field(default=512, ge=64, le=2048, multiple_of=64)
    channel: Channel = "first"
    disk_above_s: float = Field(default=300.0, gt=0)
    batch_size: int = Field(default=4, ge=1)


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile; the same for both, since nothing is learned."""
    return {}


def tiny() -> dict[str, Any]:
    """Return a configuration for contract tests."""
    return {}


class Extractor(BaseStage[Config, Clip]):
    """Recordings to spectral descriptors."""

    NAME = "librosa"
    VERSION = 1
    LIBRARIES = ("numpy", "scipy", "soundfile", "librosa", "soxr")
    CITATION = "McFee et al. 2015, librosa"

    def outputs(self) -> tuple[FeatureSpec, ...]:
        """Return the one feature."""
        shape, hop_s = (None, len(COLUMNS)), self.config.hop / self.config.rate_hz
        return (FeatureSpec("librosa", "audio", shape, "float32", hop_s, 0.0, columns=COLUMNS),)

    def identity(self) -> Mapping[str, Any]:
        """Return that nothing was learned, and how recordings are decoded."""
        require("librosa", "soundfile")
        return {"weights": {"kind": "none"}, "audio_policy": AUDIO_POLICY}

    def resources(self) -> Resources:
        """Return what a worker needs, whatever the length of recordings."""
        return Resources(memory_gb=1.0)

    def open(self) -> None:
        """Make room for recordings that clips share."""
        config = self.config
        self._reader = ClipReader(config.rate_hz, config.channel, config.disk_above_s)
        self._described: Shared[NDArray[np.float32]] = Shared(1)

    def load(self, row: Row) -> Clip:
        """Return the row's recording and which part of it the row is."""
        return self._reader.load(row)

    def compute(self, items: Sequence[Clip]) -> Sequence[Mapping[str, Value]]:
        """Return the columns of recordings and clips, one after another."""
        return [{"librosa": self._columns(item)} for item in items]

    def _columns(self, item: Clip) -> NDArray[np.float32]:
        if item.whole:
            return self._describe(item.recording)
        whole = self._described.get(item.recording, lambda: self._describe(item.recording))
        return whole[item.rows(len(whole), 0, self.config.hop)].copy()

    def _describe(self, recording: Recording) -> NDArray[np.float32]:
        return describe(recording.samples, recording.rate_hz, self.config.hop)


def describe(samples: NDArray[np.float64], rate_hz: int, hop: int) -> NDArray[np.float32]:
    """Return the columns of a recording.

    Args:
        samples: ``(L,)``, finite.
        rate_hz: Their rate.
        hop: Samples between rows.

    Returns:
        ``(1 + L // hop, 33)``, finite.
    """
    rows = 1 + len(samples) // hop
    result = np.zeros((rows, len(COLUMNS)), dtype=np.float32)
    loudest = 0.0
    for block in _blocks(samples, rows, hop):
        loudest = max(loudest, float(_mel_power(block, rate_hz, hop).max(initial=0.0)))
    tuning = _tuning(samples, rows, rate_hz, hop)
    for block in _blocks(samples, rows, hop):
        part = result[block.low : block.high]
        part[:, 0] = _zero_crossings(samples, block, hop)
        part[:, 1 : 1 + NUM_MFCC] = _mfcc(block, rate_hz, hop, loudest)
        part[:, 1 + NUM_MFCC :] = _chroma(block, rate_hz, hop, tuning)
    return result


class _Block:
    """Rows ``low`` to ``high`` with the sound around them, zeros beyond the recording.

    Attributes:
        sound: Samples from `_CONTEXT` rows before row ``low`` on.
    """

    def __init__(self, samples: NDArray[np.float64], low: int, high: int, hop: int) -> None:
        self.low, self.high = low, high
        # A whole number of rows after each halving of the rate.
        rows = -(-(high - low) // 64) * 64 + 2 * _CONTEXT
        start = (low - _CONTEXT) * hop
        self.sound = np.zeros(rows * hop, dtype=np.float32)
        inside = samples[max(start, 0) : start + len(self.sound)]
        self.sound[max(-start, 0) :][: len(inside)] = inside

    def rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the block's own columns ``(K, high - low)`` of ``values`` over all the sound."""
        return values[:, _CONTEXT : _CONTEXT + self.high - self.low]


def _blocks(samples: NDArray[np.float64], rows: int, hop: int) -> Iterator[_Block]:
    from .covarep.blocks import release

    for low in range(0, rows, _BLOCK):
        yield _Block(samples, low, min(low + _BLOCK, rows), hop)
        release(samples)


def _zero_crossings(
    samples: NDArray[np.float64], block: _Block, hop: int
) -> NDArray[np.floating[Any]]:
    """Return the share of zero crossings per row; beyond its ends a recording stays constant."""
    from librosa.feature import zero_crossing_rate

    half = _WINDOW // 2
    start, stop = block.low * hop - half, (block.high - 1) * hop + half
    sound = np.zeros(_WINDOW)
    inside = samples[max(start, 0) : stop]
    if len(samples):
        widths = (max(-start, 0), stop - start - len(inside) - max(-start, 0))
        sound = np.pad(inside, widths, mode="edge")
    found = zero_crossing_rate(sound, frame_length=_WINDOW, hop_length=hop, center=False)
    return np.asarray(found[0])


def _mel_power(block: _Block, rate_hz: int, hop: int) -> NDArray[np.float32]:
    """Return the power of 128 mel bands, ``(128, high - low)``."""
    from librosa.feature import melspectrogram

    power = melspectrogram(y=block.sound, sr=rate_hz, n_fft=_WINDOW, hop_length=hop)
    return np.asarray(block.rows(power))


def _mfcc(block: _Block, rate_hz: int, hop: int, loudest: float) -> NDArray[np.float32]:
    """Return MFCC ``(high - low, 20)`` of decibels limited below the loudest of the recording."""
    import librosa

    power = _mel_power(block, rate_hz, hop)
    level = librosa.power_to_db(power, top_db=None)
    highest = librosa.power_to_db(np.asarray([loudest], dtype=np.float32), top_db=None)[0]
    level = np.maximum(level, highest - _RANGE_DB)
    return np.asarray(librosa.feature.mfcc(S=level, n_mfcc=NUM_MFCC).T)


def _tuning(samples: NDArray[np.float64], rows: int, rate_hz: int, hop: int) -> float:
    """Return how far the recording's pitches lie from A4 = 440 Hz, in bins; 0 without any."""
    import librosa

    pitches, sizes = [], []
    stride = -(-rows // _TUNING_ROWS)
    for block in _blocks(samples, rows, hop):
        pitch, size = librosa.piptrack(y=block.sound, sr=rate_hz, n_fft=_WINDOW, hop_length=hop)
        used = np.arange(block.low, block.high) % stride == 0
        pitch, size = block.rows(pitch)[:, used], block.rows(size)[:, used]
        pitches.append(pitch[pitch > 0])
        sizes.append(size[pitch > 0])
    pitch, size = np.concatenate(pitches), np.concatenate(sizes)
    if len(pitch) == 0:
        return 0.0
    clear = pitch[size >= np.median(size)]
    return float(librosa.pitch_tuning(clear, bins_per_octave=_BINS_PER_OCTAVE))


def _chroma(block: _Block, rate_hz: int, hop: int, tuning: float) -> NDArray[np.float32]:
    """Return pitch classes ``(high - low, 12)``, the strongest of each row 1; zeros in silence."""
    from librosa.feature import chroma_cqt

    if not block.sound.any():
        return np.zeros((block.high - block.low, NUM_CHROMA), dtype=np.float32)
    found = chroma_cqt(y=block.sound, sr=rate_hz, hop_length=hop, tuning=tuning)
    return np.asarray(block.rows(found).T)
