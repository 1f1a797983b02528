"""Random access to a feature: rows are read where they lie in the mapped part files.

Nothing is decoded and nothing is kept in memory but one offset per row, so that many processes can
read one store and the operating system shares the pages. Needs a value column without compression,
as dense features have.

``N`` rows with a value, ``shape`` per sample, ``rest = shape[1:]``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from ..records import FeatureSpec
from . import tensor
from .layout import part_name
from .parquet_pages import Page, value_pages
from .reader import OutputFolder

# Bytes before each value of a ragged feature: Parquet stores its length there.
_LENGTH_BYTES = 4


@dataclass(frozen=True)
class View:
    """The rows of a feature that are ok, by position.

    Attributes:
        folder: Where the feature lies.
        keys: (N,) object array of str.
        shards: (N,) int32: shard of each row.
        offsets: (N,) int64: first byte of each row's value in its part file.
        lengths: (N,) int64: length of each row's first axis; 1 for a fixed shape.
        files: Where a shard's values lie, if not in its part file.
    """

    folder: OutputFolder
    keys: np.ndarray
    shards: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    files: Mapping[int, Path] = field(default_factory=dict)
    _maps: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def spec(self) -> FeatureSpec:
        """Shape, dtype and time base."""
        return self.folder.feature

    def __len__(self) -> int:
        """Return N."""
        return len(self.keys)

    def path(self, shard: int) -> Path:
        """Return the file that holds the values of a shard."""
        return self.files.get(shard, self.folder.path / part_name(shard))

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    def __getitem__(self, row: int) -> np.ndarray:
        """Return one row, ``shape`` or ``(n, *rest)``: a read-only view of the mapped file."""
        length, spec = int(self.lengths[row]), self.spec
        start = int(self.offsets[row])
        raw = self._mapped(int(self.shards[row]))[start : start + length * self._width]
        shape = [length if size is None else size for size in spec.shape]
        return raw.view(self._dtype).reshape(shape)

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return these rows in this order, copied.

        Returns:
            ``(len(rows), *shape)``, or a list of ``(n, *rest)`` for a ragged feature.
        """
        if self.spec.ragged:
            return [self[int(row)].copy() for row in rows]
        width = self._width
        raw = np.empty((len(rows), width), np.uint8)
        where = np.asarray(rows, np.int64)
        for place, (shard, start) in enumerate(
            zip(self.shards[where].tolist(), self.offsets[where].tolist(), strict=True)
        ):
            raw[place] = self._mapped(shard)[start : start + width]
        shape = [int(size or 0) for size in self.spec.shape]
        return raw.reshape(-1).view(self._dtype).reshape(len(rows), *shape)

    def __getstate__(self) -> dict[str, object]:
        """Leave the mapped files behind: another process maps them itself."""
        return {**self.__dict__, "_maps": {}}

    @cached_property
    def _width(self) -> int:
        return tensor.row_bytes(self.spec)

    @cached_property
    def _dtype(self) -> np.dtype:
        return np.dtype(self.spec.dtype).newbyteorder("<")

    def _mapped(self, shard: int) -> np.ndarray:
        found = self._maps.get(shard)
        if found is None:
            found = np.frombuffer(_map(self.path(shard)), np.uint8)
            self._maps[shard] = found
        return found


def open_view(folder: OutputFolder) -> View:
    """Return the view of a feature; only row heads are read, never values.

    Raises:
        StoreError: A part is damaged, or its values are compressed.
    """
    keys: list[np.ndarray] = [np.zeros(0, object)]
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for shard in folder.commits:
        try:
            with pq.ParquetFile(folder.path / part_name(shard)) as file:
                for found, offsets, lengths in _row_groups(folder, shard, file):
                    keys.append(found)
                    columns.append((np.full(len(found), shard, np.int32), offsets, lengths))
        except (OSError, ValueError, pa.ArrowException) as error:
            name = f"{folder.dataset}/{folder.name}/{folder.fingerprint}/{part_name(shard)}"
            hint = "`pipeline verify`; read compressed features with `read` or `iter_batches`"
            raise StoreError(f"'{name}' cannot be mapped: {error}", hint) from None
    empty = (np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    shards, offsets, lengths = map(np.concatenate, zip(empty, *columns, strict=True))
    return View(folder, np.concatenate(keys), shards, offsets, lengths)


def _row_groups(
    folder: OutputFolder, shard: int, file: pq.ParquetFile
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield keys, offsets and lengths of the rows that are ok, by row group."""
    spec, width = folder.feature, tensor.row_bytes(folder.feature)
    with _map(folder.path / part_name(shard)) as data:
        for group in range(file.num_row_groups):
            head = file.read_row_group(group, columns=["key", "status", "n"])
            ok = np.asarray(head["status"].to_pylist(), object) == "ok"
            lengths = np.asarray(head["n"].to_numpy(), np.int64)[ok]
            sizes = lengths * width
            prefix = _LENGTH_BYTES if spec.ragged else 0
            offsets = _offsets(value_pages(file, data, "value", group), ok, sizes + prefix)
            yield np.asarray(head["key"].to_pylist(), object)[ok], offsets + prefix, lengths


def _offsets(pages: Sequence[Page], ok: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return where each value begins: back to back within a page, nulls taking no room.

    Raises:
        ValueError: The values do not fill their pages exactly.
    """
    offsets = np.empty(len(sizes), np.int64)
    row = value = 0
    for page in pages:
        count = int(ok[row : row + page.rows].sum())
        ends = page.start + np.cumsum(sizes[value : value + count])
        if (int(ends[-1]) if count else page.start) != page.stop:
            raise ValueError("the values do not fill their page")
        offsets[value : value + count] = ends - sizes[value : value + count]
        row, value = row + page.rows, value + count
    if row != len(ok):
        raise ValueError(f"the pages hold {row} rows, expected {len(ok)}")
    return offsets


def _map(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
