"""Writing one shard of one output: streamed into a temporary file, renamed, then committed.

The bytes of a part depend on its rows and its schema only, so a rerun gives identical files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..records import Failure, FeatureSpec, OutputSpec
from . import tensor
from .layout import commit_name, disk_error, part_name, remove_quietly, written_whole

ROW_GROUP_BYTES = 6 * 2**20
_HEAD = (
    pa.field("key", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
)
QUARANTINE_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "output", "class", "message", "hint")]
)


def output_schema(spec: OutputSpec) -> pa.Schema:
    """Return the schema of a part file of ``spec``."""
    if isinstance(spec, FeatureSpec):
        value = pa.field("value", tensor.value_type(spec))
        return pa.schema([*_HEAD, pa.field("n", pa.int32(), nullable=False), value])
    return pa.schema([*_HEAD, *spec.schema])


class ShardWriter:
    """Writes the rows of one shard of one output, in order.

    Used as a context manager: leaving it normally syncs and renames the part; leaving it by an
    exception removes the temporary file. `result` then holds counts and digests for the commit.

    Args:
        folder: Folder of the output.
        shard: Index of the shard.
        spec: What is written.
    """

    def __init__(self, folder: Path, shard: int, spec: OutputSpec) -> None:
        self.path = folder / part_name(shard)
        self.spec = spec
        self.schema = output_schema(spec)
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.result: dict[str, Any] = {}
        self._keys = hashlib.sha256()
        self._rows: list[dict[str, Any]] = []
        self._pending = 0
        self._temporary = self.path.parent / (
            f".{self.path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        )

    def __enter__(self) -> ShardWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._temporary, self.schema, **self._options())
        except OSError as error:
            remove_quietly(self._temporary)
            raise disk_error(error, self.path) from error
        return self

    def _options(self) -> dict[str, Any]:
        codec = "zstd"
        if isinstance(self.spec, FeatureSpec):
            codec = self.spec.compression
        columns = dict.fromkeys(self.schema.names, "zstd")
        if "value" in columns:
            columns["value"] = "NONE" if codec == "none" else codec
        return {
            "compression": columns,
            "use_dictionary": ["status", "reason"],
            "write_statistics": ["key"],
            "data_page_size": ROW_GROUP_BYTES,
        }

    def append(self, key: str, value: Any) -> None:
        """Add one row: an array, a mapping of columns, or a `Failure`.

        Raises:
            ValueError: The value is not what the spec declares.
        """
        self._keys.update(key.encode() + b"\n")
        row = self._row(key, value)
        self.counts[row["status"]] += 1
        if row["reason"] is not None:
            self.reasons[row["reason"]] += 1
        self._rows.append(row)
        self._pending += self._size(row)
        if self._pending >= ROW_GROUP_BYTES:
            self._flush()

    def _row(self, key: str, value: Any) -> dict[str, Any]:
        if isinstance(value, Failure):
            return {"key": key, "status": value.status, "reason": value.code, "n": 0}
        row: dict[str, Any] = {"key": key, "status": "ok", "reason": None}
        if isinstance(self.spec, FeatureSpec):
            row["n"] = len(value) if self.spec.ragged else 1
            row["value"] = value
        else:
            unknown = set(value) - set(self.spec.schema.names)
            if unknown:
                raise ValueError(f"{self.spec.name}: undeclared columns {sorted(unknown)}")
            row.update(value)
        return row

    def _size(self, row: Mapping[str, Any]) -> int:
        if isinstance(self.spec, FeatureSpec):
            value = row.get("value")
            # A null row of a fixed shape still takes its width in memory.
            width = 0 if self.spec.ragged else tensor.row_bytes(self.spec)
            return 64 + (width if value is None else int(value.nbytes))
        return 64 + sum(len(item) if isinstance(item, bytes | str) else 64 for item in row.values())

    def _flush(self) -> None:
        if not self._rows:
            return
        columns: list[pa.Array] = []
        for field in self.schema:
            cells = [row.get(field.name) for row in self._rows]
            if field.name == "value" and isinstance(self.spec, FeatureSpec):
                packed = tensor.pack(cells, self.spec)
                columns.append(pa.ExtensionArray.from_storage(field.type, packed))
            else:
                columns.append(pa.array(cells, type=field.type))
        table = pa.Table.from_arrays(columns, schema=self.schema)
        try:
            self._writer.write_table(table, row_group_size=max(1, len(self._rows)))
        except OSError as error:
            raise disk_error(error, self.path) from error
        self._rows.clear()
        self._pending = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
                self._close()
                self._rename()
            else:
                # The first error is the one to show; a second one on closing adds nothing.
                with contextlib.suppress(OSError):
                    self._writer.close()
        finally:
            remove_quietly(self._temporary)

    def _close(self) -> None:
        try:
            self._writer.close()
        except OSError as error:
            raise disk_error(error, self.path) from error

    def _rename(self) -> None:
        self.result = {
            "rows": {name: self.counts[name] for name in ("ok", "absent", "failed")},
            "reasons": dict(sorted(self.reasons.items())),
            "keys": self._keys.hexdigest(),
            "bytes": self._temporary.stat().st_size,
            "sha256": file_sha256(self._temporary),
        }
        with written_whole(self.path) as temporary:
            os.replace(self._temporary, temporary)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_quarantine(folder: Path, shard: int, rows: list[dict[str, str]]) -> None:
    """Write the failed rows of one cell; with none, remove what an earlier attempt left."""
    path = folder / part_name(shard)
    if not rows:
        path.unlink(missing_ok=True)
        return
    with written_whole(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), temporary)


def commit_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard's commit record."""
    return folder / commit_name(shard)


def as_value(value: Any, spec: OutputSpec) -> Any:
    """Return ``value`` checked against ``spec``; a value that does not fit becomes a `Failure`."""
    if isinstance(value, Failure) or not isinstance(spec, FeatureSpec):
        return value
    try:
        return tensor.check_value(value, spec)
    except tensor.NotFinite as error:
        return Failure("not_finite", str(error), "look at the input: `pipeline inspect KEY`")
    except ValueError as error:
        return Failure("contract", str(error), "the extractor and its declared spec disagree")
