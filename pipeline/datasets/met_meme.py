"""MET-Meme: metaphor, sentiment, intention and offence in Chinese and English memes.

One label file, one caption file and one picture folder per language. The files are GB18030 with
stray bytes of other encodings, end in empty columns, and write a label as ``2(moderately)``, where
the number decides. File names repeat between the languages, so a key is ``<folder>/<file name>``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Config, parse
from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import LabelValue, SourceRow
from ._csv import Record, records
from ._images import ImageFolders
from ._marks import (
    Keys,
    bad_row,
    below,
    class_code,
    find_base,
    guarded,
    plain,
    text_of,
    wrong,
)

VERSION = 1

# Column, task, smallest number in the file. A task without a number is written by name.
_NUMBERED = (
    ("sentiment category", "sentiment", 1),
    ("sentiment degree", "sentiment_degree", 1),
    ("intention detection", "intention", 1),
    ("offensiveness detection", "offensiveness", 0),
    ("metaphor occurrence", "metaphor", 0),
)
_CATEGORY = ("metaphor category", "metaphor_category")
_DETAILS = ("target domain", "source domain", "target modality", "source modality")
_NAME_COLUMNS = ("file_name", "images_name")
_FOLDERS = ("MET-Meme", "met-meme", "metmeme")
_ENCODINGS = ("utf-8-sig", "gb18030")
_NUMBER = re.compile(r"\s*(\d+)\s*(?:\(.*)?")
_BLANK_BEFORE_QUOTE = re.compile(r'(^|,)[ \t]+(?="[^",\r\n])', re.MULTILINE)


class _Options(Config):
    """Options of the manifest.

    Attributes:
        aliases: Label as somebody wrote it to the class name that is meant.
    """

    aliases: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class _Language:
    letter: str
    folder: str
    labels: Path
    captions: Path


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return label and caption files of the languages that are there.

    Raises:
        MissingFiles: No label file is there, or one has no caption file.
    """
    return [path for part in _languages(root, manifest) for path in (part.labels, part.captions)]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield the Chinese rows, then the English ones; captions without labels come last.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: A file lacks a column.
        ConfigError: The manifest's options do not validate.
    """
    keys = Keys()
    for part in _languages(root, manifest):
        for row in _rows(part, root, manifest):
            yield keys.admit(row)


def _languages(root: Path, manifest: Manifest) -> list[_Language]:
    names = {letter: (f"label_{letter}.csv", f"{letter}_label.csv") for letter in "CE"}
    base = find_base(root, _FOLDERS, [name for pair in names.values() for name in pair])
    found, missing = [], []
    for letter in "CE":
        labels = [base / name for name in names[letter] if (base / name).is_file()]
        captions = base / f"{letter}_text.csv"
        if labels and captions.is_file():
            found.append(_Language(letter, f"{letter}images", labels[0], captions))
        elif labels:
            missing.append(f"{letter}_text.csv, beside {labels[0].name}")
    if not found and not missing:
        missing = [
            "label_C.csv and C_text.csv with the pictures in Cimages/ (Chinese)",
            "label_E.csv and E_text.csv with the pictures in Eimages/ (English)",
        ]
    if missing:
        raise MissingFiles(manifest.name, missing, manifest.obtain)
    return found


def _rows(part: _Language, root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    captions, problems = _captions(part)
    options = parse(_Options, manifest.options, f"options of dataset '{manifest.name}'")
    pictures = ImageFolders(root, [_picture_folder(root, part)])
    classes = {name: task.classes for name, task in manifest.tasks.items()}
    header, found = _table(part.labels, ("sentiment category",))
    used = set()
    for record in found:
        origin = f"{part.labels.name}:{record.line}"
        cells = dict(zip(header, record.fields, strict=False))
        name = _file_name(cells)
        used.add(_match(name))
        if record.problem:
            yield bad_row(origin, record.problem)
            continue
        source = _Source(part, pictures, origin, captions.get(_match(name)), options.aliases)
        yield _guarded_row(cells, name, source, classes)
    yield from problems
    for match, (name, text, origin) in captions.items():
        if match not in used:
            source = _Source(part, pictures, origin, (name, text, origin), {})
            yield _guarded_row({}, name, source, {})


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a row comes from: its language, picture folder, line and caption."""

    part: _Language
    pictures: ImageFolders
    origin: str
    caption: tuple[str, str, str] | None
    aliases: Mapping[str, str]


def _guarded_row(
    cells: Mapping[str, str], name: str, source: _Source, classes: Mapping[str, tuple[str, ...]]
) -> SourceRow:
    key = f"{source.part.folder}/{name}" if name else ""
    return guarded(source.origin, key, lambda: _row(cells, key, name, source, classes))


def _row(
    cells: Mapping[str, str],
    key: str,
    name: str,
    source: _Source,
    classes: Mapping[str, tuple[str, ...]],
) -> SourceRow:
    if not key:
        raise wrong("the file name is empty")
    text, flags = text_of(source.caption[1] if source.caption else None)
    named = dict(_named_cells(cells, source.aliases))
    aliased = [column for column, cell in named.items() if cell != cells[column].strip()]
    found = [*flags]
    found += [] if cells else ["no_labels"]
    found += ["alias_label"] if aliased else []
    found += ["replaced_characters"] if "\ufffd" in text + "".join(cells.values()) else []
    return SourceRow(
        key=key,
        text=text,
        image=source.pictures.find(name),
        labels=_labels(named, classes) if cells else {},
        labels_raw={column: cells[column] for column in named},
        flags=tuple(found),
        origin=source.origin,
        extra=_details(cells, source.part.letter),
    )


def _named_cells(cells: Mapping[str, str], aliases: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for column in (*(column for column, _, _ in _NUMBERED), _CATEGORY[0]):
        if column in cells:
            cell = cells[column].strip()
            yield column, aliases.get(cell, cell)


def _labels(
    cells: Mapping[str, str], classes: Mapping[str, tuple[str, ...]]
) -> dict[str, LabelValue]:
    labels: dict[str, LabelValue] = {}
    for column, task, smallest in _NUMBERED:
        labels[task] = _numbered(cells.get(column, ""), classes[task], smallest, column)
    column, task = _CATEGORY
    cell = cells.get(column, "")
    # Literal memes have no category: the cell is empty or 0.
    labels[task] = None if cell in {"", "0"} else class_code(cell, classes[task], column)
    return labels


def _numbered(cell: str, classes: tuple[str, ...], smallest: int, column: str) -> int | None:
    """Return the class of ``2(moderately)``: the number before the bracket, else the name."""
    if not cell:
        return None
    match = _NUMBER.fullmatch(plain(cell))
    if match is None:
        return class_code(cell, classes, column)
    code = int(match[1]) - smallest
    if not 0 <= code < len(classes):
        known = ", ".join(f"{place + smallest} {name}" for place, name in enumerate(classes))
        raise wrong(f"{column}: got '{cell}', expected one of {known}")
    return code


def _details(cells: Mapping[str, str], letter: str) -> dict[str, Any]:
    found = {name.replace(" ", "_"): cells.get(name, "").strip() for name in _DETAILS}
    language = {"language": "zh" if letter == "C" else "en"}
    return language | {name: value for name, value in found.items() if value}


def _file_name(cells: Mapping[str, str]) -> str:
    """Return the picture's name; the column ``images_name`` writes ``_`` where it has ``- ``."""
    if "file_name" in cells:
        return cells["file_name"].strip()
    return cells.get("images_name", "").strip().replace("_", "- ")


def _match(name: str) -> str:
    return plain(name).replace("_", "-").replace(" ", "")


def _captions(part: _Language) -> tuple[dict[str, tuple[str, str, str]], list[SourceRow]]:
    """Return captions by file name as (name, text, origin), and the lines without use."""
    found: dict[str, tuple[str, str, str]] = {}
    problems = []
    header, lines = _table(part.captions, ("text",))
    for record in lines:
        origin = f"{part.captions.name}:{record.line}"
        cells = dict(zip(header, record.fields, strict=False))
        name = _file_name(cells)
        match = _match(name)
        if record.problem or not match:
            problems.append(bad_row(origin, record.problem or "the file name is empty"))
        elif match in found:
            reason = f"'{name}' has a second caption; the first one counts"
            problems.append(bad_row(origin, reason))
        else:
            found[match] = (name, cells["text"], origin)
    return found, problems


def _table(path: Path, columns: tuple[str, ...]) -> tuple[list[str], Iterator[Record]]:
    """Return the header and the records of a file.

    Raises:
        DatasetError: The file is empty or lacks a column.
    """
    text = _BLANK_BEFORE_QUOTE.sub(r"\1", _decoded(path))
    found = records(io.StringIO(text, newline=""), ",")
    first = next(found, None)
    header = [plain(name) for name in first.fields] if first else []
    lacking = [name for name in columns if name not in header]
    if lacking or not set(header) & set(_NAME_COLUMNS):
        raise DatasetError(
            f"{path.name}: got the columns {', '.join(name for name in header if name)}",
            f"expected file_name or images_name, and {', '.join(columns)}",
        )
    return header, found


def _decoded(path: Path) -> str:
    """Return the text: one encoding for the file, else one for each line.

    What no encoding knows becomes U+FFFD, and the row says so.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path.name}: {error.strerror or error}") from None
    whole = _strict(data)
    if whole is not None:
        return whole
    lines = data.split(b"\n")
    read = (_strict(line) for line in lines)
    return "\n".join(
        text if text is not None else line.decode("cp1252", errors="replace")
        for text, line in zip(read, lines, strict=True)
    )


def _strict(data: bytes) -> str | None:
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def _picture_folder(root: Path, part: _Language) -> str:
    """Return the picture folder below root; the public archive nests it in itself."""
    folder = part.labels.parent / part.folder
    while (folder / part.folder).is_dir():
        folder = folder / part.folder
    return below(root, folder)
