"""COVAREP-style acoustic features: 74 columns every 10 ms, each of them computed.

Features: ``covarep`` (N, 74) float32 with the names of `columns.NAMES`; ``covarep.valid`` (N, 10)
uint8, for each group of columns whether it was measured near the row; ``covarep.facts`` (8,) about
the recording. A sample that is an interval of a recording is cut out of the columns of the whole,
see `media.clips`. F0 has values in unvoiced rows, to be masked with VUV; glottal columns are
interpolated across unvoiced gaps and are marked invalid there.

Two modes: ``default`` corrects the defects of the original, ``strict_covarep`` reproduces its
numbers. Where the original's F0 is a whole hertz chosen on bins one too low, the default delivers
it refined by 7/16 Hz at most (see `pitch`); every other column is computed from the whole
hertz in both modes. ``creak`` is a quantity of its own in both, see `creak`. Columns follow the
publications named in the files of this folder; Degottex, Kane, Drugman, Raitio, Scherer, COVAREP: a
collaborative voice analysis repository for speech technologies, ICASSP 2014.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ...config import StageConfig
from ...media.audio import AUDIO_POLICY, Channel, Recording
from ...media.clips import Clip, ClipReader, Shared
from ...records import FeatureSpec, Row
from ...stage import BaseStage, Resources
from .._packages import require
from . import external_creak
from .columns import FIRST, GROUPS, HOP, HOP_S, NAMES, RATE, T0_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...records import Value
    from .analysis import Analysis, Settings

FACTS = (
    "polarity",
    "median_f0_hz",
    "source_rate_hz",
    "source_channels",
    "seconds",
    "clipped_share",
    "repaired_share",
    "narrowband",
)


class Config(StageConfig):
    """How the columns are computed.

    Attributes:
        mode: ``default`` corrects defects, ``strict_covarep`` keeps them.
        rd_version: Which version of the original Rd follows in strict mode: 1.4.2 fits a conjugate.
        creak: ``h2h1-v1``, ``zeros``, or ``external``: read from ``creak_folder``.
        creak_folder: Creak probabilities of your own, see `external_creak`; a change of any file
            in it makes all rows stale.
        channel: Of recordings with several channels, the first or the mean.
        envelope_bins: Points of the spectrum the envelope is computed on.
        iaif_max_t0_s: Longest period of inverse filtering, which matters after gaps.
        mean_frames, deviation_frames: Averages of the phase distortion, in rows of 10 ms.
        seed: Of the random phases in strict mode.
        disk_above_s: Longer recordings keep their signals in temporary files.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size", "disk_above_s", "creak_folder"})

    mode: Literal["default", "strict_covarep"] = "default"
    rd_version: Literal["1.4.1", "1.4.2"] = "1.4.2"
    creak: Literal["h2h1-v1", "zeros", "external"] = "h2h1-v1"
    creak_folder: str | None = None
    channel: Channel = "first"
    envelope_bins: Literal[1024, 2048, 4096] = 1024
    iaif_max_t0_s: float | None = Field(default=None, gt=0.002)
    mean_frames: int = Field(default=25, ge=1, le=201)
    deviation_frames: int = Field(default=9, ge=1, le=201)
    seed: int = Field(default=0, ge=0)
    disk_above_s: float = Field(default=300.0, gt=0)
    batch_size: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _folder_where_it_is_read(self) -> Config:
        if (self.creak == "external") != (self.creak_folder is not None):
            raise ValueError("creak=external and creak_folder=FOLDER go together")
        return self


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile; the same for both, since nothing is learned."""
    return {}


def tiny() -> dict[str, Any]:
    """Return a configuration for contract tests."""
    return {"mode": "strict_covarep", "seed": 1}


@dataclass(frozen=True, slots=True)
class Speech:
    """A sample's part of a recording, and the creak the user brings for the whole of it."""

    clip: Clip
    creak: external_creak.Track | None = None


class Extractor(BaseStage[Config, Speech]):
    """Speech to voice quality, pitch, envelope and phase columns."""

    NAME = "covarep"
    VERSION = 3
    LIBRARIES = ("numpy", "scipy", "soundfile")
    CITATION = "Degottex et al. 2014, COVAREP"

    def outputs(self) -> tuple[FeatureSpec, ...]:
        """Return columns, validity per group of columns, and facts about the recording."""
        columns, groups = (None, len(NAMES)), (None, len(GROUPS))
        valid = "covarep.valid"
        return (
            FeatureSpec("covarep", "audio", columns, "float32", HOP_S, T0_S, columns=NAMES),
            FeatureSpec(valid, "audio", groups, "uint8", HOP_S, T0_S, "zstd", tuple(GROUPS)),
            FeatureSpec("covarep.facts", "audio", (len(FACTS),), "float32", columns=FACTS),
        )

    def identity(self) -> Mapping[str, Any]:
        """Return that nothing was learned, and how recordings are decoded."""
        require("scipy", "soundfile")
        facts = {
            "weights": {"kind": "none"},
            "audio_policy": AUDIO_POLICY,
            "rate_hz": RATE,
            "creak_kind": self.config.creak,
        }
        if self.config.creak_folder is not None:
            facts["creak_files"] = external_creak.digests(Path(self.config.creak_folder))
        return facts

    def resources(self) -> Resources:
        """Return what a worker needs, whatever the length of recordings."""
        return Resources(memory_gb=1.0)

    def settings(self) -> Settings:
        """Return the settings of the analysis."""
        from .analysis import Settings
        from .phase_distortion import Windows

        config = self.config
        strict = config.mode == "strict_covarep"
        longest = config.iaif_max_t0_s
        return Settings(
            strict=strict,
            rd_version=config.rd_version if strict else "1.4.1",
            creak="zeros" if config.creak == "external" else config.creak,
            envelope_step=4096 // config.envelope_bins,
            iaif_max_t0=None if longest is None else int(longest * RATE),
            windows=Windows(mean=config.mean_frames, deviation=config.deviation_frames),
            seed=config.seed,
        )

    def open(self) -> None:
        """Fill the tables of the glottal model."""
        from . import glottal_shape

        config = self.config
        self._settings = self.settings()
        self._reader = ClipReader(RATE, config.channel, config.disk_above_s)
        self._analyses: Shared[Analysis] = Shared(1)
        glottal_shape.prepare(self._settings.rd_version == "1.4.2")

    def load(self, row: Row) -> Speech:
        """Return the row's recording at 16 kHz and which part of it the row is."""
        clip = self._reader.load(row)
        folder = self.config.creak_folder
        if folder is None:
            return Speech(clip)
        return Speech(clip, external_creak.read_track(Path(folder), row.sample.audio or ""))

    def compute(self, items: Sequence[Speech]) -> Sequence[Mapping[str, Value]]:
        """Return the features of recordings and clips, one after another."""
        return [self._values(item) for item in items]

    def _values(self, item: Speech) -> dict[str, Value]:
        clip = item.clip
        if clip.whole:
            found = self._analyse(clip.recording)
        else:
            found = self._analyses.get(clip.recording, lambda: self._analyse(clip.recording))
        rows = clip.rows(len(found.features), FIRST - 1, HOP)
        features, valid = found.features[rows], found.valid[rows].astype(np.uint8)
        if not clip.whole:
            features = features.copy()
        if item.creak is not None:
            creak, known = external_creak.on_rows(item.creak, len(found.features))
            features[:, GROUPS["creak"]] = creak[rows, None]
            valid[:, list(GROUPS).index("creak")] = known[rows]
        facts = _facts(found, clip.recording)
        return {"covarep": features, "covarep.valid": valid, "covarep.facts": facts}

    def _analyse(self, recording: Recording) -> Analysis:
        from .analysis import analyse

        on_disk = recording.seconds > self.config.disk_above_s
        return analyse(recording.samples, self._settings, on_disk=on_disk)


def _facts(found: Analysis, recording: Recording) -> NDArray[np.float32]:
    """Return what is known about a recording; a clip has the facts of the whole."""
    facts = (
        found.polarity,
        found.median_f0 if np.isfinite(found.median_f0) else 0.0,
        recording.source_rate_hz,
        recording.source_channels,
        recording.seconds,
        recording.clipped_share,
        recording.repaired_share,
        recording.source_rate_hz < RATE,
    )
    return np.asarray(facts, dtype=np.float32)
