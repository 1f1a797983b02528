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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from affectflow.models.batch import FusionBatch, InputSpec, Task

from ..config import Config, digest
from ..errors import ConfigError, StoreError, unknown_name
from ..store.api import Store, open_store
from ..store.feature import SPLITS
from .column import Column, Layout
from .residual_text import residual_text
from .sources import Source, find_source, missing_feature, record

TOLD_BYTES = 100 * 2**20
"""Who opens a feature for the first time is told so if it is larger than this."""


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
        labels: By task, in the conventions of `FusionBatch`.
        columns: By role.
        digest: Digest of keys, families, labels and features.
    """

    name: str
    keys: np.ndarray
    families: np.ndarray
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
    """

    inputs: dict[str, InputSpec]
    tasks: tuple[Task, ...]
    digest: str
    fingerprints: dict[str, dict[str, Any]]
    counts: dict[str, Any]
    splits: Mapping[str, SplitData]
    samples: str

    def split(self, name: str) -> SplitData:
        """Return one split.

        Raises:
            StoreError: It was not opened.
        """
        if name not in self.splits:
            message = f"split '{name}' was not opened; opened: {', '.join(self.splits)}"
            raise StoreError(message, "training never opens the test split; evaluation does")
        return self.splits[name]


def open_data(
    config: DataConfig,
    roles: Mapping[str, str],
    optional: frozenset[str],
    splits: Sequence[str],
    *,
    labelled: bool = True,
    tell: Callable[[str], None] = lambda message: None,
) -> TrainingData:
    """Open splits of a dataset.

    Args:
        config: Which data.
        roles: The model's roles and the feature that plays each by default; empty for none.
        optional: Roles that data need not have.
        splits: Which splits to open.
        labelled: Whether every task must have labels in every opened split (but the test split,
            whose labels may be withheld). When not, no label is read and there are no tasks.
        tell: Called before what may take long.

    Raises:
        StoreError: A feature, a split, a task or its labels are not there or not usable.
        ConfigError: The configuration speaks of roles that there are not.
    """
    from .assemble import assemble, find_samples

    for name in splits:
        if name not in SPLITS:
            raise StoreError(unknown_name("split", name, SPLITS))
    stores = [open_store(path) for path in config.stores]
    sources = find_sources(config, stores, roles, optional, "train" in splits)
    inputs = {role: _input(source, config.max_length) for role, source in sources.items()}
    samples = find_samples(config, stores)
    for role, source in sources.items():
        if (unread := source.unread_bytes) > TOLD_BYTES:
            tell(f"preparing {role}: the first opening reads {unread / 2**20:,.0f} MiB once")
    tasks, opened, counts = assemble(config, samples, sources, optional, splits, labelled)
    if left := residual_text(sources.values()):
        counts["residual_text"] = left
    return TrainingData(
        inputs=inputs,
        tasks=tasks,
        digest=digest({name: opened[name].digest for name in opened}, 32),
        fingerprints={role: record(source, samples) for role, source in sources.items()},
        counts=counts,
        splits=opened,
        samples=samples.digest,
    )


def find_sources(
    config: DataConfig,
    stores: Sequence[Store],
    roles: Mapping[str, str],
    optional: frozenset[str],
    train: bool,
) -> dict[str, Source]:
    """Return the feature of each role; optional roles without one are left out.

    Raises:
        StoreError: A role that must be played has no feature.
        ConfigError: The configuration names a role that there is not.
    """
    for field in ("features", "max_length", "scale"):
        named: Mapping[str, Any] = getattr(config, field)
        unknown = sorted(set(named) - set(roles))
        if unknown:
            message = unknown_name("role", unknown[0], roles)
            raise ConfigError(f"data.{field}: {message}", "roles are the model's names for inputs")
    found: dict[str, Source] = {}
    for role, default in roles.items():
        reference = config.features.get(role, default)
        if not reference:
            continue
        source = find_source(
            stores,
            config.dataset,
            role,
            reference,
            cache=None if config.cache is None else Path(config.cache),
            incomplete=config.incomplete,
            augmented=config.augmented and train,
        )
        if source is not None:
            found[role] = source
        elif role not in optional or role in config.features:
            raise missing_feature(stores, config.dataset, role, reference)
    return found


def _input(source: Source, limits: Mapping[str, int]) -> InputSpec:
    """Return the shape per sample that a role is given out with."""
    shape, limit = source.spec.shape, limits.get(source.role)
    if limit is None:
        return InputSpec(shape)
    if limit < 1 or len(shape) < 1 or (len(shape) < 2 and not source.spec.ragged):
        message = f"data.max_length.{source.role} = {limit}, of a feature of shape {shape}"
        raise ConfigError(message, "it cuts the first of several axes to at least 1 entry")
    if source.spec.ragged:
        return InputSpec(shape)
    return InputSpec((min(limit, int(shape[0] or 0)), *shape[1:]))
