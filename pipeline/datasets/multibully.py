"""MultiBully: cyberbullying in Hindi-English memes.

Two sources, read together where both are there and joined by picture name:

- the authors' pickles ``data-corrected.pkl`` and the older ``data.pkl``: name to ``label``,
  ``sentiment``, ``sarcasm``, ``emotion``, ``harmful-score``, ``target``. Names that only the older
  one has are taken from it and flagged ``from_older_file``. The lists ``train_id.pkl``,
  ``val_id.pkl`` and ``test_id.pkl`` give the splits;
- the spreadsheet, exported as CSV: the text, and labels for names that no pickle has.

Class names and their order are published nowhere, so a task without classes in the manifest gets
them from the files, in the order of the codes where there are any and sorted otherwise;
`vocabularies` returns them, to be frozen in a manifest of one's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import LabelValue, SourceRow
from ..unpickle import load_pickle
from ._csv import open_table
from ._images import ImageFolders
from ._marks import (
    Keys,
    bad_row,
    below,
    class_code,
    find_base,
    guarded,
    media_path,
    plain,
    text_of,
    wrong,
)

VERSION = 1

_CORRECTED = ("data-corrected.pkl", "data_corrected.pkl")
_OLDER = "data.pkl"
_SHEETS = ("MultiBully.csv", "multibully.csv", "Bully_Text.csv", "labels.csv")
_SPLITS = ("train", "val", "test")
_SPLIT_FOLDERS = ("70_10_20", "dataset/70_10_20", "splits", "")
_FOLDERS = ("dataset", "MultiBully", "multibully")
_PICTURES = ("images", "Images", "img", "Meme Image", "Meme Images")

# Task to its field in the pickles; the spreadsheet's columns are compared without case and spaces.
_FIELDS = {
    "bully": "label",
    "sentiment": "sentiment",
    "emotion": "emotion",
    "sarcasm": "sarcasm",
    "harmfulness": "harmful-score",
    "target": "target",
}
_NAME_COLUMNS = ("img_name", "image_name", "image", "img", "name", "file_name", "filename", "id")
_TEXT_COLUMNS = ("text", "img_text", "image_text", "ocr_text", "sentence")
_COLUMNS = {
    "bully": ("bully", "bully_label", "img_text_label", "label"),
    "sentiment": ("sentiment",),
    "emotion": ("emotion",),
    "sarcasm": ("sarcasm",),
    "harmfulness": ("harmfulness", "harmful_score", "harmful-score", "harmfulness_score"),
    "target": ("target",),
}


@dataclass(slots=True)
class _Meme:
    """What the sources know about one picture.

    Attributes:
        coded: Task to label as the pickles write it.
        named: Task to label as the spreadsheet writes it.
        values: Task to the label that counts.
        in_sheet: Whether a line of the spreadsheet was joined.
    """

    name: str
    origin: str
    coded: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    in_sheet: bool = False
    flags: list[str] = field(default_factory=list)
    problem: str = ""


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the pickles, split lists and the spreadsheet that are there.

    Raises:
        MissingFiles: Neither a pickle nor the spreadsheet is there, or some split lists are not.
    """
    base = _base(root)
    found = [base / name for name in (*_CORRECTED, _OLDER, *_SHEETS) if (base / name).is_file()]
    lists = _split_files(base)
    missing = []
    if not found:
        missing.append(f"{_CORRECTED[0]} and {_OLDER}, the authors' dictionaries")
        missing.append(f"or {_SHEETS[0]}, the online spreadsheet exported as CSV")
    if lists and len(lists) < len(_SPLITS):
        absent = [split for split in _SPLITS if split not in lists]
        missing += [f"70_10_20/{split}_id.pkl, beside the other lists" for split in absent]
    if missing:
        raise MissingFiles(manifest.name, missing, manifest.obtain)
    return [*found, *lists.values()]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield the rows of the pickles, then those of the spreadsheet alone, then listed names only.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: A pickle is refused or of another shape, a split list overlaps another, or
            the spreadsheet lacks its columns.
    """
    memes = _memes(root, manifest)
    splits = _read_splits(_base(root))
    classes = _resolve(memes, manifest)
    pictures = ImageFolders(root, [_picture_folder(root)])
    keys = Keys()
    for meme in memes:
        row = _guarded_row(meme, splits, classes, pictures)
        yield keys.admit(row)
    known = {meme.name for meme in memes}
    for name, split in splits.items():
        if name not in known:
            reason = f"'{name}' is in {split}_id.pkl but in no label file"
            yield keys.admit(bad_row(f"{split}_id.pkl", reason, name))


def vocabularies(root: Path, manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Return the classes of each task in code order, as `read` uses them.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: As for `read`.
    """
    return _resolve(_memes(root, manifest), manifest)


def _base(root: Path) -> Path:
    return find_base(root, _FOLDERS, (*_CORRECTED, _OLDER, *_SHEETS))


def _memes(root: Path, manifest: Manifest) -> list[_Meme]:
    label_files(root, manifest)
    base = _base(root)
    found = _from_pickles(base)
    by_name = {meme.name: meme for meme in found}
    sheet = next((base / name for name in _SHEETS if (base / name).is_file()), None)
    for row in _from_sheet(sheet) if sheet else ():
        known = by_name.setdefault(row.name, row) if row.name else row
        if known is row or known.in_sheet:
            found.append(row)
        else:
            known.text, known.named, known.in_sheet = row.text, row.named, True
    return found


def _resolve(memes: list[_Meme], manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Settle one value per task and meme, and return the classes of each task in code order.

    The pickles hold codes and the spreadsheet names. Where the rows in both pair each code with
    one name, the names stand for the codes; a row that says otherwise is flagged
    ``label_conflict`` and its pickle wins.
    """
    classes = {}
    for task in _FIELDS:
        both = [
            (m.coded[task], m.named[task]) for m in memes if task in m.coded and task in m.named
        ]
        names = _names_of_codes(Counter((code, plain(name)) for code, name in both))
        for meme in memes:
            _settle(meme, task, names)
        frozen = manifest.tasks[task].classes if task in manifest.tasks else ()
        classes[task] = frozen or _ordered(memes, task, names)
    return classes


def _names_of_codes(pairs: Counter[tuple[str, str]]) -> dict[str, str]:
    """Return the name that goes with each code most often, if no two codes share one."""
    names: dict[str, str] = {}
    for (code, name), _ in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        names.setdefault(code, name)
    return names if len(set(names.values())) == len(names) else {}


def _settle(meme: _Meme, task: str, names: Mapping[str, str]) -> None:
    coded, named = meme.coded.get(task), meme.named.get(task)
    value = named if coded is None else names.get(coded, coded)
    if value is None:
        return
    meme.values[task] = value
    translated = coded in names and named is not None
    if translated and plain(named or "") != value and "label_conflict" not in meme.flags:
        meme.flags.append("label_conflict")


def _ordered(memes: list[_Meme], task: str, names: Mapping[str, str]) -> tuple[str, ...]:
    codes = {name: code for code, name in names.items()}
    values = {plain(meme.values[task]) for meme in memes if task in meme.values}

    def place(value: str) -> tuple[bool, int, str]:
        code = codes.get(value, value)
        number = int(code) if code.lstrip("-").isdigit() else None
        return (number is None, number or 0, value)

    return tuple(sorted(values, key=place))


def _from_pickles(base: Path) -> list[_Meme]:
    corrected = next((base / name for name in _CORRECTED if (base / name).is_file()), None)
    older = base / _OLDER if (base / _OLDER).is_file() else None
    found = _dictionary(corrected) if corrected else []
    names = {meme.name for meme in found}
    for meme in _dictionary(older) if older else []:
        if meme.name not in names:
            if corrected:
                meme.flags.append("from_older_file")
            found.append(meme)
    return found


def _dictionary(path: Path) -> list[_Meme]:
    content = load_pickle(path, encoding="latin1")
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DatasetError(f"{path.name}: expected a dict keyed by picture name, got {kind}")
    found = []
    for number, (name, entry) in enumerate(content.items(), start=1):
        meme = _Meme(str(name).strip(), f"{path.name}:{number}")
        if isinstance(entry, Mapping):
            values = {task: _scalar(entry.get(key)) for task, key in _FIELDS.items()}
            meme.coded = {task: value for task, value in values.items() if value is not None}
            meme.text = entry.get("text") if isinstance(entry.get("text"), str) else None
        else:
            meme.problem = f"expected a dict of labels, got {type(entry).__name__}"
        found.append(meme)
    return found


def _scalar(value: Any) -> str | None:
    """Return a label as text: arrays of one value are unwrapped, integral floats shortened."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    while isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if value is None or value == "":
        return None
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return str(value).strip()


def _from_sheet(path: Path) -> Iterator[_Meme]:
    wanted = (*_NAME_COLUMNS, *_TEXT_COLUMNS, *_FIELDS)
    with open_table(path, wanted=wanted) as table:
        header = [plain(name).replace(" ", "_") for name in table.header]
        name_at, text_at = _column(header, _NAME_COLUMNS), _column(header, _TEXT_COLUMNS)
        places = {task: _column(header, names) for task, names in _COLUMNS.items()}
        if name_at is None or text_at is None or all(at is None for at in places.values()):
            raise DatasetError(
                f"{path.name}: got the columns {', '.join(table.header)}",
                "expected a picture name, a text and bully, sentiment, emotion, sarcasm, target, "
                "harmfulness",
            )
        for record in table.records:
            origin = f"{path.name}:{record.line}"
            if record.problem:
                yield _Meme("", origin, problem=record.problem)
                continue
            cells = [cell.strip() for cell in record.fields]
            values = {task: cells[at] for task, at in places.items() if at is not None}
            values = {task: value for task, value in values.items() if value}
            yield _Meme(
                cells[name_at], origin, named=values, text=record.fields[text_at], in_sheet=True
            )


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _split_files(base: Path) -> dict[str, Path]:
    for folder in _SPLIT_FOLDERS:
        paths = {split: base / folder / f"{split}_id.pkl" for split in _SPLITS}
        found = {split: path for split, path in paths.items() if path.is_file()}
        if found:
            return found
    return {}


def _read_splits(base: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, path in _split_files(base).items():
        names = load_pickle(path, encoding="latin1")
        names = names.tolist() if hasattr(names, "tolist") else names
        if not isinstance(names, list | tuple | set | frozenset):
            kind = type(names).__name__
            raise DatasetError(f"{path.name}: expected a list of picture names, got {kind}")
        for name in map(str, names):
            if splits.setdefault(name, split) != split:
                raise DatasetError(
                    f"'{name}' is in the lists of {splits[name]} and {split}",
                    "obtain the split lists again: they must be disjoint",
                )
    return splits


def _guarded_row(
    meme: _Meme,
    splits: Mapping[str, str],
    classes: Mapping[str, tuple[str, ...]],
    pictures: ImageFolders,
) -> SourceRow:
    return guarded(meme.origin, meme.name, lambda: _row(meme, splits, classes, pictures))


def _row(
    meme: _Meme,
    splits: Mapping[str, str],
    classes: Mapping[str, tuple[str, ...]],
    pictures: ImageFolders,
) -> SourceRow:
    if meme.problem or not meme.name:
        raise wrong(meme.problem or "the picture's name is empty")
    text, flags = text_of(meme.text)
    labels: dict[str, LabelValue] = {}
    for task, names in classes.items():
        value = meme.values.get(task)
        labels[task] = None if value is None else class_code(value, names, task)
    split = splits.get(meme.name)
    unlisted = ["no_official_split"] if splits and split is None else []
    return SourceRow(
        key=meme.name,
        text=text,
        image=pictures.find(meme.name),
        split=split,
        labels=labels,
        labels_raw={**meme.named, **meme.coded},
        flags=(*flags, *meme.flags, *unlisted),
        origin=meme.origin,
    )


def _picture_folder(root: Path) -> str:
    base = _base(root)
    for folder in (base, root):
        for name in _PICTURES:
            if (folder / name).is_dir():
                return below(root, folder / name)
    return media_path(below(root, base), _PICTURES[0])
