"""The sha256 of a file, computed once per version of the file.

Each digest is a small file of its own in `<weights folder>/.digests/`, written under a temporary
name and renamed, so that any number of processes may compute and read at the same time. An entry
holds for one path, size, inode, modification and change time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

from ..errors import WeightsError

CACHE_FOLDER = ".digests"


def digest_of(path: Path, cache: Path | None = None) -> str:
    """Return the sha256 of a file as 64 hex digits.

    Args:
        path: The file.
        cache: Folder of the cache; the weights folder's by default. A folder that cannot be written
            only costs time.

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        version = _version(path)
    except OSError as error:
        raise WeightsError(f"'{path.name}' cannot be read: {error.strerror}") from None
    record = (cache or _default_cache()) / f"{_name(path)}.json"
    known = _remembered(record, version)
    if known is not None:
        return known
    sha256 = _hash(path)
    _remember(record, {**version, "sha256": sha256})
    return sha256


def _default_cache() -> Path:
    from .folder import weights_folder

    return weights_folder() / CACHE_FOLDER


def _name(path: Path) -> str:
    return hashlib.sha256(os.path.realpath(path).encode(errors="surrogateescape")).hexdigest()[:32]


def _version(path: Path) -> dict[str, int]:
    status = path.stat()
    return {
        "size": status.st_size,
        "inode": status.st_ino,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }


def _remembered(record: Path, version: dict[str, int]) -> str | None:
    try:
        values = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(values, dict) or any(values.get(k) != v for k, v in version.items()):
        return None
    sha256 = values.get("sha256")
    return sha256 if isinstance(sha256, str) and len(sha256) == 64 else None


def _remember(record: Path, values: dict[str, int | str]) -> None:
    # A cache that cannot be written is not an error: the digest is computed again next time.
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=record.parent, prefix=".digest-")
        with os.fdopen(handle, "w") as file:
            json.dump(values, file)
        os.replace(temporary, record)


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"'{path.name}' cannot be read: {error.strerror}") from None
