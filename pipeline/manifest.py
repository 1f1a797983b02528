"""Dataset manifests: what a dataset is, which files it has, which tasks and vocabularies.

Manifests are data only (YAML). The built-in ones lie in `data_manifests/`; a user's own is passed
by path and may name any reader, most often `table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from .config import Config
from .errors import ManifestError, UsageError, unknown_name

MANIFEST_FOLDER = Path(__file__).resolve().parent.parent / "data_manifests"
NOT_DATASETS = {"weights"}


class Task(Config):
    """One thing to predict.

    Attributes:
        kind: ``single`` (one class), ``multi`` (a set of classes), ``regression`` (a number),
            ``soft`` (a distribution over the classes).
        classes: Class names in code order; empty for regression. ``open`` vocabularies are built
            by the reader from the file and may be empty here.
        metric: The metric the dataset's owners report.
        range: Smallest and largest value of a regression label.
    """

    kind: Literal["single", "multi", "regression", "soft"] = "single"
    classes: tuple[str, ...] = ()
    metric: str = ""
    range: tuple[float, float] | None = None
    note: str = ""


class KnownFile(Config):
    """A file whose content is known; a different digest is reported, never refused."""

    name: str
    size: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    note: str = ""


class Splits(Config):
    """How samples without an official split are divided.

    Attributes:
        official: Whether the dataset brings splits of its own.
        val, test: Shares (0 to 1) of the rows without an official split.
        test_without_official: In place of ``test`` where no row is in an official test part, so
            that a release without it can be evaluated too.
        seed: Seed of the generated part.
        stratify: Task whose class shares are kept equal between the parts.
        group_by: What beside near-duplicates stays in one generated part: a field that the reader
            keeps beside each row, such as ``speaker``. Rows without it stand alone. Recordings of
            the same sentence are then no near-duplicates.
    """

    official: bool = False
    val: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.0, ge=0, lt=1)
    test_without_official: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 42
    stratify: str | None = None
    group_by: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _some_train(self) -> Splits:
        if self.val + max(self.test, self.test_without_official) >= 1:
            raise ValueError("val + test must be below 1")
        return self


class Columns(Config):
    """Column mapping of the `table` reader: our field to the user's column.

    ``start_s`` and ``end_s`` say that rows are intervals of the recordings in ``audio``: seconds
    from the beginning, an empty cell for the recording's own beginning or end. ``extra`` names
    further columns that are kept beside each row as text, such as ``{speaker: who}``.
    """

    key: str | None = None
    text: str | None = None
    image: str | None = None
    audio: str | None = None
    start_s: str | None = None
    end_s: str | None = None
    split: str | None = None
    labels: Mapping[str, str] = {}
    extra: Mapping[str, str] = {}

    @model_validator(mode="after")
    def _intervals_of_something(self) -> Columns:
        if self.audio is None and (self.start_s or self.end_s):
            raise ValueError("start_s and end_s cut recordings: map audio too")
        return self


class Table(Config):
    """Options of the `table` reader.

    Attributes:
        path: File below the root (or several); CSV, TSV, JSON lines or Parquet.
        delimiter: None to detect.
        encoding: None to try UTF-8 (with or without BOM), then cp1252.
        image_folder: Prefix put before image names, below the root.
        label_map: Task to original string to class name.
        split_map: Original split name to train, val or test.
    """

    path: str | tuple[str, ...]
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = "auto"
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: str | None = None
    image_folder: str = ""
    audio_folder: str = ""
    columns: Columns = Columns()
    label_map: Mapping[str, Mapping[str, str]] = {}
    split_map: Mapping[str, str] = {}


class Manifest(Config):
    """One dataset."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_\-]*$", max_length=64)
    title: str
    reader: str
    licence: str
    citation: str = ""
    homepage: str = ""
    obtain: str
    modalities: tuple[Literal["text", "image", "audio", "video"], ...] = ("text", "image")
    tasks: Mapping[str, Task] = {}
    vocabularies: Mapping[str, tuple[str, ...]] = {}
    known_files: tuple[KnownFile, ...] = ()
    splits: Splits = Splits()
    table: Table | None = None
    options: Mapping[str, Any] = {}
    warning: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.splits.stratify is not None and self.splits.stratify not in self.tasks:
            raise ValueError(f"splits.stratify names no task: {self.splits.stratify}")
        if self.reader == "table" and self.table is None:
            raise ValueError("reader 'table' needs a 'table' section")
        return self


def dataset_names() -> list[str]:
    """Return the names of the built-in datasets."""
    found = {path.stem for path in MANIFEST_FOLDER.glob("*.yaml")}
    return sorted(found - NOT_DATASETS)


def load_manifest(name_or_path: str) -> Manifest:
    """Return a manifest by built-in name or by path to a YAML file.

    Raises:
        UsageError: Neither a known name nor a file.
        ManifestError: The file does not validate.
    """
    path = Path(name_or_path)
    if path.suffix.lower() in {".yaml", ".yml"}:
        if not path.is_file():
            raise UsageError(f"there is no manifest file at '{name_or_path}'")
        return read_manifest(path)
    if name_or_path not in dataset_names():
        raise UsageError(unknown_name("dataset", name_or_path, dataset_names()))
    return read_manifest(MANIFEST_FOLDER / f"{name_or_path}.yaml")


def read_manifest(path: Path) -> Manifest:
    """Read and validate one manifest file.

    Raises:
        ManifestError: Naming the field at fault.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{path.name}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        raise ManifestError(f"{path.name}: expected a mapping, got {type(values).__name__}")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "manifest"
        known = sorted(Manifest.model_fields)
        hint = f"known keys: {', '.join(known)}" if problem["type"] == "extra_forbidden" else ""
        raise ManifestError(f"{path.name}: {field}: {problem['msg']}", hint) from None
