"""The rows of one cell: samples or their children, each with what the nodes before it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..errors import StoreError
from ..records import Failure, Row, Sample, child_key
from ..store.layout import part_name
from ..store.parquet import read_part
from ..store.quarantine import quarantine_rows
from ..store.samples import SamplesTable
from .graph import SAMPLES
from .task import CellTask, Upstream

_BATCH_ROWS = 16


class UpstreamTable:
    """Rows of a committed table, read in order and joined by key."""

    def __init__(self, folder: Path, shard: int, quarantine: Path) -> None:
        self._folder = folder
        self._shard = shard
        self._quarantine = quarantine
        self._file = pq.ParquetFile(folder / part_name(shard))
        self._rows = self._iterate()
        self._current: dict[str, Any] | None = None

    def _iterate(self) -> Iterator[dict[str, Any]]:
        for batch in self._file.iter_batches(batch_size=_BATCH_ROWS):
            yield from batch.to_pylist()

    def get(self, key: str) -> Mapping[str, Any] | Failure:
        """Return the columns of ``key``, or why there are none; keys are asked for in order.

        Raises:
            StoreError: The key is not in the table: it was made from other samples.
        """
        while self._current is None or self._current["key"] != key:
            self._current = next(self._rows, None)
            if self._current is None:
                raise StoreError(f"'{self._folder}' has no row '{key}'", "run `pipeline verify`")
        row = self._current
        if row["status"] == "ok":
            return row
        cause = self._causes.get(key, {"message": f"{row['status']}: {row['reason']}", "hint": ""})
        return Failure(row["reason"], cause["message"], cause["hint"], row["status"])

    @cached_property
    def _causes(self) -> dict[str, dict[str, Any]]:
        """What the stage recorded about the rows it failed, by key."""
        return {row["key"]: row for row in quarantine_rows(self._quarantine, [self._shard])}


def cell_rows(task: CellTask) -> Iterator[Row]:
    """Yield the rows of a cell in the order they are written."""
    tables = {
        name: (UpstreamTable(Path(source.folder), task.shard, Path(source.quarantine)), source)
        for name, source in task.reads.items()
    }
    root = Path(task.root)
    for sample in _samples(task):
        upstream = {
            name: table.get(_joined_key(sample, source)) for name, (table, source) in tables.items()
        }
        yield Row(sample, root, upstream)


def _joined_key(sample: Sample, source: Upstream) -> str:
    if source.rows == SAMPLES and sample.source is not None:
        return sample.source
    return sample.key


def _samples(task: CellTask) -> Iterator[Sample]:
    originals = SamplesTable(Path(task.samples)).samples(task.shard)
    if task.children is None:
        yield from originals
        return
    by_key = {sample.key: sample for sample in originals}
    table = read_part(Path(task.children) / part_name(task.shard))
    for row in table.to_pylist():
        for child in row["children"] or ():
            yield child_of(by_key[row["key"]], child["index"], child["text"])


def child_of(source: Sample, index: int, text: str) -> Sample:
    """Return the augmented sample made from ``source``: same labels and group, split train."""
    return replace(
        source,
        key=child_key(source.key, index),
        text=text,
        source=source.key,
        split="train",
        flags=(),
    )
