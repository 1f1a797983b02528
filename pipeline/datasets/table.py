"""Any CSV, TSV, JSON-lines or Parquet file with the column mapping of its manifest.

Layout: the files of ``table.path`` below ``root``, images and audio below ``table.image_folder``
and ``table.audio_folder``. The key of a row is its ``key`` column; without one its image name as
the file gives it, else its audio name (``<name>@<start>-<end>`` where rows are intervals of a
recording), else ``<file>:<row number>``, which is stable only as long as the file is.

Intervals: ``start_s`` and ``end_s`` are cells in seconds from the beginning of the recording; an
empty cell is its beginning or its end.

Labels: ``single`` cells hold an original string of ``label_map``, a class name or, where the task
has no ``label_map``, a code; ``multi`` cells a list or a JSON list of these; ``regression`` cells a
number; ``soft`` cells a list with one number per class. An empty cell, null or NaN is an absent
label. In CSV and TSV every other cell is taken literally: ``NA`` and ``null`` are texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DatasetError, MissingFiles, RowError
from ..manifest import Columns, Manifest, Table
from ..media.paths import confine
from ..records import LabelValue, SourceRow
from ._captions import text_flags
from ._images import ImageFolders
from ._marks import Keys, bad_row, media_path, wrong
from ._table_files import RawRow, read_rows
from ._table_intervals import interval_of, interval_words
from ._table_labels import LabelReader, label_readers

VERSION = 1

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the files of ``table.path``.

    Raises:
        MissingFiles: One of them is not there.
        DatasetError: The manifest has no table, or a path leaves the root.
    """
    found, missing = [], []
    for name in _paths(_table(manifest)):
        try:
            found.append(confine(root, name))
        except RowError as error:
            if error.code == "path_outside_root":
                raise DatasetError(f"table.path: {error.message}", error.hint) from None
            missing.append(f"{name} (the table) below {root}: {error.message}")
    if missing:
        raise MissingFiles(manifest.name, missing, manifest.obtain)
    return found


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield one row per row of the files, in their order.

    Raises:
        MissingFiles: See `label_files`.
        DatasetError: A file or the mapping is not what the manifest says.
    """
    table = _table(manifest)
    labels = label_readers(manifest, table.columns.labels)
    maker = _RowMaker(root, table, labels)
    keys = Keys()
    columns = _mapped(table.columns)
    for path in label_files(root, manifest):
        for raw in read_rows(path, table, columns):
            yield keys.admit(maker.make(path, raw))


def _table(manifest: Manifest) -> Table:
    if manifest.table is None:
        raise DatasetError(
            f"manifest '{manifest.name}' has no table",
            "add a 'table' section with path and columns",
        )
    return manifest.table


def _paths(table: Table) -> tuple[str, ...]:
    return (table.path,) if isinstance(table.path, str) else table.path


def _mapped(columns: Columns) -> list[str]:
    media = (columns.image, columns.audio, columns.start_s, columns.end_s)
    fields = (columns.key, columns.text, *media, columns.split)
    names = [name for name in (*fields, *columns.labels.values()) if name is not None]
    names += columns.extra.values() if names else ()
    if not names:
        raise DatasetError("table.columns maps nothing", "map at least text, image or audio")
    return list(dict.fromkeys(names))


class _RowMaker:
    """Turns raw rows into source rows by the mapping of the manifest."""

    def __init__(self, root: Path, table: Table, labels: Mapping[str, LabelReader]) -> None:
        self._columns = table.columns
        self._labels = labels
        self._splits = dict(table.split_map) or _SPLITS
        wrong_splits = sorted(set(self._splits.values()) - {"train", "val", "test"})
        if wrong_splits:
            raise DatasetError(
                f"table.split_map leads to {', '.join(wrong_splits)}",
                "expected train, val or test",
            )
        self._images = ImageFolders(root, [table.image_folder.strip("/")])
        self._audio_folder = table.audio_folder.strip("/")

    def make(self, path: Path, raw: RawRow) -> SourceRow:
        origin = f"{path.name}:{raw.place}"
        if raw.problem:
            return bad_row(origin, raw.problem)
        key = ""
        try:
            key = self._key(path, raw)
            return self._row(key, origin, raw.cells)
        except RowError as error:
            return bad_row(origin, error.message, key)

    def _key(self, path: Path, raw: RawRow) -> str:
        names = self._columns
        if names.key is not None:
            key = _word(raw.cells[names.key], names.key)
            if not key:
                raise wrong(f"the key column '{names.key}' is empty")
            return key
        for column in (names.image, names.audio):
            if column is not None and (name := _word(raw.cells[column], column)):
                return name + interval_words(names, raw.cells)
        return f"{path.stem}:{raw.number}"

    def _row(self, key: str, origin: str, cells: Mapping[str, Any]) -> SourceRow:
        names = self._columns
        text = _text(cells[names.text]) if names.text else ""
        labels: dict[str, LabelValue] = {}
        labels_raw: dict[str, str] = {}
        for task, column in names.labels.items():
            labels[task] = self._labels[task].read(cells[column])
            labels_raw[column] = _text(cells[column])
        image = _word(cells[names.image], names.image) if names.image else ""
        audio = _word(cells[names.audio], names.audio) if names.audio else ""
        start_s, end_s = interval_of(names, cells) if audio else (None, None)
        return SourceRow(
            key=key,
            text=text,
            image=self._image(image) if image else None,
            audio=self._audio(audio) if audio else None,
            start_s=start_s,
            end_s=end_s,
            split=self._split(cells),
            labels=labels,
            labels_raw=labels_raw,
            flags=_flags(cells[names.text], text) if names.text else (),
            origin=origin,
            extra={name: _word(cells[column], column) for name, column in names.extra.items()},
        )

    def _image(self, name: str) -> str:
        return name if "://" in name else self._images.find(name)

    def _audio(self, name: str) -> str:
        return name if "://" in name else media_path(self._audio_folder, name)

    def _split(self, cells: Mapping[str, Any]) -> str | None:
        column = self._columns.split
        name = _word(cells[column], column) if column else ""
        if not name:
            return None
        found = self._splits.get(name, self._splits.get(name.lower()))
        if found is None:
            raise wrong(f"split is '{name[:80]}', expected one of {', '.join(self._splits)}")
        return found


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value)
    if not text.strip():
        return ""
    # Half a surrogate pair, which JSON can hold, cannot be stored.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _flags(value: Any, text: str) -> tuple[str, ...]:
    changed = isinstance(value, str) and bool(text) and text != value
    return (*text_flags(text), "bad_unicode") if changed else text_flags(text)


def _word(value: Any, column: str) -> str:
    """Return a name or id as text: 12.0 is 12, since a column with holes turns ids into floats."""
    if isinstance(value, (dict, list, bytes)):
        raise wrong(f"column '{column}' holds a {type(value).__name__}, expected a name")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _text(value).strip()
