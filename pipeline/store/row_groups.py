"""Reading a feature one Parquet row group at a time: who is in it, then the values.

Row groups hold a few MiB, so memory stays bounded whatever the size of a shard. Only committed
parts are seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from . import tensor
from .layout import part_name
from .reader import OutputFolder

Values = np.ndarray | list[np.ndarray]


@dataclass(frozen=True)
class RowGroup:
    """One row group of an open part file.

    Attributes:
        folder: The feature.
        shard: Index of the shard.
        file: Its open part file; valid until the iteration goes on to the next part.
        index: Index of the row group in the file.
    """

    folder: OutputFolder
    shard: int
    file: pq.ParquetFile
    index: int

    @cached_property
    def head(self) -> pa.Table:
        """The columns ``key``, ``status`` and ``reason``."""
        return self._read(["key", "status", "reason"])

    @cached_property
    def keys(self) -> np.ndarray:
        """Keys, object array of str."""
        return np.asarray(self.head["key"].to_pylist(), dtype=object)

    @cached_property
    def ok(self) -> np.ndarray:
        """Which rows have a value, bool."""
        status = self.head["status"].to_pylist()
        return np.fromiter((item == "ok" for item in status), bool, len(status))

    def values(self) -> Values:
        """Return the values of all rows: ``(rows, *shape)``, or a list for a ragged feature.

        They are views of the decoded buffer. Rows that are not ok hold anything (fixed) or nothing
        (ragged): apply `ok` before use.
        """
        spec = self.folder.feature
        packed = tensor.storage(self._read(["value"])["value"])
        if spec.ragged:
            return tensor.ragged_to_numpy(packed, spec)
        return tensor.fixed_to_numpy(packed, spec)

    def _read(self, columns: list[str]) -> pa.Table:
        with readable(self.folder, self.shard):
            return self.file.read_row_group(self.index, columns=columns)


def iter_row_groups(
    folder: OutputFolder, memory_map: bool = False, shards: Iterable[int] | None = None
) -> Iterator[RowGroup]:
    """Yield the row groups of all committed shards, or of these, in order.

    Raises:
        StoreError: A committed part is missing or damaged.
    """
    for shard in folder.commits if shards is None else shards:
        path = folder.path / part_name(shard)
        with readable(folder, shard):
            file = pq.ParquetFile(path, memory_map=memory_map)
        with file:
            for index in range(file.num_row_groups):
                yield RowGroup(folder, shard, file, index)


@contextmanager
def readable(folder: OutputFolder, shard: int) -> Iterator[None]:
    """Turn what Arrow raises on a missing or damaged part into one readable error."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        cause = str(error).splitlines()[0]
        name = f"{folder.dataset}/{folder.name}/{folder.fingerprint}/{part_name(shard)}"
        hint = "`pipeline verify --repair`, then run extract again"
        raise StoreError(f"'{name}' cannot be read: {cause}", hint) from error
