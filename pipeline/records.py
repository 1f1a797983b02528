"""The few types that every part of the pipeline speaks.

`SourceRow` is what a dataset reader yields; `Sample` is what the samples table holds after media
were hashed, groups were found and splits were made; `FeatureSpec` and `TableSpec` say what a stage
writes; `Row` is what a stage is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .errors import ConfigError, RowError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_NAME = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")
LabelValue = int | float | str | list[int] | list[float] | None
SampleStatus = Literal["ok", "missing_file", "decode_error", "bad_row", "duplicate_row", "dropped"]
RowStatus = Literal["ok", "absent", "failed"]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a dataset's label file, as its reader understood it.

    Attributes:
        key: Unique in the dataset and stable: the full file name or the dataset's own id. Never an
            index, never a text before the first dot.
        text: Raw text, empty when there is none. Never NaN.
        image: Path below the dataset root, or a URI; None when the sample has no image.
        audio: The same for audio.
        start_s, end_s: Where the sample is an interval of its recording: seconds from its
            beginning; None is the recording's own beginning or end.
        split: ``train``, ``val`` or ``test`` where the dataset says so; None to be generated.
        labels: Task name to class index, list of class indices, float, or None when absent.
        labels_raw: Original column to original string.
        status: ``bad_row``, ``duplicate_row`` and ``dropped`` come from readers; media statuses are
            found later.
        reason: Why the status is not ``ok``; what was got and what was expected.
        flags: Findings that do not make the row unusable, for example ``no_text``.
        origin: File and line, for example ``labels.csv:17``.
        extra: Anything else worth keeping (spans, URLs), JSON values only.
    """

    key: str
    text: str = ""
    image: str | None = None
    audio: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    split: str | None = None
    labels: Mapping[str, LabelValue] = field(default_factory=dict)
    labels_raw: Mapping[str, str] = field(default_factory=dict)
    status: SampleStatus = "ok"
    reason: str = ""
    flags: tuple[str, ...] = ()
    origin: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of the samples table.

    ``source`` is the key of the sample this one was augmented from; an augmented sample is always
    in ``train`` and in its source's group. ``group`` joins near-duplicates. ``image_sha256`` and
    ``audio_sha256`` are the digests of the files as they were ingested: what is read later must be
    the same bytes. ``start_s`` and ``end_s`` are seconds into the recording where the sample is a
    part of it; `media.clips` says what belongs to the part.
    """

    key: str
    split: str
    text: str = ""
    image: str | None = None
    audio: str | None = None
    labels: Mapping[str, LabelValue] = field(default_factory=dict)
    source: str | None = None
    group: str = ""
    status: SampleStatus = "ok"
    reason: str = ""
    flags: tuple[str, ...] = ()
    image_sha256: str | None = None
    audio_sha256: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """A feature: one array per sample.

    Attributes:
        name: For example ``bert`` or ``regions.boxes``.
        modality: ``text``, ``image`` or ``audio``.
        shape: Per sample; None marks the ragged axis, which must be the first:
            ``(512,)``, ``(None, 768)``, ``(100, 2048)``.
        dtype: NumPy name, for example ``float16``.
        hop_s, t0_s: Time base of the ragged axis in seconds, where there is one.
        compression: Parquet codec for the value column; dense embeddings do not compress.
        columns: Names of the last axis, where they have names.
    """

    name: str
    modality: Literal["text", "image", "audio"]
    shape: tuple[int | None, ...]
    dtype: str = "float16"
    hop_s: float | None = None
    t0_s: float | None = None
    compression: Literal["none", "zstd", "lz4"] = "none"
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            message = f"'{self.name}' cannot name a feature"
            raise ConfigError(message, "use letters, digits, '_', '-' and single dots")
        fixed = self.shape[1:] if self.ragged else self.shape
        if any(size is None or size < 1 for size in fixed):
            message = f"feature '{self.name}' has shape {self.shape}"
            raise ConfigError(message, "sizes are at least 1, and only the first axis may be None")

    @property
    def ragged(self) -> bool:
        """Whether the first axis has a length of its own per sample."""
        return bool(self.shape) and self.shape[0] is None

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON, stable between versions."""
        return {
            "name": self.name,
            "modality": self.modality,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "hop_s": self.hop_s,
            "t0_s": self.t0_s,
            "compression": self.compression,
            "columns": list(self.columns),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> FeatureSpec:
        """Return the spec that `to_json` wrote."""
        names = {**value, "shape": tuple(value["shape"]), "columns": tuple(value["columns"])}
        return FeatureSpec(**names)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table: several columns per sample, for stages whose result is not one array.

    Attributes:
        name: The stage's name.
        schema: Arrow schema of the value columns. ``key``, ``status`` and ``reason`` are added.
    """

    name: str
    schema: pa.Schema


OutputSpec = FeatureSpec | TableSpec

_CHILD_MARK = "~p"


def child_key(source: str, index: int) -> str:
    """Return the key of the augmented sample number ``index`` made from ``source``."""
    return f"{source}{_CHILD_MARK}{index}"


def source_key(key: str) -> str:
    """Return the key of the sample that an augmented sample was made from; else the key itself."""
    source, mark, index = key.rpartition(_CHILD_MARK)
    return source if mark and index.isdecimal() else key


@dataclass(frozen=True, slots=True)
class Failure:
    """In place of a value: this output of this row failed, or is absent."""

    code: str
    message: str
    hint: str = ""
    status: Literal["absent", "failed"] = "failed"

    @staticmethod
    def of(error: BaseException) -> Failure:
        """Return the failure that describes ``error``."""
        from .errors import RowAbsent

        if isinstance(error, RowAbsent):
            return Failure(error.code, error.message, error.hint, "absent")
        if isinstance(error, RowError):
            return Failure(error.code, error.message, error.hint)
        if isinstance(error, MemoryError):
            return Failure("out_of_memory", str(error) or "out of memory", "lower the batch size")
        name = type(error).__name__
        return Failure("unexpected_error", f"{name}: {error}", "please report this")


if TYPE_CHECKING:
    Value = np.ndarray | Mapping[str, Any] | Failure


@dataclass(frozen=True, slots=True)
class Row:
    """What a stage is given for one sample.

    Attributes:
        sample: The sample itself (an augmented one where the node's rows are augmented).
        root: Folder that media paths are confined to.
        upstream: For each node read: its columns for this row, or why there are none.
    """

    sample: Sample
    root: Path
    upstream: Mapping[str, Mapping[str, Any] | Failure] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Key of the sample."""
        return self.sample.key

    def read(self, name: str) -> Mapping[str, Any]:
        """Return the columns that the stage ``name`` wrote for this row.

        Raises:
            RowError: ``upstream_failed`` with the original cause when that stage failed here.
        """
        value = self.upstream[name]
        if not isinstance(value, Failure):
            return value
        from .errors import RowAbsent

        if value.status == "absent":
            raise RowAbsent(value.code, value.message, value.hint)
        code = value.code if value.code.startswith("upstream_") else f"upstream_{value.code}"
        raise RowError(code, f"{name}: {value.message}", value.hint)
