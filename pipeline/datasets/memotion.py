"""Memotion 1 (SemEval-2020 Task 8): 6,992 memes with five labels, and the test release.

Layouts accepted below ``root``, or with ``root`` being the folder itself:

- **kaggle**: ``memotion_dataset_7k/labels.csv`` and ``memotion_dataset_7k/images/``. Copies
  without the four emotion columns are read with those labels absent.
- **organisers**: ``data_7000_new.csv`` in any variant that circulates (raw or re-saved, with or
  without header) beside a folder of images.
- **test release**, read in addition where it is there: ``memotion_test_dataset_7k/`` or
  ``memotion_test_data/test_data/`` with ``2000_data/``, ``2000_testdata.csv`` and
  ``Meme_groundTruth.csv`` (or ``Meme_groundTruth .csv``); its rows are the split ``test``.

Options of the manifest: ``layout`` (``auto`` prefers kaggle, ``kaggle``, ``organisers``), ``test``
(whether to read the test release), ``images`` (folders below the root to look for images in,
before the usual ones).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..config import Config, parse
from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import LabelValue, SourceRow
from . import _memotion_organisers as organisers
from ._captions import choose_text
from ._csv import Record, open_table
from ._images import ImageFolders
from ._marks import Keys, bad_row, below
from ._memotion_labels import (
    COLUMNS,
    EMOTIONS,
    BadLabel,
    Vocabularies,
    label,
    parse_submission,
    refuse_foreign,
    vocabularies,
)

VERSION = 1

_HOME = "memotion_dataset_7k"
_TRAIN_FILES = {
    "kaggle": (f"{_HOME}/labels.csv", "labels.csv"),
    "organisers": ("data_7000_new.csv", f"{_HOME}/data_7000_new.csv"),
}
_TRAIN_IMAGES = {
    "kaggle": ("images",),
    "organisers": ("images", "data_7000", f"{_HOME}/images", ""),
}
_TEST_HOMES = ("memotion_test_dataset_7k", "memotion_test_data/test_data", "test_data", "")
_TEST_FILE = "2000_testdata.csv"
_TEST_IMAGES = "2000_data"
# Some copies have a blank before the dot.
_TRUTH_FILES = ("Meme_groundTruth.csv", "Meme_groundTruth .csv")
_TEST_FIELDS = 4


class Options(Config):
    """Options of the manifest.

    Attributes:
        layout: Which files give the training rows.
        test: Whether to read the test release where it is there.
        images: Folders below the root looked into before the usual ones.
    """

    layout: Literal["auto", "kaggle", "organisers"] = "auto"
    test: bool = True
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Files:
    layout: str
    train: Path
    test: Path | None
    truth: Path | None


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the files whose content decides the rows.

    Raises:
        MissingFiles: No training file, or only half of the test release.
        ConfigError: An option of the manifest is unknown.
    """
    files = _find(root, manifest)
    return [path for path in (files.train, files.test, files.truth) if path is not None]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield one row per record of the label files.

    Raises:
        MissingFiles: See `label_files`.
        DatasetError: A file is of another kind than its name says.
    """
    keys = Keys()
    return (keys.admit(row) for row in _rows(root, manifest))


def _rows(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    files = _find(root, manifest)
    vocabulary = vocabularies(manifest)
    home = below(root, files.train.parent)
    usual = [_join(home, folder) for folder in _TRAIN_IMAGES[files.layout]]
    images = ImageFolders(root, [*_options(manifest).images, *usual])
    rows = _kaggle if files.layout == "kaggle" else _organisers
    yield from refuse_foreign(rows(files.train, vocabulary, images), files.train.name)
    if files.test is not None:
        test_home = below(root, files.test.parent)
        test_images = ImageFolders(root, [_join(test_home, _TEST_IMAGES), test_home])
        yield from _test(files.test, files.truth, test_images)


# --- files -----------------------------------------------------------------------------------


def _options(manifest: Manifest) -> Options:
    return parse(Options, manifest.options, f"options of manifest '{manifest.name}'")


def _find(root: Path, manifest: Manifest) -> _Files:
    options = _options(manifest)
    layouts = ["kaggle", "organisers"] if options.layout == "auto" else [options.layout]
    for layout in layouts:
        train = _first_file(root, _TRAIN_FILES[layout])
        if train is not None:
            test, truth = _find_test(root, manifest) if options.test else (None, None)
            return _Files(layout, train, test, truth)
    names = " or ".join(_TRAIN_FILES[layout][0] for layout in layouts)
    missing = [f"{names} (labels and texts) below {root}"]
    if "kaggle" in layouts:
        missing.append(f"{_HOME}/images/ (6,992 images) below {root}")
    raise MissingFiles(manifest.name, missing, manifest.obtain)


def _find_test(root: Path, manifest: Manifest) -> tuple[Path | None, Path | None]:
    for home in _TEST_HOMES:
        test = _first_file(root / home, (_TEST_FILE,))
        truth = _first_file(root / home, _TRUTH_FILES)
        if test is None and truth is not None:
            missing = [f"{_join(home, _TEST_FILE)} (texts of the test release) below {root}"]
            raise MissingFiles(manifest.name, missing, manifest.obtain)
        if test is not None:
            return test, truth
    return None, None


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


# --- kaggle ----------------------------------------------------------------------------------


def _kaggle(path: Path, vocabulary: Vocabularies, images: ImageFolders) -> Iterator[SourceRow]:
    wanted = ("image_name", "text_ocr", "text_corrected", *COLUMNS)
    with open_table(path, wanted=wanted) as table:
        columns = {name.lower(): index for index, name in enumerate(table.header)}
        missing = [name for name in wanted if name not in columns and name not in EMOTIONS]
        if missing:
            raise DatasetError(
                f"{path.name} has no column {', '.join(missing)}; "
                f"its columns: {', '.join(name[:40] for name in table.header[:20])}",
                "expected the Kaggle file: comma-separated, with header",
            )
        for record in table.records:
            if record.problem:
                yield bad_row(f"{path.name}:{record.line}", record.problem)
                continue
            cells = {name: record.fields[index] for name, index in columns.items()}
            yield _labelled(f"{path.name}:{record.line}", cells, vocabulary, images)


def _labelled(
    origin: str, cells: Mapping[str, str], vocabulary: Vocabularies, images: ImageFolders
) -> SourceRow:
    key = cells["image_name"].strip()
    if not key:
        return bad_row(origin, "the image name is empty")
    text, flags = choose_text(cells["text_corrected"], cells["text_ocr"])
    row = SourceRow(
        key=key,
        text=text,
        image=images.find(key),
        flags=flags,
        origin=origin,
        extra=_extra(cells),
    )
    return label(row, {name: cells[name] for name in COLUMNS if name in cells}, vocabulary)


def _extra(cells: Mapping[str, str]) -> dict[str, str]:
    return {name: cells[name] for name in ("text_ocr", "text_corrected", "url") if name in cells}


# --- organisers ------------------------------------------------------------------------------


def _organisers(path: Path, vocabulary: Vocabularies, images: ImageFolders) -> Iterator[SourceRow]:
    for record in organisers.read_labelled(path):
        origin = f"{path.name}:{record.line}"
        if record.problem:
            yield bad_row(origin, record.problem)
            continue
        cells = dict(zip(organisers.FIELDS, record.fields, strict=True))
        yield _labelled(origin, cells, vocabulary, images)


# --- test release ----------------------------------------------------------------------------


def _test(path: Path, truth: Path | None, images: ImageFolders) -> Iterator[SourceRow]:
    answers, unusable = ({}, []) if truth is None else _answers(truth)
    asked = set()
    for record in _test_records(path):
        origin = f"{path.name}:{record.line}"
        key = "" if record.problem else record.fields[0].strip()
        if not key:
            yield bad_row(origin, record.problem or "the image name is empty")
            continue
        asked.add(key)
        cells = dict(zip(organisers.FIELDS, record.fields, strict=False))
        yield _answered(origin, cells, answers.get(key), images)
    for key, (origin, _) in answers.items():
        if key not in asked:
            unusable.append(bad_row(origin, f"'{key}' is not in {path.name}", key))
    yield from (replace(row, split="test") for row in unusable)


def _test_records(path: Path) -> Iterator[Record]:
    records = organisers.plain_records(path, _TEST_FIELDS)
    header = next(records, None)
    first = header.fields[0].strip().lower() if header else ""
    if header is None or header.problem or first != "image_name":
        raise DatasetError(
            f"{path.name} begins with '{first[:60]}' and {len(header.fields) if header else 0} "
            "fields",
            "expected the header Image_name, Image_URL, OCR_extracted_text, corrected_text",
        )
    return records


def _answers(path: Path) -> tuple[dict[str, tuple[str, str]], list[SourceRow]]:
    """Return image name to (origin, label string), and rows for the lines that give none."""
    answers: dict[str, tuple[str, str]] = {}
    unusable: list[SourceRow] = []
    with open_table(path, wanted=("Image_name", "Labels"), num_fields=2) as table:
        if [name.lower() for name in table.header] != ["image_name", "labels"]:
            raise DatasetError(
                f"{path.name} has the columns {', '.join(table.header[:10])}",
                "expected Image_name, Labels",
            )
        for record in table.records:
            origin = f"{path.name}:{record.line}"
            key = "" if record.problem else record.fields[0].strip()
            if not key:
                unusable.append(bad_row(origin, record.problem or "the image name is empty"))
            elif key in answers:
                reason = f"'{key}' was already answered at {answers[key][0]}"
                unusable.append(bad_row(origin, reason))
            else:
                answers[key] = (origin, record.fields[1])
    return answers, unusable


def _answered(
    origin: str, cells: Mapping[str, str], answer: tuple[str, str] | None, images: ImageFolders
) -> SourceRow:
    key = cells["image_name"].strip()
    text, flags = choose_text(cells["text_corrected"], cells["text_ocr"])
    extra: dict[str, object] = dict(_extra(cells))
    labels: dict[str, LabelValue] = {}
    reason = ""
    if answer is None or not answer[1].strip():
        flags = (*flags, "no_labels")
    else:
        try:
            labels, found, conflicts = parse_submission(answer[1])
        except BadLabel as error:
            reason = f"{answer[0]}: {error}"
        else:
            flags = (*flags, *found)
            if conflicts:
                extra["conflicting_emotions"] = conflicts
    return SourceRow(
        key=key,
        text=text,
        image=images.find(key),
        split="test",
        labels=labels,
        labels_raw={} if answer is None else {"Labels": answer[1]},
        status="bad_row" if reason else "ok",
        reason=reason,
        flags=flags,
        origin=origin,
        extra=extra,
    )
