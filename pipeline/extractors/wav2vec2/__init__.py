"""Frames of a wav2vec 2.0 encoder: one vector every 20 ms of speech.

Feature: ``wav2vec2`` (N, width), ragged, a row every 320 samples at 16 kHz; row ``i`` sees 400
samples from sample ``320 * i`` on, and is placed in their middle. A recording shorter than 400
samples is filled with zeros to one row. Baevski et al., wav2vec 2.0, NeurIPS 2020.

The whole recording is brought to zero mean and unit variance where the network was trained so. A
recording longer than ``block_s`` is computed in blocks that overlap by ``context_s`` on both sides,
so that memory stays bounded; its rows attend to their own block only. A sample that is an interval
of a recording is cut out of the rows of the whole, see `media.clips`: its rows have heard what was
said around it.

``L`` samples, ``N`` rows, ``D`` width.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...config import StageConfig
from ...errors import WeightsError
from ...media.audio import AUDIO_POLICY, Channel, Recording
from ...media.clips import Clip, ClipReader, Shared
from ...records import FeatureSpec, Row
from ...stage import BaseStage, Resources
from ...weights import entry, identity_of, identity_of_folder, locate
from .._device import DeviceName, resources_for, seeded_identity, untrained_warning
from .._packages import require
from ..bert.encoder import check_layer, files_of
from .network import (
    HOP,
    UNTRAINED,
    WINDOW,
    Network,
    normalises,
    num_frames,
    shape_of,
    trained_network,
    untrained_network,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...records import Value

RATE = 16_000
HOP_S = HOP / RATE
# The middle of the first 400 samples.
T0_S = (WINDOW - 1) / 2 / RATE
# The shortest spread that is brought to one, as the published preprocessing has it.
_LEAST_VARIANCE = 1e-7
_STATISTICS_SAMPLES = 1 << 20


class Config(StageConfig):
    """Which network, and how long recordings are cut.

    Attributes:
        model: Name in the catalogue of weights; with ``folder`` only a label.
        folder: A folder that holds a model of your own, saved with `save_pretrained`.
        layer: Hidden state to store: -1 the last, 0 what enters the first layer.
        block_s: Longer recordings are computed in blocks of this length.
        context_s: Sound on both sides that a block's rows may attend to.
        channel: Of recordings with several channels, the first or the mean.
        dtype: Stored type; computing is in float32.
        allow_untrained: Build the architecture ``untrained_size`` with random weights from
            ``seed`` instead of reading any.
        disk_above_s: Longer recordings keep their signal in a temporary file.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset(
        {"batch_size", "device", "folder", "disk_above_s"}
    )

    model: str = Field(default="wav2vec2-base-960h", min_length=1)
    folder: str | None = None
    layer: int = -1
    block_s: float = Field(default=30.0, ge=1, le=600)
    context_s: float = Field(default=5.0, ge=0, le=60)
    channel: Channel = "first"
    dtype: Literal["float16", "float32"] = "float16"
    allow_untrained: bool = False
    untrained_size: Literal["base", "small", "tiny"] = "small"
    seed: int = Field(default=0, ge=0)
    device: DeviceName = "auto"
    disk_above_s: float = Field(default=300.0, gt=0)
    batch_size: int = Field(default=4, ge=1)


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile: ``paper`` weights, or ``offline`` without any."""
    return {"model": "wav2vec2-base-960h"} if name == "paper" else {"allow_untrained": True}


def tiny() -> dict[str, Any]:
    """Return a configuration for contract tests: no weights, a network of two small layers."""
    return {"allow_untrained": True, "untrained_size": "tiny", "seed": 1, "device": "cpu"}


class Extractor(BaseStage[Config, Clip]):
    """Speech to frames of a self-supervised encoder."""

    NAME = "wav2vec2"
    VERSION = 1
    LIBRARIES = ("torch", "transformers", "scipy", "soundfile")
    CITATION = "Baevski et al. 2020, wav2vec 2.0"

    def outputs(self) -> tuple[FeatureSpec, ...]:
        """Return the one feature; the width comes from the model's own configuration."""
        shape, dtype = (None, self._architecture["hidden_size"]), self.config.dtype
        return (FeatureSpec("wav2vec2", "audio", shape, dtype, HOP_S, T0_S),)

    def identity(self) -> Mapping[str, Any]:
        """Return digests of the weights, or the seed, and how recordings are decoded."""
        require("torch", "transformers", "soundfile")
        check_layer(self.config.layer, self._architecture["num_hidden_layers"])
        return {"weights": self._weights(), "audio_policy": AUDIO_POLICY}

    def _weights(self) -> dict[str, Any]:
        config = self.config
        if config.allow_untrained:
            return seeded_identity(config.seed, self._architecture)
        if config.folder is not None:
            folder = Path(config.folder)
            extra = [path for path in [folder / "preprocessor_config.json"] if path.is_file()]
            return identity_of_folder(config.model, [*files_of(folder), *extra])
        known = entry(config.model)
        if known.kind != "transformers":
            raise WeightsError(f"weights '{config.model}' are of kind {known.kind}, not an encoder")
        return identity_of(known)

    @functools.cached_property
    def _architecture(self) -> dict[str, int]:
        if self.config.allow_untrained:
            return UNTRAINED[self.config.untrained_size]
        return shape_of(self._folder())

    def _folder(self) -> Path:
        if self.config.folder is not None:
            return Path(self.config.folder)
        return locate(self.config.model)

    def warnings(self) -> tuple[str, ...]:
        """Say so when the weights are random."""
        if not self.config.allow_untrained:
            return ()
        name = f"wav2vec 2.0 ({self.config.untrained_size})"
        return (untrained_warning(self.NAME, name, self.config.seed),)

    def resources(self) -> Resources:
        """Return about what a base model and one block take."""
        return resources_for(self.config.device, memory_gb=3.0)

    def open(self) -> None:
        """Load the network."""
        config = self.config
        check_layer(config.layer, self._architecture["num_hidden_layers"])
        if config.allow_untrained:
            made = untrained_network(config.untrained_size, config.seed)
            self._normalises = True
        else:
            made = trained_network(self._folder())
            self._normalises = normalises(self._folder())
        self._network = Network(made, config.layer, config.device)
        self._reader = ClipReader(RATE, config.channel, config.disk_above_s)
        self._heard: Shared[NDArray[Any]] = Shared(1)

    def load(self, row: Row) -> Clip:
        """Return the row's recording at 16 kHz and which part of it the row is."""
        return self._reader.load(row)

    def compute(self, items: Sequence[Clip]) -> Sequence[Mapping[str, Value]]:
        """Return the frames of recordings and clips, one after another."""
        return [{"wav2vec2": self._frames(item)} for item in items]

    def _frames(self, item: Clip) -> NDArray[Any]:
        if item.whole:
            return self._hear(item.recording)
        whole = self._heard.get(item.recording, lambda: self._hear(item.recording))
        return whole[item.rows(len(whole), (WINDOW - 1) // 2, HOP)].copy()

    def _hear(self, recording: Recording) -> NDArray[Any]:
        """Return the frames ``(N, D)`` of a whole recording, block after block."""
        from ..covarep.blocks import release

        samples, config = recording.samples, self.config
        mean, spread = _statistics(samples) if self._normalises else (0.0, 1.0)
        rows = num_frames(len(samples))
        found = np.empty((rows, self._architecture["hidden_size"]), config.dtype)
        block, context = int(config.block_s * RATE) // HOP, int(config.context_s * RATE) // HOP
        for low in range(0, rows, block):
            high = min(low + block, rows)
            first, last = max(low - context, 0), min(high + context, rows)
            # What follows the last row is heard by the layer that normalises over time.
            end = len(samples) if last == rows else (last - 1) * HOP + WINDOW
            sound = samples[first * HOP : end]
            scaled = np.zeros(max(len(sound), WINDOW), dtype=np.float32)
            scaled[: len(sound)] = (sound - mean) / spread
            found[low:high] = self._network.hidden(scaled)[low - first :][: high - low]
            release(samples)
        return found


def _statistics(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation of a recording of any length."""
    starts = range(0, len(samples), _STATISTICS_SAMPLES)
    blocks = [slice(start, start + _STATISTICS_SAMPLES) for start in starts]
    mean = sum(float(samples[block].sum()) for block in blocks) / len(samples)
    square = sum(float(((samples[block] - mean) ** 2).sum()) for block in blocks) / len(samples)
    return mean, float(np.sqrt(square + _LEAST_VARIANCE))
