"""SemEval-2021 task 6: persuasion techniques in memes, in both layouts that circulate.

(a) the organisers' corpus: JSON arrays ``data/{training,dev,test}_set_task{1,2}.txt`` and, unpacked
    from archives, ``…_set_task3*.txt`` beside the pictures;
(b) the baselines' layout: ``annotations/{train,val,test}.jsonl`` beside ``images/``.

Task 3 (whole meme, 22 techniques) decides which rows there are; task 1 (text, 20 techniques) and
task 2 (spans) are joined by id. Where only the spans are there, task 1 is the set of their
techniques, which is how the organisers' two files relate. Spans are positions in the row's own
text, in characters; they are kept in ``extra["spans"]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MissingFiles, RowError
from ..manifest import Manifest
from ..records import LabelValue, SourceRow
from ._images import ImageFolders
from ._json import read_json_array, read_json_lines
from ._marks import (
    Keys,
    bad_row,
    below,
    class_code,
    find_base,
    guarded,
    media_path,
    text_of,
    whole_number,
    wrong,
)

VERSION = 1

_SPLITS = {"train": "training", "val": "dev", "test": "test"}
_LINES = {split: f"annotations/{split}.jsonl" for split in _SPLITS}
_BASELINE_FOLDERS = ("data/datasets/propaganda/defaults", "defaults", "propaganda_memes")
_CORPUS_FOLDERS = ("data", "SEMEVAL-2021-task6-corpus/data", "propaganda_memes/data")
_SPAN_FOLDERS = ("text_spans", "data", "")


@dataclass(frozen=True, slots=True)
class _Part:
    """The files of one split."""

    split: str
    memes: Path
    pictures: ImageFolders
    texts: Path | None = None
    spans: Path | None = None

    def files(self) -> list[Path]:
        return [path for path in (self.memes, self.texts, self.spans) if path is not None]


@dataclass(slots=True)
class _TextLabels:
    """What tasks 1 and 2 say about the rows of a split, by id."""

    techniques: dict[str, dict[str, Any]] = field(default_factory=dict)
    spans: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[SourceRow] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the annotation files of every split that is there.

    Raises:
        MissingFiles: There is no annotation file, or a Task 3 archive is still packed.
    """
    return [path for part in _parts(root, manifest) for path in part.files()]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield the rows of every split that is there: train, val, test.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: A file is of another kind.
    """
    keys = Keys()
    for part in _parts(root, manifest):
        for row in _rows(part, manifest):
            yield keys.admit(row)


def _parts(root: Path, manifest: Manifest) -> list[_Part]:
    base = find_base(root, _BASELINE_FOLDERS, _LINES.values())
    found = [
        _baseline_part(root, base, split)
        for split, name in _LINES.items()
        if (base / name).is_file()
    ]
    if not found:
        found = _corpus_parts(root, manifest)
    if not found:
        raise MissingFiles(
            manifest.name,
            [
                "annotations/train.jsonl (and val.jsonl, test.jsonl) with images/ beside it",
                "or data/training_set_task1.txt, data/training_set_task2.txt and the unpacked "
                "data/training_set_task3.zip (the same for dev and test)",
            ],
            manifest.obtain,
        )
    return found


def _baseline_part(root: Path, base: Path, split: str) -> _Part:
    stem = f"{_SPLITS[split]}_set_task"
    places = [base / folder for folder in _SPAN_FOLDERS] + [root / "data"]
    folder = "img" if (base / "img").is_dir() and not (base / "images").is_dir() else "images"
    return _Part(
        split,
        memes=base / _LINES[split],
        pictures=ImageFolders(root, [media_path(below(root, base), folder)]),
        texts=_first([place / f"{stem}1.txt" for place in places]),
        spans=_first([place / f"{stem}2.txt" for place in places]),
    )


def _corpus_parts(root: Path, manifest: Manifest) -> list[_Part]:
    names = [f"{stem}_set_task{task}.txt" for stem in _SPLITS.values() for task in (1, 2, 3)]
    archives = [f"{stem}_set_task3.zip" for stem in _SPLITS.values()]
    base = find_base(root, _CORPUS_FOLDERS, [*names, *archives])
    parts, packed = [], []
    for split, stem in _SPLITS.items():
        memes = _unpacked(base, stem)
        texts = _first([base / f"{stem}_set_task1.txt"])
        spans = _first([base / f"{stem}_set_task2.txt"])
        archive = base / f"{stem}_set_task3.zip"
        if memes is None and (archive.is_file() or texts or spans):
            packed.append(_packed_line(root, archive))
        elif memes is not None:
            pictures = ImageFolders(root, [below(root, _pictures(memes))])
            parts.append(_Part(split, memes, pictures, texts, spans))
    if packed:
        raise MissingFiles(manifest.name, packed, manifest.obtain)
    return parts


def _packed_line(root: Path, archive: Path) -> str:
    where, stem = below(root, archive.parent) or ".", archive.stem
    if archive.is_file():
        return (
            f"{where}/{stem}/{stem}.txt and its pictures: unpack {archive.name} in its own folder "
            f"(unzip -d {stem} {archive.name})"
        )
    return f"{where}/{archive.name}, unpacked beside itself: the memes with their labels"


def _unpacked(base: Path, stem: str) -> Path | None:
    """Return the Task 3 file of a split, however deep its archive put it; labelled ones first."""
    if not base.is_dir():
        return None
    found = [path for path in base.rglob(f"{stem}_set_task3*.txt") if path.is_file()]
    found.sort(key=lambda path: ("labeled" not in path.stem, len(path.parts), path.as_posix()))
    return found[0] if found else None


def _pictures(memes: Path) -> Path:
    inner = memes.parent / "images"
    return inner if inner.is_dir() else memes.parent


def _first(places: Sequence[Path]) -> Path | None:
    return next((path for path in places if path.is_file()), None)


def _rows(part: _Part, manifest: Manifest) -> Iterator[SourceRow]:
    texts = _text_labels(part)
    for origin, entry in _entries(part.memes):
        if isinstance(entry, str):
            yield bad_row(origin, entry)
            continue
        key = _identity(entry)
        if not key:
            yield bad_row(origin, "the entry has no 'id'")
            continue
        texts.used.add(key)
        yield _guarded_row(entry, origin, part, texts, manifest)
    yield from texts.problems
    for key, entry in {**texts.spans, **texts.techniques}.items():
        if key not in texts.used:
            # Tasks 1 and 2 know one text whose meme was not released with task 3.
            text_only = {"id": key, "text": entry.get("text")}
            yield _guarded_row(text_only, entry["origin"], part, texts, manifest)


def _guarded_row(
    entry: Mapping[str, Any], origin: str, part: _Part, texts: _TextLabels, manifest: Manifest
) -> SourceRow:
    key = _identity(entry)
    return guarded(origin, key, lambda: _row(entry, origin, part, texts, manifest))


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield (origin, entry or reason) from JSON lines or a JSON array."""
    if path.suffix == ".jsonl":
        for line, value in read_json_lines(path):
            yield f"{path.name}:{line}", value
        return
    for number, value in enumerate(read_json_array(path), start=1):
        problem = f"expected a JSON object, got {type(value).__name__}"
        yield f"{path.name}:{number}", value if isinstance(value, dict) else problem


def _text_labels(part: _Part) -> _TextLabels:
    found = _TextLabels()
    for path, store in ((part.texts, found.techniques), (part.spans, found.spans)):
        if path is None:
            continue
        for origin, entry in _entries(path):
            key = "" if isinstance(entry, str) else _identity(entry)
            if isinstance(entry, str) or not key:
                reason = entry if isinstance(entry, str) else "the entry has no 'id'"
                found.problems.append(bad_row(origin, reason))
            elif key in store:
                reason = f"'{key}' is in this file twice; the first entry counts"
                found.problems.append(bad_row(origin, reason))
            else:
                store[key] = {**entry, "origin": origin}
    return found


def _identity(entry: Mapping[str, Any]) -> str:
    value = entry.get("id")
    return "" if value is None or isinstance(value, list | dict) else str(value).strip()


def _row(
    entry: Mapping[str, Any], origin: str, part: _Part, texts: _TextLabels, manifest: Manifest
) -> SourceRow:
    key = _identity(entry)
    text, flags = text_of(entry.get("text"))
    image = entry.get("image")
    if image is not None and not isinstance(image, str):
        raise wrong(f"image: got {image!r}, expected a file name")
    spans = _spans(texts.spans.get(key), text, manifest)
    found = [*flags, *spans.flags, *([] if image else ["no_image"])]
    labels, raw = _labels(entry, texts, key, manifest)
    return SourceRow(
        key=key,
        text=text,
        image=part.pictures.find(image) if image else None,
        split=part.split,
        labels=labels,
        labels_raw=raw,
        flags=tuple(found),
        origin=origin,
        extra={"spans": spans.values} if key in texts.spans else {},
    )


def _labels(
    entry: Mapping[str, Any], texts: _TextLabels, key: str, manifest: Manifest
) -> tuple[dict[str, LabelValue], dict[str, str]]:
    whole = _names(entry.get("labels"), "labels")
    in_text = _names(texts.techniques.get(key, {}).get("labels"), "labels of task 1")
    if in_text is None and key in texts.spans:
        spans = texts.spans[key].get("labels") or []
        named = (span.get("technique") for span in spans if isinstance(span, Mapping))
        in_text = list(dict.fromkeys(str(name) for name in named))
    labels: dict[str, LabelValue] = {}
    raw: dict[str, str] = {}
    for task, names in (("techniques", whole), ("techniques_text", in_text)):
        classes = manifest.tasks[task].classes
        labels[task] = None
        if names is not None:
            labels[task] = sorted({class_code(name, classes, task) for name in names})
            # Names contain commas, so they are joined by line breaks.
            raw[task] = "\n".join(names)
    return labels, raw


def _names(value: Any, what: str) -> list[str] | None:
    """Return technique names; None where the release has no labels."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise wrong(f"{what}: got {value!r}, expected a list of technique names")
    return value


@dataclass(slots=True)
class _Spans:
    values: list[dict[str, Any]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    def flag(self, name: str) -> None:
        if name not in self.flags:
            self.flags.append(name)


def _spans(entry: Mapping[str, Any] | None, text: str, manifest: Manifest) -> _Spans:
    found = _Spans()
    if entry is None:
        return found
    if text_of(entry.get("text"))[0] != text:
        found.flag("span_text_differs")
    values = entry.get("labels") or []
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise wrong("spans: expected a list of objects with start, end, technique, text_fragment")
    for value in values:
        span = _span(value, text, manifest)
        if span["start"] is None or "moved_from" in span:
            found.flag("bad_span")
        found.values.append(span)
    return found


def _span(value: Mapping[str, Any], text: str, manifest: Manifest) -> dict[str, Any]:
    """Return one span; a wrong one is moved to its fragment, or has no place (None)."""
    classes = manifest.tasks["techniques_text"].classes
    technique = str(value.get("technique"))
    fragment = value.get("text_fragment")
    span: dict[str, Any] = {
        "technique": class_code(technique, classes, "span"),
        "start": value.get("start"),
        "end": value.get("end"),
    }
    try:
        start, end = whole_number(span["start"], "start"), whole_number(span["end"], "end")
    except RowError:
        start, end = -1, -1
    fits = 0 <= start < end <= len(text)
    if fits and (fragment is None or text[start:end] == fragment):
        return {**span, "start": start, "end": end}
    span["moved_from"] = [span["start"], span["end"]]
    if isinstance(fragment, str) and fragment and text.count(fragment) == 1:
        start = text.index(fragment)
        return {**span, "start": start, "end": start + len(fragment)}
    return {**span, "start": None, "end": None, "text_fragment": fragment}
