"""MUStARD: utterances of television series, sarcastic or not, with what was said before.

Recordings, where the user has them, are called ``<id>`` and lie in ``audio``; a row without one
has text only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import SourceRow
from ._json import read_json
from ._marks import Keys, below, find_base, guarded, text_of, wrong
from ._named_audio import EXTENSIONS

VERSION = 1

_FILE = "sarcasm_data.json"
_FOLDERS = ("data", "MUStARD/data", "MUStARD")


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the one JSON file.

    Raises:
        MissingFiles: It is not there.
    """
    path = find_base(root, _FOLDERS, [_FILE]) / _FILE
    if not path.is_file():
        raise MissingFiles(manifest.name, [f"{_FILE} below {root}"], manifest.obtain)
    return [path]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield one row per utterance, in the order of the file.

    Raises:
        MissingFiles: The file is not there.
        DatasetError: It is not a JSON object of objects.
    """
    path = label_files(root, manifest)[0]
    # Pairs, so that an id that is there twice is seen.
    entries = read_json(path, pairs=True)
    if not isinstance(entries, list) or not all(_is_pair(entry) for entry in entries):
        raise DatasetError(f"{path.name}: expected a JSON object with one object per id")
    keys = Keys()
    for key, fields in entries:
        origin = f"{path.name}:{key}"
        yield keys.admit(guarded(origin, key, partial(_row, root, path, key, fields)))


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[0], str)


def _row(root: Path, path: Path, key: str, pairs: Any) -> SourceRow:
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise wrong(f"entry '{key}' is no object")
    fields = dict(pairs)
    sarcastic = fields.get("sarcasm")
    if not isinstance(sarcastic, bool):
        raise wrong(f"sarcasm: got {sarcastic!r}, expected true or false")
    text, flags = text_of(fields.get("utterance"))
    kept = ("speaker", "context", "context_speakers", "show")
    return SourceRow(
        key=key,
        text=text,
        audio=_audio(root, path.parent, key),
        labels={"sarcasm": int(sarcastic)},
        labels_raw={"sarcasm": str(sarcastic).lower()},
        flags=flags,
        origin=f"{path.name}:{key}",
        extra={name: fields[name] for name in kept if name in fields},
    )


def _audio(root: Path, base: Path, key: str) -> str | None:
    for extension in EXTENSIONS:
        path = base / "audio" / f"{key}{extension}"
        if "/" not in key and path.is_file():
            return below(root, path)
    return None
