"""Failed rows with their cause: reading what every cell recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import StoreError
from .parquet import read_part


def quarantine_rows(folder: Path, shards: Iterable[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the failed rows below a quarantine folder: key, output, class, message, hint, shard."""
    wanted = None if shards is None else set(shards)
    for path in sorted(folder.glob("part-*.parquet")):
        shard = int(path.stem[5:])
        if wanted is None or shard in wanted:
            for row in _rows(path):
                yield {**row, "shard": shard}


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = read_part(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        hint = "delete the file; the next run computes its shard again"
        raise StoreError(f"'{path}' is damaged: {error}", hint) from None
    return rows
