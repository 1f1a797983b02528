"""Single rows out of large parts: only the row group that holds a row is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import StoreError
from ..store.layout import part_name
from ..store.reader import OutputFolder
from ..store.samples import SamplesTable


def position_of(folder: OutputFolder, shard: int, key: str) -> int | None:
    """Return the row number of ``key`` in a committed shard, or None."""
    index = pc.index(folder.table(shard, ["key"])["key"], pa.scalar(key)).as_py()
    return None if index < 0 else int(index)


def row_table(
    folder: OutputFolder, shard: int, position: int, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the table of one row.

    Raises:
        StoreError: The part has fewer rows.
    """
    with pq.ParquetFile(folder.path / part_name(shard)) as file:
        start = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if position < start + rows:
                wanted = None if columns is None else list(columns)
                return file.read_row_group(group, columns=wanted).slice(position - start, 1)
            start += rows
    raise StoreError(f"'{folder.path}' has no row {position} in shard {shard}", "pipeline verify")


def sample_rows(
    samples: SamplesTable, wanted: Mapping[int, set[str]], columns: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return rows of the samples table by key.

    Args:
        samples: The table.
        wanted: Shard to the keys wanted from it.
        columns: Columns besides ``key``.
    """
    found: dict[str, dict[str, Any]] = {}
    for shard, keys in wanted.items():
        table = samples.table(shard, ["key", *columns])
        chosen = table.filter(pc.is_in(table["key"], pa.array(sorted(keys), pa.string())))
        found.update((row["key"], row) for row in chosen.to_pylist())
    return found
