"""Facts about media files (sha256, perceptual hash, size, format), remembered by stat.

A file is read again when its size, modification time or change time differs. The cache lies in the
store's ``cache/`` and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import RowError
from ..media.images import DECODE_POLICY, decode_image, read_bytes
from ..media.paths import confine
from ..store.layout import written_whole
from ..store.parquet import read_part
from .phash import perceptual_hash

SCAN_VERSION = 1
_FLUSH_FILES = 4096


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What is known about one media file; ``status`` is ``ok`` or the class of the failure."""

    path: str
    stamp: str
    status: str = "ok"
    reason: str = ""
    sha256: str | None = None
    phash: int | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None


_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("stamp", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("sha256", pa.string()),
        ("phash", pa.uint64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
    ]
)


def is_uri(path: str) -> bool:
    """Return whether a media reference is a URI, which is not scanned here."""
    return "://" in path


def scan_images(
    root: Path, paths: Iterable[str], cache_file: Path, threads: int = 2
) -> dict[str, MediaFacts]:
    """Return the facts of each image below ``root``.

    Args:
        root: Folder that paths are confined to.
        paths: Relative paths; duplicates are scanned once.
        cache_file: Parquet file with the facts of earlier scans.
        threads: Decoding threads.
    """
    return _scan(root, paths, cache_file, threads, decode=True)


def scan_files(
    root: Path, paths: Iterable[str], cache_file: Path, threads: int = 2
) -> dict[str, MediaFacts]:
    """Return digest and size of each file below ``root`` without decoding it."""
    return _scan(root, paths, cache_file, threads, decode=False)


def _scan(
    root: Path, paths: Iterable[str], cache_file: Path, threads: int, decode: bool
) -> dict[str, MediaFacts]:
    unique = sorted(set(paths))
    known = _read_cache(cache_file)
    facts: dict[str, MediaFacts] = {}
    todo: list[str] = []
    for path in unique:
        stamp = stat_stamp(root, path)
        old = known.get(path)
        if old is not None and stamp is not None and old.stamp == stamp:
            facts[path] = old
        else:
            todo.append(path)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(todo), _FLUSH_FILES):
            part = todo[start : start + _FLUSH_FILES]
            for fact in pool.map(lambda path: _examine(root, path, decode), part):
                facts[fact.path] = fact
            # What is done survives a kill.
            _write_cache(cache_file, {**known, **facts})
    return facts


def stat_stamp(root: Path, path: str) -> str | None:
    """Return a text that changes when the file is written; None when it cannot be found."""
    try:
        found = os.stat(os.path.join(root, path))
    except (OSError, ValueError):
        return None
    kind = f"{SCAN_VERSION}.{DECODE_POLICY}"
    return f"{kind}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _examine(root: Path, path: str, decode: bool) -> MediaFacts:
    stamp = stat_stamp(root, path) or ""
    sha: str | None = None
    try:
        if not decode:
            return MediaFacts(path, stamp, sha256=_digest_file(root, path))
        data = read_bytes(root, path)
        sha = hashlib.sha256(data).hexdigest()
        pixels = decode_image(data, path)
    except RowError as error:
        return MediaFacts(path, stamp, error.code, error.message, sha256=sha)
    height, width = pixels.shape[:2]
    kind = _format(data)
    return MediaFacts(path, stamp, "ok", "", sha, perceptual_hash(pixels), width, height, kind)


def _digest_file(root: Path, path: str) -> str:
    target = confine(root, path)
    try:
        with open(target, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RowError("unreadable_file", f"'{path}': {error.strerror}") from None


_MAGIC: Mapping[bytes, str] = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG": "png",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"RIFF": "webp",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
}


def _format(data: bytes) -> str:
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "other")


def _read_cache(cache_file: Path) -> dict[str, MediaFacts]:
    names = [field.name for field in fields(MediaFacts)]
    try:
        columns = read_part(cache_file).to_pydict()
        rows = zip(*(columns[name] for name in names), strict=True)
        return {row[0]: MediaFacts(*row) for row in rows}
    except (OSError, pa.ArrowInvalid, KeyError):
        # A cache that is absent or unreadable is an empty cache.
        return {}


def _write_cache(cache_file: Path, facts: Mapping[str, MediaFacts]) -> None:
    rows = [asdict(facts[path]) for path in sorted(facts)]
    with written_whole(cache_file) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), temporary, compression="zstd")
