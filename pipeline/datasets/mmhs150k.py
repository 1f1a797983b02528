"""MMHS150K: tweets with pictures, each judged by three annotators among six classes.

| option ``labels`` | task | value |
|---|---|---|
| ``binary`` (default) | ``hate`` | whether most annotators chose a hateful class |
| ``multiclass`` | ``hate_class`` | the class most annotators chose; None without a majority |
| ``soft`` | ``hate_soft`` | the annotators' distribution over the six classes |

Rows whose annotators all disagree among the six classes are flagged ``no_majority`` in every mode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..config import Config, parse
from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import LabelValue, SourceRow
from ._json import read_json
from ._marks import (
    Keys,
    bad_row,
    below,
    find_base,
    guarded,
    media_path,
    text_of,
    whole_number,
    wrong,
)

VERSION = 1

_TRUTH = "MMHS150K_GT.json"
_SPLITS = ("train", "val", "test")
_FOLDERS = ("MMHS150K", "mmhs150k")
_ANNOTATORS = 3


class _Options(Config):
    """Options of the manifest.

    Attributes:
        labels: Which task the three judgements become.
        image_text: Read the text found in the pictures (``img_txt/``) into ``extra``.
    """

    labels: Literal["binary", "multiclass", "soft"] = "binary"
    image_text: bool = False


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the judgements, the split lists and, when they are read, the picture texts.

    Raises:
        MissingFiles: Naming those that are missing.
        ConfigError: The manifest's options do not validate.
    """
    base = find_base(root, _FOLDERS, [_TRUTH])
    files = [base / _TRUTH, *(base / "splits" / f"{split}_ids.txt" for split in _SPLITS)]
    missing = [below(base, path) for path in files if not path.is_file()]
    if missing:
        lines = [f"{name} (pictures go to img_resized/)" for name in missing]
        raise MissingFiles(manifest.name, lines, manifest.obtain)
    if _options(manifest).image_text:
        files += sorted((base / "img_txt").glob("*.json"))
    return files


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield every tweet in the order of the file, then listed ids that have no tweet.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: A file is of another kind, or two split lists share ids.
        ConfigError: The manifest's options do not validate.
    """
    label_files(root, manifest)
    options = _options(manifest)
    base = find_base(root, _FOLDERS, [_TRUTH])
    splits, repeated = _read_splits(base / "splits")
    keys, seen = Keys(), set()
    for number, (name, entry) in enumerate(_tweets(base / _TRUTH), start=1):
        key, origin = name.strip(), f"{_TRUTH}:{number}"
        seen.add(key)
        row = _guarded_row(key, entry, origin, base, root, options, manifest, splits)
        flags = (*row.flags, "listed_twice") if key in repeated else row.flags
        yield keys.admit(replace(row, flags=flags))
    for key, split in splits.items():
        if key not in seen:
            reason = f"'{key}' is in {split}_ids.txt but not in {_TRUTH}"
            yield keys.admit(bad_row(f"{split}_ids.txt", reason, key))


def _options(manifest: Manifest) -> _Options:
    return parse(_Options, manifest.options, f"options of dataset '{manifest.name}'")


def _tweets(path: Path) -> list[tuple[str, Any]]:
    value = read_json(path, pairs=True)
    is_object = isinstance(value, list) and all(isinstance(item, tuple) for item in value)
    if not is_object or not value:
        raise DatasetError(f"{path.name}: expected a JSON object keyed by tweet id")
    return value


def _read_splits(folder: Path) -> tuple[dict[str, str], set[str]]:
    """Return the split of each id, and the ids that one list names twice.

    Raises:
        DatasetError: Two lists share ids, or a list is empty.
    """
    lists: dict[str, list[str]] = {}
    for split in _SPLITS:
        path = folder / f"{split}_ids.txt"
        try:
            lines = path.read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path.name}: {error}") from None
        if not lines:
            raise DatasetError(f"{path.name}: the list is empty", "expected one tweet id per line")
        lists[split] = lines
    _assert_disjoint(lists)
    repeated = {key for ids in lists.values() for key, times in Counter(ids).items() if times > 1}
    return {key: split for split, ids in lists.items() for key in ids}, repeated


def _assert_disjoint(lists: Mapping[str, Sequence[str]]) -> None:
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = set(lists[first]) & set(lists[second])
        if not shared:
            continue
        same = set(lists[first]) == set(lists[second])
        what = "are identical" if same else f"share {len(shared)} ids"
        raise DatasetError(
            f"the split lists {first}_ids.txt and {second}_ids.txt {what} "
            f"(for example {min(shared)})",
            "obtain the split lists again: they must be disjoint",
        )


def _guarded_row(
    key: str,
    entry: Any,
    origin: str,
    base: Path,
    root: Path,
    options: _Options,
    manifest: Manifest,
    splits: Mapping[str, str],
) -> SourceRow:
    def make() -> SourceRow:
        if not key or not isinstance(entry, list) or not all(type(x) is tuple for x in entry):
            raise wrong(f"expected an object keyed by a tweet id, got {type(entry).__name__}")
        text, flags = text_of(dict(entry).get("tweet_text"))
        values = dict(entry)
        codes = _codes(values.get("labels"), manifest)
        labels, more = _labels(codes, options, len(manifest.tasks["hate_class"].classes))
        split = splits.get(key)
        return SourceRow(
            key=key,
            text=text,
            image=media_path(below(root, base), f"img_resized/{key}.jpg"),
            split=split,
            labels=labels,
            labels_raw={"labels": ",".join(str(code) for code in codes)},
            flags=(*flags, *more, *([] if split else ["no_official_split"])),
            origin=origin,
            extra=_extra(values, base / "img_txt" / f"{key}.json", options),
        )

    return guarded(origin, key, make)


def _codes(value: Any, manifest: Manifest) -> list[int]:
    classes = manifest.tasks["hate_class"].classes
    if not isinstance(value, list) or not value:
        raise wrong(f"labels: got {value!r}, expected the annotators' codes")
    codes = [whole_number(code, "labels") for code in value]
    for code in codes:
        if not 0 <= code < len(classes):
            known = ", ".join(f"{place} {name}" for place, name in enumerate(classes))
            raise wrong(f"labels: got {code}, expected one of {known}")
    return codes


def _labels(
    codes: Sequence[int], options: _Options, num_classes: int
) -> tuple[dict[str, LabelValue], list[str]]:
    times = Counter(codes)
    best, most = max(times.items(), key=lambda item: (item[1], -item[0]))
    majority = 2 * most > len(codes)
    flags = [] if majority else ["no_majority"]
    if len(codes) != _ANNOTATORS:
        flags.append("other_annotator_count")
    if options.labels == "multiclass":
        return {"hate_class": best if majority else None}, flags
    if options.labels == "soft":
        return {"hate_soft": [times[code] / len(codes) for code in range(num_classes)]}, flags
    hateful = len(codes) - times[0]
    if 2 * hateful == len(codes):
        return {"hate": None}, [*flags, "binary_tie"]
    return {"hate": int(2 * hateful > len(codes))}, flags


def _extra(values: Mapping[str, Any], text_file: Path, options: _Options) -> dict[str, Any]:
    extra: dict[str, Any] = {
        name: str(values[name]) for name in ("tweet_url", "img_url") if values.get(name)
    }
    if options.image_text and text_file.is_file():
        try:
            content = read_json(text_file)
        except DatasetError as error:
            return {**extra, "image_text_problem": error.message}
        found = content.get("img_text") if isinstance(content, dict) else None
        extra["image_text"] = text_of(found)[0]
    return extra
