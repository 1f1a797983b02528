"""Failed rows with their cause: reading what every cell recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .parquet import read_part


def quarantine_rows(folder: Path, shards: Iterable[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the failed rows below a quarantine folder: key, output, class, message, hint, shard."""
    wanted = None if shards is None else set(shards)
    for path in sorted(folder.glob("part-*.parquet")):
        shard = int(path.stem[5:])
        if wanted is None or shard in wanted:
            for row in read_part(path).to_pylist():
                yield {**row, "shard": shard}
