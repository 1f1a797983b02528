"""What a model is trained on: samples, labels and memory-mapped features, joined by key.

```
samples table ── rows of a split, labels, families ──┐
feature stores ── one view per role ── join by key ──┴─► SplitData ── batch(rows) ──► FusionBatch
```

**Rows.** Samples that the reader left out (``bad_row``, ``duplicate_row``, ``dropped``) are no
rows. Augmented samples are rows of ``train`` only, with labels and family of their source; a role
without a feature of its own for them takes the source's. Everything left out is counted.

**Missing features.** A sample without a feature (absent, or failed and so in quarantine) keeps its
row and gets a value of length 0, or, with ``missing: drop``, loses its row.

**Unopened splits.** Labels of a split that was not opened are nowhere in the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from affectflow.models.batch import FusionBatch, InputSpec, Task

from ..config import Config
from ..errors import StoreError
from .column import Column, Layout
from .standardization import Statistics, measure


class DataConfig(Config):
    """Which data.

    Attributes:
        dataset: Name of the dataset.
        stores: Folders of stores. Samples and labels come from the first that has the dataset;
            each feature from the first that has it.
        samples: Beginning of the digest of a samples table; by default the latest run's.
        features: Role to the feature that plays it, ``name`` or ``name@fingerprint's beginning``.
        tasks: What to predict; by default everything the dataset has labels for.
        augmented: Whether augmented samples take part in training.
        missing: Whether samples that lack a feature the model needs keep their row.
        max_length: Role to the most entries of the first axis; what follows is cut off.
        scale: Role to a number that its values are multiplied with. Features of different sources
            can differ in size by orders, and a model that concatenates them without normalising
            then sees the largest alone.
        standardize: Roles whose columns get mean 0 and deviation 1 over the entries of ``train``,
            augmented copies left out; see `standardization`. Evaluation and prediction use the
            numbers of the training. Not together with ``scale`` of the same role.
        nonfinite: What NaN and infinite values are: an ``error``, or ``zero`` and counted.
        dtype: Floats are read as ``float32``, or ``stored`` as they are until they are where the
            model computes, which then has to be moved less.
        incomplete: Whether a feature that is not fully extracted will do.
        cache: Folder for what is made for faster reading; by default the cache of each store.
    """

    dataset: str
    stores: tuple[str, ...] = Field(min_length=1)
    samples: str | None = None
    features: Mapping[str, str] = {}
    tasks: tuple[str, ...] = ()
    augmented: bool = True
    missing: Literal["keep", "drop"] = "keep"
    max_length: Mapping[str, int] = {}
    scale: Mapping[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    standardize: tuple[str, ...] = ()
    nonfinite: Literal["error", "zero"] = "error"
    dtype: Literal["float32", "stored"] = "float32"
    incomplete: bool = False
    cache: str | None = None


@dataclass(frozen=True)
class SplitData:
    """The rows of one split.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        keys: (N,) object array of str.
        families: (N,) int64: equal for a sample and the copies augmented from it.
        augmented: (N,) bool: which rows are such copies.
        labels: By task, in the conventions of `FusionBatch`.
        columns: By role.
        digest: Digest of keys, families, labels and features.
    """

    name: str
    keys: np.ndarray
    families: np.ndarray
    augmented: np.ndarray
    labels: Mapping[str, np.ndarray]
    columns: Mapping[str, Column]
    digest: str

    def __len__(self) -> int:
        """Return N."""
        return len(self.keys)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64: entries of all ragged features together, by which batches are bucketed."""
        ragged = [column.length for column in self.columns.values() if column.spec.ragged]
        return np.sum([np.zeros(len(self), np.int64), *ragged], axis=0)

    def batch(self, rows: Sequence[int] | np.ndarray, layout: Layout = "padded") -> FusionBatch:
        """Return these rows, in this order; ragged features padded or packed."""
        where = np.asarray(rows, np.int64)
        return FusionBatch(
            keys=tuple(self.keys[where].tolist()),
            features={role: column.batch(where, layout) for role, column in self.columns.items()},
            labels={task: torch.from_numpy(found[where]) for task, found in self.labels.items()},
            families=torch.from_numpy(self.families[where]),
        )

    def entries(
        self, role: str, numbers: int = 1 << 21, most: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the entries of a role that count, (n, *rest), without those of augmented copies.

        Args:
            role: The role.
            numbers: About how many numbers at a time; a sample is never cut.
            most: Of so many samples at most, spread evenly; None for all.
        """
        column = self.columns[role]
        rows = np.flatnonzero(~self.augmented & (column.valid > 0))
        if most is not None and len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
        sizes = np.cumsum(column.numbers(rows))
        cuts = np.flatnonzero(np.diff(sizes // numbers)) + 1
        for piece in np.split(rows, cuts) if len(rows) else ():
            yield column.batch(piece, "packed").packed().values.numpy()

    def standardized(self, statistics: Mapping[str, Statistics]) -> SplitData:
        """Return the split with batches of these roles standardized."""
        columns = {
            role: replace(column, statistics=statistics.get(role))
            for role, column in self.columns.items()
        }
        return replace(self, columns=columns)


@dataclass(frozen=True)
class TrainingData:
    """Opened splits of a dataset.

    Attributes:
        inputs: Shape per sample by role.
        tasks: What to predict.
        digest: Digest of all opened splits.
        fingerprints: By role: feature, fingerprint, store and warnings.
        counts: What was opened, what is missing, what was left out.
        splits: The opened splits.
        samples: Digest of the samples table they come from, labels and splits included.
        statistics: By role, what its columns are standardized with; empty before that is done.
    """

    inputs: dict[str, InputSpec]
    tasks: tuple[Task, ...]
    digest: str
    fingerprints: dict[str, dict[str, Any]]
    counts: dict[str, Any]
    splits: Mapping[str, SplitData]
    samples: str
    statistics: Mapping[str, Statistics] = field(default_factory=dict)

    def split(self, name: str) -> SplitData:
        """Return one split.

        Raises:
            StoreError: It was not opened.
        """
        if name not in self.splits:
            message = f"split '{name}' was not opened; opened: {', '.join(self.splits)}"
            raise StoreError(message, "training never opens the test split; evaluation does")
        return self.splits[name]

    def measured(self, role: str) -> Statistics:
        """Return the statistics of a role over ``train``, which reads all of its values.

        Raises:
            StoreError: The split was not opened, has no value of the role, or one that is not
                finite.
        """
        dtype = self.split("train").columns[role].spec.dtype
        found = measure(self.split("train").entries(role), dtype)
        if found is None:
            message = f"data.standardize: no sample of 'train' has '{role}'"
            raise StoreError(message, f"leave {role} out of data.standardize")
        if not (np.isfinite(found.mean).all() and np.isfinite(found.deviation).all()):
            message = f"data.standardize: '{role}' has values beyond float32"
            raise StoreError(message, f"leave {role} out of data.standardize")
        return found

    def standardized(self, statistics: Mapping[str, Statistics]) -> TrainingData:
        """Return the data with all batches of these roles standardized."""
        facts = {role: found.facts for role, found in statistics.items()}
        return replace(
            self,
            counts={**self.counts, "standardized": facts},
            splits={name: split.standardized(statistics) for name, split in self.splits.items()},
            statistics=dict(statistics),
        )
