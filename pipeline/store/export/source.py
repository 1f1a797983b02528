"""What every export format is given: the rows of one feature in batches, in order, all statuses.

``R`` rows of a batch, ``K`` of them with a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...errors import StoreError
from ...records import FeatureSpec, source_key
from ..feature import Feature, FeatureRow
from ..row_groups import Values

BATCH_ROWS = 128


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in the order of the store.

    Attributes:
        rows: R rows, absent and failed ones included.
        splits: Split of each.
        sources: Key of the sample an augmented row was made from, else None.
        spec: The feature's spec.
    """

    rows: list[FeatureRow]
    splits: list[str]
    sources: list[str | None]
    spec: FeatureSpec

    @property
    def lengths(self) -> list[int]:
        """Length of each row's ragged axis; 1 for a fixed shape; 0 without a value."""
        return [
            0 if row.value is None else len(row.value) if self.spec.ragged else 1
            for row in self.rows
        ]

    @property
    def values(self) -> Values:
        """Values of the K rows that have one: ``(K, *shape)``, or a list when ragged."""
        found = [row.value for row in self.rows if row.value is not None]
        if self.spec.ragged:
            return found
        shape = [int(size or 0) for size in self.spec.shape]
        return np.stack(found) if found else np.zeros((0, *shape), self.spec.dtype)

    def head(self, index: int) -> dict[str, str | int | None]:
        """Return everything but the value of one row."""
        row = self.rows[index]
        return {
            "key": row.key,
            "status": row.status,
            "reason": row.reason,
            "split": self.splits[index],
            "source": self.sources[index],
            "n": self.lengths[index],
        }

    def heads(self) -> dict[str, list[str | int | None]]:
        """Return everything but the values, by column."""
        return {
            "key": [row.key for row in self.rows],
            "status": [row.status for row in self.rows],
            "reason": [row.reason for row in self.rows],
            "split": list(self.splits),
            "source": list(self.sources),
            "n": list(self.lengths),
        }


HEAD = ("key", "status", "reason", "split", "source", "n")


class ExportSource:
    """The rows of one feature, streamed; counts what was read.

    Args:
        feature: What is exported.
        split: Only this split's rows.
    """

    def __init__(self, feature: Feature, split: str | None) -> None:
        self.feature = feature
        self.spec = feature.spec
        self.rows = 0
        self.rows_ok = 0
        self._split = split

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order, in bounded memory."""
        rows: list[FeatureRow] = []
        splits: list[str] = []
        of = {} if self.feature.augmented else self.feature.split_of()
        for row in self.feature.rows():
            # Augmented samples stand in no samples table and are always in train.
            split = "train" if self.feature.augmented else of.get(row.key)
            if split is None:
                message = f"{self.spec.name}: '{row.key}' is not among the samples"
                raise StoreError(message, "`pipeline verify --all`")
            if self._split is not None and split != self._split:
                continue
            rows.append(row)
            splits.append(split)
            if len(rows) == BATCH_ROWS:
                yield self._batch(rows, splits)
                rows, splits = [], []
        if rows:
            yield self._batch(rows, splits)

    def _batch(self, rows: list[FeatureRow], splits: list[str]) -> Batch:
        self.rows += len(rows)
        self.rows_ok += sum(row.value is not None for row in rows)
        augmented = self.feature.augmented
        sources = [source_key(row.key) if augmented else None for row in rows]
        return Batch(rows, splits, sources, self.spec)
