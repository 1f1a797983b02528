"""What every format's reader returns: rows, features that give one array per row, tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..manifest import Splits, Task
from ..records import Failure, FeatureSpec, SourceRow

EMPTY = Failure("empty", "no step of this sequence holds a value", status="absent")
OFFICIAL = Splits(official=True, val=0.0)


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller says beside the files.

    Attributes:
        dataset: Name of the dataset; formats may take a task from it.
        folds: Split name to video ids, for formats whose files hold no splits.
    """

    dataset: str
    folds: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Treated:
    """Values that were not finite and became 0, and the rows they stood in."""

    nan: int = 0
    plus_inf: int = 0
    minus_inf: int = 0
    rows: int = 0

    def count(self, values: np.ndarray) -> None:
        """Add the values of one row."""
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return
        self.nan += int(np.isnan(values).sum())
        self.plus_inf += int(np.isposinf(values).sum())
        self.minus_inf += int(np.isneginf(values).sum())
        self.rows += 1

    @property
    def total(self) -> int:
        """Number of values."""
        return self.nan + self.plus_inf + self.minus_inf

    def to_json(self) -> dict[str, int]:
        """Return the counts by kind."""
        kinds = {"nan": self.nan, "plus_inf": self.plus_inf, "minus_inf": self.minus_inf}
        return {**kinds, "rows": self.rows}


@dataclass(frozen=True, slots=True)
class ForeignFeature:
    """One feature of a foreign file.

    Attributes:
        spec: What is stored.
        value: Gives the array of a row by its number, finite and without padding, or `EMPTY`.
        treated: Values that were not finite.
        facts: What was found: padding side, where lengths come from, the file's dtype.
    """

    spec: FeatureSpec
    value: Callable[[int], np.ndarray | Failure]
    treated: Treated
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a foreign file holds.

    Attributes:
        rows: One per sample, in the order of the file.
        features: Each gives a value, or its absence, for every row.
        tasks: What the labels mean.
        groups: Name of the group of each row that no generated split divides, such as its video;
            empty where the file's splits are used.
        splits: How rows without a split are divided.
        notes: What the user should know, one line each.
    """

    rows: list[SourceRow]
    features: list[ForeignFeature]
    tasks: Mapping[str, Task]
    groups: Sequence[str] = ()
    splits: Splits = OFFICIAL
    notes: Sequence[str] = ()


def finite(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return a copy in ``dtype`` with 0 in place of values that are not finite.

    A value beyond the range of ``dtype`` counts as infinite.
    """
    with np.errstate(over="ignore"):
        found = np.array(values, dtype=dtype)
    if found.dtype.kind == "f":
        np.nan_to_num(found, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return found


def stored_dtype(dtype: np.dtype[Any]) -> str:
    """Return the dtype a feature is stored in: doubles become float32, integers int32."""
    if dtype.kind == "f":
        return "float16" if dtype.itemsize == 2 else "float32"
    return "int32"
