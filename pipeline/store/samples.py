"""The samples table: one row per sample, the universe that every feature joins to by key."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..config import canonical_json
from ..errors import StoreError
from ..manifest import Manifest, Task
from ..records import Sample
from .layout import SAMPLES_NAME, StoreLayout, part_name, read_json, write_json, written_whole
from .parquet import read_part

LABEL_PREFIX = "label."
_TYPES = {
    "single": pa.int32(),
    "multi": pa.list_(pa.int32()),
    "regression": pa.float64(),
    "soft": pa.list_(pa.float64()),
}
_FIELDS = (
    ("key", pa.string()),
    ("split", pa.string()),
    ("split_origin", pa.string()),
    ("text", pa.string()),
    ("image", pa.string()),
    ("audio", pa.string()),
    ("source", pa.string()),
    ("group", pa.string()),
    ("content", pa.string()),
    ("image_sha256", pa.string()),
    ("image_phash", pa.uint64()),
    ("image_width", pa.int32()),
    ("image_height", pa.int32()),
    ("image_format", pa.string()),
    ("audio_sha256", pa.string()),
    ("start_s", pa.float64()),
    ("end_s", pa.float64()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("flags", pa.list_(pa.string())),
    ("origin", pa.string()),
    ("labels_raw", pa.string()),
    ("extra", pa.string()),
)


def samples_schema(tasks: Mapping[str, Task]) -> pa.Schema:
    """Return the schema of the samples table; label columns carry their class names."""
    fields = [pa.field(name, kind) for name, kind in _FIELDS]
    for name, task in tasks.items():
        meta = {"kind": task.kind, "classes": json.dumps(list(task.classes))}
        fields.append(pa.field(LABEL_PREFIX + name, _TYPES[task.kind], metadata=meta))
    return pa.schema(fields)


def content_digest(row: Mapping[str, Any]) -> str:
    """Return the digest of what can change a feature of this row: never labels, never the split."""
    parts = [row["key"], row["text"], row["image"], row["image_sha256"], row["audio"]]
    parts += [row["audio_sha256"], row["source"], row["status"]]
    interval = [row.get("start_s"), row.get("end_s")]
    if interval != [None, None]:
        parts.append(interval)
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class SamplesTable:
    """A samples table on disk.

    Attributes:
        path: Its folder, ``samples/<dataset>@<digest>``.
    """

    path: Path

    @cached_property
    def info(self) -> dict[str, Any]:
        """The content of `_samples.json`: counts, findings, digests per shard."""
        value = read_json(self.path / SAMPLES_NAME, ("rows", "content", "shards", "manifest"))
        if value is None:
            raise StoreError(f"'{self.path}' is not a complete samples table", "run it again")
        return value

    @property
    def dataset(self) -> str:
        """Dataset name."""
        return self.path.name.partition("@")[0]

    @property
    def digest(self) -> str:
        """Digest of all rows, labels and splits included."""
        return self.path.name.partition("@")[2]

    @property
    def content(self) -> str:
        """Digest of what can change a feature, over all rows."""
        return str(self.info["content"])

    @property
    def num_rows(self) -> int:
        """Number of samples."""
        return int(self.info["rows"])

    @property
    def shards(self) -> list[dict[str, Any]]:
        """Per shard: rows, content digest, split digest, rows by status."""
        return list(self.info["shards"])

    def table(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of one shard."""
        return read_part(self.path / part_name(shard), columns)

    def all_rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows; meant for few columns."""
        return pa.concat_tables([self.table(i, columns) for i in range(len(self.shards))])

    def samples(self, shard: int) -> list[Sample]:
        """Return one shard as `Sample` objects, labels included."""
        return [to_sample(row) for row in self.table(shard).to_pylist()]

    def iter_captions(self) -> Iterator[tuple[str, str, str]]:
        """Yield ``(key, split, text)`` of every sample, one shard in memory at a time."""
        for shard in range(len(self.shards)):
            table = self.table(shard, ["key", "split", "text"])
            columns = (table[name].to_pylist() for name in ("key", "split", "text"))
            yield from zip(*columns, strict=True)


def to_sample(row: Mapping[str, Any]) -> Sample:
    """Return a row of the samples table as a `Sample`."""
    labels = {
        name[len(LABEL_PREFIX) :]: value
        for name, value in row.items()
        if name.startswith(LABEL_PREFIX)
    }
    return Sample(
        key=row["key"],
        split=row["split"],
        text=row["text"] or "",
        image=row["image"],
        audio=row["audio"],
        labels=labels,
        source=row["source"],
        group=row["group"] or "",
        status=row["status"],
        reason=row["reason"] or "",
        flags=tuple(row["flags"] or ()),
        image_sha256=row["image_sha256"],
        audio_sha256=row["audio_sha256"],
        start_s=row.get("start_s"),
        end_s=row.get("end_s"),
    )


def write_samples(
    layout: StoreLayout,
    manifest: Manifest,
    rows: Sequence[dict[str, Any]],
    shard_rows: int,
    info: Mapping[str, Any],
) -> SamplesTable:
    """Write a samples table, or return the one that is already there.

    Args:
        layout: The store.
        manifest: The dataset.
        rows: One mapping per sample with the fields of `samples_schema`; ``content`` is filled in.
        shard_rows: Rows per shard.
        info: Further facts for `_samples.json`.
    """
    schema = samples_schema(manifest.tasks)
    for row in rows:
        row["content"] = content_digest(row)
    shards = [_shard_facts(rows[i : i + shard_rows]) for i in range(0, len(rows), shard_rows)]
    facts = {"manifest": manifest.model_dump(mode="json"), **info}
    whole = hashlib.sha256(canonical_json([shard_rows, schema.to_string(), facts]).encode())
    for row in rows:
        whole.update(canonical_json(row).encode())
    table = SamplesTable(layout.samples(manifest.name, whole.hexdigest()[:16]))
    if read_json(table.path / SAMPLES_NAME) is not None:
        return table
    for shard in range(len(shards)):
        part = list(rows[shard * shard_rows : (shard + 1) * shard_rows])
        with written_whole(table.path / part_name(shard)) as temporary:
            pq.write_table(pa.Table.from_pylist(part, schema=schema), temporary, compression="zstd")
    contents = [shard_rows, [shard["content"] for shard in shards]]
    content = hashlib.sha256(canonical_json(contents).encode()).hexdigest()[:32]
    statuses = Counter(row["status"] for row in rows)
    record = {
        "dataset": manifest.name,
        "rows": len(rows),
        "shard_rows": shard_rows,
        "content": content,
        "statuses": dict(sorted(statuses.items())),
        "shards": shards,
        **facts,
    }
    write_json(table.path / SAMPLES_NAME, record)
    return table


def _shard_facts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    contents = canonical_json([row["content"] for row in rows])
    splits = canonical_json([row["split"] for row in rows])
    labels = canonical_json(
        [{name: row[name] for name in row if name.startswith(LABEL_PREFIX)} for row in rows]
    )
    return {
        "rows": len(rows),
        "content": hashlib.sha256(contents.encode()).hexdigest()[:32],
        "splits": hashlib.sha256(splits.encode()).hexdigest()[:32],
        "labels": hashlib.sha256(labels.encode()).hexdigest()[:32],
        "statuses": dict(sorted(Counter(row["status"] for row in rows).items())),
    }
