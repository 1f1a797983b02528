"""The demo dataset: made on the fly by a seeded generator, so that everything can be tried at once.

Pictures with captions at known places, speech-like clips with a known pitch, labels that the
captions explain up to a known share of noise, and a few defects, each named after what is wrong.
Rows are lines of ``labels.jsonl``; the places of the letters are ``extra["text_boxes"]`` (eight
numbers per line of text, in pixels) and the pitch is ``extra["f0_hz"]`` every ``extra["f0_hop_s"]``
seconds, 0 where there is no voice.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config import parse
from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import LabelValue, SourceRow
from ._captions import choose_text
from ._demo.build import GENERATOR_VERSION, Builder, DemoOptions
from ._json import read_json, read_json_lines
from ._marks import Keys, bad_row, class_code, guarded, text_of, wrong

VERSION = 1

_LABELS = "labels.jsonl"
_RECORD = "demo.json"
_TASKS = ("sentiment", "sarcasm")
_OWN_FIELDS = {"key", "text", "image", "audio", "split", *_TASKS}


def prepare(root: Path, manifest: Manifest) -> None:
    """Make the dataset in ``root`` if it is not there; written whole or not at all.

    Raises:
        DatasetError: The folder holds something else, or a demo made with other options, or cannot
            be written.
        ConfigError: The manifest's options do not validate.
    """
    options = parse(DemoOptions, manifest.options, f"options of dataset '{manifest.name}'")
    record = {"generator": GENERATOR_VERSION, **options.model_dump(mode="json")}
    if _is_made(root, record):
        return
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise _unwritable(root, error) from None
    try:
        Builder(draft, options).build()
        (draft / _RECORD).write_text(json.dumps(record, sort_keys=True) + "\n", encoding="utf-8")
        _publish(draft, root, record)
    except OSError as error:
        raise _unwritable(root, error) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the one label file.

    Raises:
        MissingFiles: `prepare` has not been called.
    """
    if not (root / _LABELS).is_file():
        raise MissingFiles(manifest.name, [_LABELS], manifest.obtain)
    return [root / _LABELS]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield the rows: memes, clips, then the odd items.

    Raises:
        MissingFiles: As for `label_files`.
        DatasetError: The label file is of another kind.
    """
    keys = Keys()
    (path,) = label_files(root, manifest)
    for line, entry in read_json_lines(path):
        origin = f"{path.name}:{line}"
        if isinstance(entry, str):
            yield keys.admit(bad_row(origin, entry))
        else:
            yield keys.admit(_guarded_row(entry, origin, manifest))


def _is_made(root: Path, record: Mapping[str, Any]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if not (root / _RECORD).is_file():
        raise DatasetError(
            f"'{root}' is not empty and holds no demo dataset", "pass another --root for the demo"
        )
    found = read_json(root / _RECORD)
    if found != record:
        raise DatasetError(
            f"the demo dataset in '{root}' was made with {found}, expected {record}",
            "delete that folder to have it made again, or pass another --root",
        )
    return True


def _publish(draft: Path, root: Path, record: Mapping[str, Any]) -> None:
    """Give the finished folder its name; another process may have done the same first."""
    draft.chmod(0o755)
    try:
        os.rename(draft, root)
    except OSError:
        if not _is_made(root, record):
            raise


def _unwritable(root: Path, error: OSError) -> DatasetError:
    cause = error.strerror or str(error)
    return DatasetError(f"the demo dataset cannot be written to '{root}': {cause}")


def _guarded_row(entry: Mapping[str, Any], origin: str, manifest: Manifest) -> SourceRow:
    key = entry.get("key")
    name = key if isinstance(key, str) else ""
    return guarded(origin, name, lambda: _row(entry, name, origin, manifest))


def _row(entry: Mapping[str, Any], key: str, origin: str, manifest: Manifest) -> SourceRow:
    if not key:
        raise wrong("the entry has no 'key'")
    raw = {task: str(entry.get(task, "")) for task in _TASKS}
    labels: dict[str, LabelValue] = {
        task: class_code(value, manifest.tasks[task].classes, task) if value else None
        for task, value in raw.items()
    }
    text, flags = choose_text(text_of(entry.get("text"))[0], "")
    return SourceRow(
        key=key,
        text=text,
        image=entry.get("image"),
        audio=entry.get("audio"),
        split=entry.get("split"),
        labels=labels,
        labels_raw=raw,
        flags=flags,
        origin=origin,
        extra={name: value for name, value in entry.items() if name not in _OWN_FIELDS},
    )
