"""The samples of a dataset for reading: keys, splits and labels as NumPy arrays.

``N`` samples, ``C`` classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import StoreError, unknown_name
from .samples import LABEL_PREFIX, SamplesTable


@dataclass(frozen=True)
class Labels:
    """The labels of one task, in the order of the samples.

    Attributes:
        values: ``single`` (N,) int32, -1 where absent; ``multi`` (N, C) uint8, one column per
            class; ``regression`` (N,) float64 and ``soft`` (N, C) float64, NaN where absent.
        present: (N,) bool; False where the sample has no label.
        kind: ``single``, ``multi``, ``regression`` or ``soft``.
        classes: Names in the order of the codes; empty for regression.
    """

    values: np.ndarray
    present: np.ndarray
    kind: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class SamplesView:
    """All samples of one dataset.

    Attributes:
        source: The samples table it reads.
    """

    source: SamplesTable

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.source.num_rows

    @property
    def dataset(self) -> str:
        """Dataset name."""
        return self.source.dataset

    @property
    def digest(self) -> str:
        """Digest of all rows, labels and splits included."""
        return self.source.digest

    @property
    def info(self) -> dict[str, Any]:
        """Counts and findings of the ingest: statuses, splits, labels, flags, duplicates."""
        return self.source.info

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the samples as an Arrow table.

        Args:
            columns: Names of columns; None for all of them.
        """
        return self.source.all_rows(columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """Return the samples as a pandas data frame.

        Raises:
            MissingDependency: pandas is not installed.
        """
        from .optional import need

        need("pandas")
        return self.table(columns).to_pandas()

    @cached_property
    def keys(self) -> np.ndarray:
        """Keys, (N,) object array of str, in the order of the shards."""
        return self._strings("key")

    @cached_property
    def splits(self) -> np.ndarray:
        """Split of each sample, (N,) object array of ``train``, ``val`` or ``test``."""
        return self._strings("split")

    @cached_property
    def split_of(self) -> dict[str, str]:
        """Split by key."""
        return dict(zip(self.keys, self.splits, strict=True))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have labels."""
        names = self._schema.names
        return tuple(name[len(LABEL_PREFIX) :] for name in names if name.startswith(LABEL_PREFIX))

    def labels(self, task: str) -> Labels:
        """Return the labels of one task.

        Raises:
            StoreError: There is no such task.
        """
        if task not in self.tasks:
            raise StoreError(unknown_name("task", task, self.tasks))
        column = LABEL_PREFIX + task
        meta = self._schema.field(column).metadata
        kind, classes = meta[b"kind"].decode(), tuple(json.loads(meta[b"classes"]))
        cells = self.table([column])[column]
        present = np.asarray(cells.is_valid().to_numpy(), bool)
        return Labels(_label_values(cells, kind, len(classes)), present, kind, classes)

    @cached_property
    def _schema(self) -> pa.Schema:
        return self.source.table(0).schema

    def _strings(self, column: str) -> np.ndarray:
        return np.asarray(self.table([column])[column].to_pylist(), dtype=object)


def _label_values(cells: pa.ChunkedArray, kind: str, num_classes: int) -> np.ndarray:
    if kind == "single":
        return np.asarray(cells.fill_null(-1).to_numpy(), np.int32)
    if kind == "regression":
        return np.asarray(cells.fill_null(float("nan")).to_numpy(), np.float64)
    rows = cells.to_pylist()
    if kind == "soft":
        width = num_classes or max((len(row) for row in rows if row is not None), default=0)
        return np.array([row if row is not None else [np.nan] * width for row in rows], np.float64)
    # A vocabulary that the reader builds may be empty in the manifest: the codes tell its size.
    width = num_classes or max((max(row) + 1 for row in rows if row), default=0)
    values = np.zeros((len(rows), width), np.uint8)
    for index, row in enumerate(rows):
        values[index, row or []] = 1
    return values
