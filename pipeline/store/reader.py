"""Reading committed features and tables; uncommitted files are never seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import StoreError
from ..records import FeatureSpec
from . import tensor
from .layout import SPEC_NAME, StoreLayout, part_name, read_json


@dataclass(frozen=True)
class OutputFolder:
    """One feature or table under one fingerprint.

    Attributes:
        path: Its folder.
        room: ``features`` or ``tables``.
    """

    path: Path
    room: str

    @property
    def name(self) -> str:
        """Feature or node name."""
        return self.path.parent.name

    @property
    def dataset(self) -> str:
        """Dataset name."""
        return self.path.parent.parent.name

    @property
    def fingerprint(self) -> str:
        """Fingerprint."""
        return self.path.name

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The content of `_spec.json`."""
        value = read_json(self.path / SPEC_NAME)
        if value is None:
            raise StoreError(f"'{self.path}' has no readable {SPEC_NAME}", "run extract again")
        return value

    @cached_property
    def feature(self) -> FeatureSpec:
        """The feature's spec; an error for tables."""
        return FeatureSpec.from_json(self.spec["output"])

    @cached_property
    def commits(self) -> dict[int, dict[str, Any]]:
        """Commit records by shard."""
        return dict(sorted(_commits(self.path)))

    @property
    def num_shards(self) -> int:
        """Shards the samples have; committed ones may be fewer."""
        return int(self.spec["num_shards"])

    def counts(self) -> dict[str, int]:
        """Return rows by status over all committed shards."""
        total = {"ok": 0, "absent": 0, "failed": 0}
        for commit in self.commits.values():
            for status, number in commit["rows"].items():
                total[status] += number
        return total

    def parts(self) -> list[Path]:
        """Return the committed part files in shard order."""
        return [self.path / part_name(shard) for shard in self.commits]

    def table(self, shard: int, columns: list[str] | None = None) -> pa.Table:
        """Return the table of one committed shard."""
        if shard not in self.commits:
            raise StoreError(f"{self.name}: shard {shard} is not committed", "run extract again")
        return pq.read_table(self.path / part_name(shard), columns=columns, partitioning=None)


def _commits(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for path in folder.glob("part-*.commit.json"):
        value = read_json(path)
        if value is not None:
            yield int(path.name[5 : -len(".commit.json")]), value


def list_outputs(layout: StoreLayout, room: str, dataset: str | None = None) -> list[OutputFolder]:
    """Return every output in a room of a store, sorted by dataset, name and fingerprint."""
    base = layout.root / room
    pattern = f"{dataset or '*'}/*/*/{SPEC_NAME}"
    return [OutputFolder(path.parent, room) for path in sorted(base.glob(pattern))]


def read_fixed(folder: OutputFolder) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and values of the rows that are ok.

    Returns:
        ``(keys, values)``: object array of N strings and ``(N, *shape)``. With one shard and no
        missing row the values are a view of the file's buffer.
    """
    keys: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for shard in folder.commits:
        table = folder.table(shard, ["key", "status", "value"])
        ok = _is_ok(table)
        array = tensor.fixed_to_numpy(tensor.storage(table["value"]), folder.feature)
        keys.append(_keys(table)[ok] if not ok.all() else _keys(table))
        values.append(array if ok.all() else array[ok])
    if not values:
        shape = [int(size or 0) for size in folder.feature.shape]
        return np.zeros(0, object), np.zeros((0, *shape), folder.feature.dtype)
    return np.concatenate(keys), values[0] if len(values) == 1 else np.concatenate(values)


def read_ragged(folder: OutputFolder) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return keys and one ``(n, *rest)`` array per row that is ok, views of the file's buffer."""
    keys: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for shard in folder.commits:
        table = folder.table(shard, ["key", "status", "value"])
        ok = _is_ok(table)
        rows = tensor.ragged_to_numpy(tensor.storage(table["value"]), folder.feature)
        keys.append(_keys(table)[ok])
        values.extend(row for row, keep in zip(rows, ok, strict=True) if keep)
    return (np.concatenate(keys) if keys else np.zeros(0, object)), values


def _keys(table: pa.Table) -> np.ndarray:
    return np.asarray(table["key"].to_pylist(), dtype=object)


def _is_ok(table: pa.Table) -> np.ndarray:
    status = table["status"].combine_chunks()
    return np.asarray(pc.equal(status, "ok").to_numpy(zero_copy_only=False), bool)


def rows_of(folder: OutputFolder, shard: int) -> list[Mapping[str, Any]]:
    """Return the rows of a table's shard as mappings, in order."""
    rows: list[Mapping[str, Any]] = folder.table(shard).to_pylist()
    return rows
