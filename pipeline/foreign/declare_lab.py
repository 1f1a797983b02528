"""A folder of tables with one vector per utterance: CMU-MOSI as declare-lab published it.

``<split>/utterances.csv`` (id, video_id, utterance, text, label) and, row by row beside it without
a header, ``text.csv``, ``audio.csv`` and ``video.csv``, whose last column repeats the label. Rows
are joined by position because the tables hold no id: every repeated label has to agree.

The files divide the videos in their own way, not the published folds. Splits that are not in the
folder are made out of ``train`` by video.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DatasetError
from ..manifest import Splits, Task
from ..records import FeatureSpec, SourceRow
from ._parsed import ForeignFeature, Options, Parsed, finite
from ._sequences import MODALITIES, count_treated

VERSION = 1
FOLDER = True
NAMES_MATTER = True
SUFFIXES = (".csv",)
TABLES = {"text": "text.csv", "audio": "audio.csv", "vision": "video.csv"}
UTTERANCES = "utterances.csv"
_FIELDS = ("id", "video_id", "text", "label")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_CLASSES = ("negative", "positive")


def read(files: Sequence[Path], options: Options) -> Parsed:
    """Return the utterances of all splits in the files' folders.

    Raises:
        DatasetError: A table is missing, or the tables disagree.
    """
    folders = sorted({path.parent for path in files}, key=lambda folder: folder.name)
    unknown = [folder.name for folder in folders if folder.name not in _SPLITS]
    if unknown:
        known = ", ".join(_SPLITS)
        raise DatasetError(f"unknown split folder {', '.join(unknown)}", f"known: {known}")
    folders.sort(key=lambda folder: ("train", "val", "test").index(_SPLITS[folder.name]))
    tables = [_utterances(folder) for folder in folders]
    here = {_SPLITS[folder.name] for folder in folders}
    made = [split for split in ("val", "test") if split not in here]
    rows: list[SourceRow] = []
    for folder, table in zip(folders, tables, strict=True):
        split = _SPLITS[folder.name]
        rows += [_row(line, None if made and split == "train" else split) for line in table]
    features = [_feature(name, folders, tables) for name in TABLES]
    groups = [line["video_id"] for table in tables for line in table]
    share = {"val": 0.1 if "val" in made else 0.0, "test": 0.2 if "test" in made else 0.0}
    notes = ["not the published folds of CMU-MOSI: never compare with numbers on those"]
    if made:
        notes.append(f"{' and '.join(made)} are made out of train, by video")
    tasks = {"polarity": Task(classes=_CLASSES, metric="accuracy")}
    policy = Splits(official=not made, val=share["val"], test=share["test"])
    return Parsed(rows, features, tasks, groups, policy, notes)


def _utterances(folder: Path) -> list[dict[str, str]]:
    path = folder / UTTERANCES
    if not path.is_file():
        raise DatasetError(f"'{folder.name}/{UTTERANCES}' is not there", "ids and labels are in it")
    with open(path, newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    lacking = [name for name in _FIELDS if not table or name not in table[0]]
    if lacking:
        raise DatasetError(f"{folder.name}/{path.name} lacks the columns {', '.join(lacking)}")
    return table


def _row(line: dict[str, str], split: str | None) -> SourceRow:
    label = line["label"].strip()
    known = label in {"0", "1"}
    return SourceRow(
        line["id"],
        text=line["text"],
        split=split,
        labels={"polarity": int(label) if known else None},
        labels_raw={"label": label},
        flags=() if known else ("label_out_of_range",),
        origin=f"{UTTERANCES} {line['id']}",
        extra={"video": line["video_id"]},
    )


def _feature(
    name: str, folders: Sequence[Path], tables: Sequence[Sequence[dict[str, str]]]
) -> ForeignFeature:
    blocks = [
        _numbers(folder / TABLES[name], [line["label"] for line in table])
        for folder, table in zip(folders, tables, strict=True)
    ]
    if len({block.shape[1] for block in blocks}) > 1:
        widths = sorted({block.shape[1] for block in blocks})
        raise DatasetError(f"{TABLES[name]}: widths {widths} in the splits")
    values = np.concatenate(blocks)
    treated = count_treated(lambda row: values[row], len(values), "float32")
    spec = FeatureSpec(name, MODALITIES[name], (values.shape[1],), "float32")
    constant = int((values == values[:1]).all(axis=0).sum())
    facts = {"source_dtype": "text", "constant_columns": constant}
    return ForeignFeature(spec, lambda row: finite(values[row], "float32"), treated, facts)


def _numbers(path: Path, labels: Sequence[str]) -> np.ndarray:
    where = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        raise DatasetError(f"'{where}' is not there")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            values = np.array([[float(cell) for cell in line] for line in csv.reader(file) if line])
    except ValueError as error:
        raise DatasetError(f"{where}: {error}", "expected a table of numbers") from None
    if len(values) != len(labels):
        message = f"{where} has {len(values)} rows, {UTTERANCES} has {len(labels)}"
        raise DatasetError(message, "rows are joined by position, so they must be equal")
    if values.ndim != 2 or values.shape[1] < 2:
        raise DatasetError(f"{where}: expected numbers and the label in the last column")
    wrong = [row for row, label in enumerate(labels) if label and float(label) != values[row, -1]]
    if wrong:
        message = f"{where}: the label of row {wrong[0] + 1} is not that of {UTTERANCES}"
        raise DatasetError(message, "the tables are not of the same order")
    return values[:, :-1]
