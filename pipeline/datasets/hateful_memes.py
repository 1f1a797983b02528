"""Facebook Hateful Memes: JSON lines per split, in both releases.

``train``, ``dev`` and ``test`` of phase 1, or ``train``, ``dev_seen``, ``dev_unseen``,
``test_seen`` and ``test_unseen``. The sets overlap, so rows are merged by picture: the first row
gets the label if only a later one has it, ``extra["sets"]`` lists every set it is in, and the later
rows are kept as duplicates. The picture's name is the key, because ids lose their leading zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import MissingFiles
from ..manifest import Manifest
from ..records import SourceRow
from ._images import ImageFolders
from ._json import read_json_lines
from ._marks import Keys, bad_row, below, find_base, guarded, text_of, wrong

VERSION = 1

_SETS = {
    "train": "train",
    "dev": "val",
    "dev_seen": "val",
    "dev_unseen": "val",
    "test": "test",
    "test_seen": "test",
    "test_unseen": "test",
}
_FOLDERS = ("data", "hateful_memes", "hateful_memes/data")


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the label files that are there, train first.

    Raises:
        MissingFiles: The training file or every development file is missing.
    """
    base = find_base(root, _FOLDERS, [f"{name}.jsonl" for name in _SETS])
    found = [base / f"{name}.jsonl" for name in _SETS if (base / f"{name}.jsonl").is_file()]
    names = {path.stem for path in found}
    missing = [] if "train" in names else ["train.jsonl, beside the folder img/"]
    if not names & {"dev", "dev_seen", "dev_unseen"}:
        missing.append("dev.jsonl, or dev_seen.jsonl and dev_unseen.jsonl, beside the folder img/")
    if missing:
        raise MissingFiles(manifest.name, missing, manifest.obtain)
    return found


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield every row of every set.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: A file is not JSON lines.
    """
    files = label_files(root, manifest)
    pictures = ImageFolders(root, [below(root, files[0].parent)])
    rows = [row for path in files for row in _rows(path, pictures)]
    same: dict[str, list[SourceRow]] = {}
    for row in rows:
        same.setdefault(row.key, []).append(row)
    keys, merged = Keys(), set()
    for row in rows:
        first = row.key not in merged
        merged.add(row.key)
        yield keys.admit(_merged(same[row.key]) if first else row)


def _rows(path: Path, pictures: ImageFolders) -> Iterator[SourceRow]:
    for line, entry in read_json_lines(path):
        origin = f"{path.name}:{line}"
        if isinstance(entry, str):
            yield bad_row(origin, entry)
            continue
        key = _name(entry)
        yield _guarded_row(entry, key, origin, path.stem, pictures)


def _guarded_row(
    entry: Mapping[str, Any], key: str, origin: str, name: str, pictures: ImageFolders
) -> SourceRow:
    return guarded(origin, key, lambda: _row(entry, key, origin, name, pictures))


def _name(entry: Mapping[str, Any]) -> str:
    image = entry.get("img")
    return image.strip().replace("\\", "/").rpartition("/")[2] if isinstance(image, str) else ""


def _row(
    entry: Mapping[str, Any], key: str, origin: str, name: str, pictures: ImageFolders
) -> SourceRow:
    if not key:
        raise wrong(f"img: got {entry.get('img')!r}, expected the path of a picture")
    text, flags = text_of(entry.get("text"))
    return SourceRow(
        key=key,
        text=text,
        image=pictures.find(str(entry["img"]).strip()),
        split=_SETS[name],
        labels={"hateful": _label(entry)},
        labels_raw={"label": str(entry["label"])} if "label" in entry else {},
        flags=flags,
        origin=origin,
        extra={"id": str(entry.get("id", "")), "sets": [name]},
    )


def _label(entry: Mapping[str, Any]) -> int | None:
    value = entry.get("label")
    if value is None or value == "":
        return None
    codes = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    if isinstance(value, bool) or str(value).strip() not in codes:
        raise wrong(f"label: got {value!r}, expected one of 0 (not hateful), 1 (hateful)")
    return codes[str(value).strip()]


def _merged(rows: list[SourceRow]) -> SourceRow:
    """Return the first of several rows of one picture with what the others know."""
    first = rows[0]
    usable = [row for row in rows if row.status == "ok"]
    if first.status != "ok" or len(usable) < 2:
        return first
    known = [row for row in usable if row.labels["hateful"] is not None]
    flags = list(first.flags)
    if len({row.labels["hateful"] for row in known}) > 1:
        flags.append("label_conflict")
    if len({row.split for row in usable}) > 1:
        flags.append("split_conflict")
    source = first if first.labels["hateful"] is not None or not known else known[0]
    return replace(
        first,
        labels=source.labels,
        labels_raw=source.labels_raw,
        flags=tuple(flags),
        extra={**first.extra, "sets": [row.extra["sets"][0] for row in usable]},
    )
