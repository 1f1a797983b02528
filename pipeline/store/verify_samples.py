"""Checking a samples table against its own record: rows, keys, content digests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from ..config import canonical_json
from .layout import SAMPLES_NAME, read_json
from .samples import SamplesTable, content_digest

_COLUMNS = ("key", "text", "image", "image_sha256", "audio", "audio_sha256", "source", "status")
# Tables written before rows could be intervals of recordings have no such columns.
_INTERVAL = ("start_s", "end_s")


def check_samples(table: SamplesTable) -> Iterator[tuple[int | None, str]]:
    """Yield ``(shard, what is wrong)`` of a samples table."""
    if read_json(table.path / SAMPLES_NAME) is None:
        yield None, f"there is no readable {SAMPLES_NAME}"
        return
    seen: set[str] = set()
    total = 0
    for shard, facts in enumerate(table.shards):
        try:
            part = table.table(shard)
            known = [name for name in _INTERVAL if name in part.column_names]
            rows = part.select([*_COLUMNS, *known, "content", "split"]).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            yield shard, f"cannot be read: {str(error).splitlines()[0]}"
            continue
        keys = [row["key"] for row in rows]
        repeated = {key for key, count in Counter(keys).items() if count > 1 or key in seen}
        seen.update(keys)
        total += len(rows)
        if repeated:
            yield shard, f"{len(repeated)} keys stand twice, first '{min(repeated)}'"
        if len(rows) != facts["rows"]:
            yield shard, f"{len(rows)} rows, recorded {facts['rows']}"
        if any(row["content"] != content_digest(row) for row in rows):
            yield shard, "a row is not what its digest says"
        if _digest([row["content"] for row in rows]) != facts["content"]:
            yield shard, "rows are not those that were recorded"
        if _digest([row["split"] for row in rows]) != facts["splits"]:
            yield shard, "splits are not those that were recorded"
    if total != table.num_rows:
        yield None, f"{total} rows, recorded {table.num_rows}"


def _digest(values: list[str]) -> str:
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()[:32]
