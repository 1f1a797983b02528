"""MultiOFF: offensive memes, three CSV files with official splits and one picture folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import SourceRow
from ._csv import open_table
from ._images import ImageFolders
from ._marks import Keys, bad_row, below, find_base, guarded, media_path, plain, text_of, wrong

VERSION = 1

_FILES = {
    "train": "Training_meme_dataset.csv",
    "val": "Validation_meme_dataset.csv",
    "test": "Testing_meme_dataset.csv",
}
_LABELS = "Split Dataset"
_PICTURES = "Labelled Images"
_COLUMNS = ("image_name", "sentence", "label")
_FOLDERS = ("MultiOFF_Dataset", "MultiOFF", "multioff")


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the three split files: train, val, test.

    Raises:
        MissingFiles: Naming those that are missing.
    """
    base = _base(root)
    folder = base / _LABELS if (base / _LABELS).is_dir() else base
    missing = [name for name in _FILES.values() if not (folder / name).is_file()]
    if missing:
        lines = [f"{_LABELS}/{name} (beside the folder '{_PICTURES}')" for name in missing]
        raise MissingFiles(manifest.name, lines, manifest.obtain)
    return [folder / name for name in _FILES.values()]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield the rows of the three splits.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: A file lacks a column.
    """
    keys = Keys()
    pictures = ImageFolders(root, [media_path(below(root, _base(root)), _PICTURES)])
    for split, path in zip(_FILES, label_files(root, manifest), strict=True):
        for row in _rows(path, split, pictures):
            yield keys.admit(row)


def _base(root: Path) -> Path:
    inner = [f"{_LABELS}/{name}" for name in _FILES.values()]
    return find_base(root, _FOLDERS, [*inner, *_FILES.values()])


def _rows(path: Path, split: str, pictures: ImageFolders) -> Iterator[SourceRow]:
    with open_table(path, wanted=_COLUMNS) as table:
        header = [plain(name) for name in table.header]
        lacking = [name for name in _COLUMNS if name not in header]
        if lacking:
            raise DatasetError(
                f"{path.name}: no column {', '.join(lacking)}; it has {', '.join(table.header)}",
                f"expected {', '.join(_COLUMNS)}",
            )
        for record in table.records:
            origin = f"{path.name}:{record.line}"
            if record.problem:
                yield bad_row(origin, record.problem)
                continue
            cells = dict(zip(header, record.fields, strict=False))
            yield _guarded_row(cells, origin, split, pictures)


def _guarded_row(
    cells: Mapping[str, str], origin: str, split: str, pictures: ImageFolders
) -> SourceRow:
    name = cells["image_name"].strip()
    return guarded(origin, name, lambda: _row(cells, name, origin, split, pictures))


def _row(
    cells: Mapping[str, str], name: str, origin: str, split: str, pictures: ImageFolders
) -> SourceRow:
    if not name:
        raise wrong("image_name is empty, expected a file name")
    text, flags = text_of(cells["sentence"])
    return SourceRow(
        key=name,
        text=text,
        image=pictures.find(name),
        split=split,
        labels={"offensive": _label(cells["label"])},
        labels_raw={"label": cells["label"]},
        flags=flags,
        origin=origin,
    )


def _label(value: str) -> int:
    """Return 0 for whatever begins with "non" (the files say ``Non-offensiv``), 1 for offensive."""
    word = plain(value)
    if word.startswith("non"):
        return 0
    if word.startswith("offensiv"):
        return 1
    raise wrong(f"label: got '{value}', expected one of Non-offensiv, offensive")
