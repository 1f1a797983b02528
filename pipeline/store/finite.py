"""Which rows of a feature hold NaN or infinite values: looked for once, remembered in the cache.

What an extractor writes was checked when it was written; what was imported, or written by hand,
need not be finite. The answer is kept in ``<cache>/finite/<dataset>/<feature>/``, under the
fingerprint and a digest of the parts, so that parts written again are looked at again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..config import digest
from ..errors import StoreError
from . import tensor
from .layout import read_json, write_json
from .reader import OutputFolder
from .view import View

_BLOCK_BYTES = 1 << 22
# By the bytes of a float: its unsigned type, and its first bits (sign apart) that are not finite.
_UNSIGNED: dict[int, np.dtype[Any]] = {2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
_SMALLEST = {2: 0x7C00, 4: 0x7F80_0000, 8: 0x7FF0_0000_0000_0000}


def nonfinite_rows(view: View, cache: Path) -> dict[str, int]:
    """Return the keys of rows with NaN or infinite values, and how many they have.

    Args:
        view: The feature.
        cache: Folder below which the answer is kept; one that cannot be written is no error.

    Raises:
        StoreError: A file of values is gone or cut off.
    """
    if np.dtype(view.spec.dtype).kind != "f":
        return {}
    path = _record_path(view.folder, cache)
    known = read_json(path, ("rows",))
    if known is not None:
        return {str(key): int(count) for key, count in known["rows"].items()}
    found: dict[str, int] = {}
    for shard in np.unique(view.shards).tolist():
        rows = np.flatnonzero(view.shards == shard)
        with _readable(view.path(shard)) as descriptor:
            for row, count in _scan(view, rows, descriptor):
                found[str(view.keys[row])] = count
    with contextlib.suppress(StoreError):
        # A cache that cannot be written costs time, not correctness.
        write_json(path, {"rows": found})
    return found


def is_looked_at(folder: OutputFolder, cache: Path) -> bool:
    """Return whether `nonfinite_rows` will answer without reading the values."""
    return np.dtype(folder.feature.dtype).kind != "f" or _record_path(folder, cache).is_file()


def _record_path(folder: OutputFolder, cache: Path) -> Path:
    parts = {str(shard): commit.get("sha256") for shard, commit in folder.commits.items()}
    home = cache / "finite" / folder.dataset / folder.name
    return home / f"{folder.fingerprint}-{digest(parts)}.json"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"'{path}' cannot be read: {error.strerror}", "`pipeline verify`"
        ) from None


def _scan(view: View, rows: np.ndarray, descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield the rows of one file that are not finite, with their counts."""
    width = tensor.row_bytes(view.spec)
    sizes = view.lengths[rows] * width
    starts = view.offsets[rows]
    scratch = np.empty(max(_BLOCK_BYTES, int(sizes.max(initial=0))), np.uint8)
    for first, last in _blocks(starts, starts + sizes, len(scratch)):
        begin = int(starts[first])
        block = scratch[: int(starts[last - 1] + sizes[last - 1]) - begin]
        _read(descriptor, block, begin)
        together = int(sizes[first:last].sum()) == len(block)
        if together and not _count(block, view.spec.dtype, any_will_do=True):
            continue
        for index in range(first, last):
            start = int(starts[index]) - begin
            count = _count(block[start : start + int(sizes[index])], view.spec.dtype)
            if count:
                yield int(rows[index]), count


def _blocks(starts: np.ndarray, stops: np.ndarray, room: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that lie within ``room`` bytes."""
    first = 0
    while first < len(starts):
        last = int(np.searchsorted(stops, starts[first] + room, side="right"))
        yield first, max(last, first + 1)
        first = max(last, first + 1)


def _read(descriptor: int, block: np.ndarray, begin: int) -> None:
    target, done = memoryview(block.data), 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done:]], begin + done)
        if count == 0:
            raise StoreError("a file of values is shorter than it was", "`pipeline verify`")
        done += count


def _count(raw: np.ndarray, dtype: str, any_will_do: bool = False) -> int:
    """Return how many values are not finite, or, faster, 1 where there is any."""
    size = np.dtype(dtype).itemsize
    bits = raw.view(_UNSIGNED[size])
    bits = np.bitwise_and(bits, bits.dtype.type((1 << (8 * size - 1)) - 1))
    if any_will_do:
        return int(bits.max(initial=0) >= _SMALLEST[size])
    return int((bits >= _SMALLEST[size]).sum())
