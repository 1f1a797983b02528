"""Putting the rows of each split together: who is in it, with which labels, values and family.

``N`` rows of a split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from affectflow.models.batch import Task

from ..errors import StoreError
from ..records import source_key
from ..store.api import Store
from ..store.finite import nonfinite_rows
from ..store.samples_view import SamplesView
from ..store.view import View
from .buffers import BufferPool
from .column import Column
from .data import DataConfig, SplitData
from .labels import choose_tasks, read_labels
from .sources import Source

LEFT_OUT = ("bad_row", "duplicate_row", "dropped")
"""Statuses of samples that are no rows of any split."""


@dataclass(frozen=True)
class Rows:
    """The rows of one split.

    Attributes:
        keys: (N,) object array of str.
        sources: (N,) int64: position in the samples table of the sample, or of its source.
        augmented: (N,) bool.
    """

    keys: np.ndarray
    sources: np.ndarray
    augmented: np.ndarray

    def take(self, where: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(self.keys[where], self.sources[where], self.augmented[where])


@dataclass(frozen=True)
class Located:
    """A role's values in the files.

    Attributes:
        source: The feature.
        views: Of the samples, then of the augmented samples where they have this feature.
        num_valid: Entries that count by key, for a fixed shape, where recorded.
        nonfinite: NaN and infinite values by key, where there are any.
    """

    source: Source
    views: list[View]
    num_valid: Mapping[str, int] | None
    nonfinite: Mapping[str, int]
    positions: list[dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", [view.positions for view in self.views])

    def find(self, rows: Rows, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N,) number of the view and (N,) position in it, -1 where there is no value.

        Args:
            rows: The rows.
            names: Keys of the samples table.
        """
        which = np.where(rows.augmented, len(self.views) - 1, 0)
        sought = self.keys(rows, names)
        found = [self.positions[view].get(key, -1) for view, key in zip(which, sought, strict=True)]
        return which, np.asarray(found, np.int64).reshape(len(rows.keys))

    def keys(self, rows: Rows, names: np.ndarray) -> np.ndarray:
        """Return (N,) keys under which the values lie: an augmented sample's own, or its source's.

        Args:
            rows: The rows.
            names: Keys of the samples table.
        """
        return rows.keys if len(self.views) > 1 else names[rows.sources]


def assemble(
    config: DataConfig,
    samples: SamplesView,
    sources: Mapping[str, Source],
    optional: frozenset[str],
    splits: Sequence[str],
    labelled: bool,
) -> tuple[tuple[Task, ...], dict[str, SplitData], dict[str, Any]]:
    """Return the tasks, the opened splits and the counts; see `open_data`."""
    universe = _Universe(samples)
    wanted = np.isin(universe.splits, list(splits)) & universe.usable
    labels: dict[str, np.ndarray] = {}
    tasks: list[Task] = []
    for name in choose_tasks(samples, config.tasks) if labelled else ():
        task, labels[name] = read_labels(samples, name, wanted)
        tasks.append(task)
    located = {role: _locate(source) for role, source in sources.items()}
    needed = frozenset(sources) - optional if config.missing == "drop" else frozenset()
    builder = _Builder(config, universe, located, labels, needed)
    opened = {name: builder.split(name) for name in splits}
    if labelled:
        for split in opened.values():
            _check_labels(split, config.dataset)
    counts = {"left_out": universe.left_out, "splits": builder.counts}
    return tuple(tasks), opened, {**counts, "nonfinite_as_zero": builder.nonfinite}


def find_samples(config: DataConfig, stores: Sequence[Store]) -> SamplesView:
    """Return the samples of the first store that has the dataset, or the table that is named."""
    for store in stores:
        if any(store.path.glob(f"samples/{config.dataset}@{config.samples or ''}*/_samples.json")):
            return store.samples(config.dataset, config.samples)
    return stores[0].samples(config.dataset, config.samples)


def _locate(source: Source) -> Located:
    views = source.views()
    nonfinite: dict[str, int] = {}
    for view in views:
        nonfinite.update(nonfinite_rows(view, source.cache))
    return Located(source, views, source.num_valid(), nonfinite)


class _Universe:
    """The samples table."""

    def __init__(self, samples: SamplesView) -> None:
        self.keys = samples.keys
        self.splits = samples.splits
        status = np.asarray(samples.table(["status"])["status"].to_pylist(), object)
        self.usable = ~np.isin(status, LEFT_OUT)
        names, numbers = np.unique(status[~self.usable].astype(str), return_counts=True)
        self.left_out = dict(zip(names.tolist(), numbers.tolist(), strict=True))

    @cached_property
    def position(self) -> dict[str, int]:
        """Position of each key."""
        return {key: row for row, key in enumerate(self.keys)}


class _Builder:
    """Builds splits and counts what they hold."""

    def __init__(
        self,
        config: DataConfig,
        universe: _Universe,
        located: Mapping[str, Located],
        labels: Mapping[str, np.ndarray],
        needed: frozenset[str],
    ) -> None:
        self._config = config
        self._universe = universe
        self._located = located
        self._labels = labels
        self._needed = needed
        self._pool = BufferPool()
        self.counts: dict[str, Any] = {}
        self.nonfinite: dict[str, dict[str, int]] = {}

    def split(self, name: str) -> SplitData:
        """Return one split.

        Raises:
            StoreError: It has no rows.
        """
        rows, orphans = self._rows(name)
        names = self._universe.keys
        found = {role: item.find(rows, names) for role, item in self._located.items()}
        absent = {role: int((where < 0).sum()) for role, (_, where) in found.items()}
        kept = np.ones(len(rows.keys), bool)
        for role in self._needed & set(found):
            kept &= found[role][1] >= 0
        self._check_rows(name, len(kept), int(kept.sum()))
        rows = rows.take(kept)
        columns = {
            role: self._column(role, which[kept], where[kept], rows)
            for role, (which, where) in found.items()
        }
        labels = {task: values[rows.sources] for task, values in self._labels.items()}
        self.counts[name] = {
            "rows": len(rows.keys),
            "augmented": int(rows.augmented.sum()),
            "augmented_without_source": orphans,
            "dropped": int((~kept).sum()),
            "missing": absent,
            "labels": {task: int(has_label(values).sum()) for task, values in labels.items()},
        }
        digest = _digest(rows, labels, columns, self._located)
        return SplitData(name, rows.keys, rows.sources, rows.augmented, labels, columns, digest)

    def _rows(self, name: str) -> tuple[Rows, int]:
        """Return the rows of a split, and how many augmented samples have no source in it."""
        universe = self._universe
        own = np.flatnonzero(universe.usable & (universe.splits == name))
        if name != "train":
            return Rows(universe.keys[own], own, np.zeros(len(own), bool)), 0
        views = [item.views[1] for item in self._located.values() if len(item.views) > 1]
        inside = set(own.tolist())
        children: list[tuple[int, str]] = []
        orphans = 0
        for key in sorted({key for view in views for key in view.keys.tolist()}):
            source = universe.position.get(source_key(key), -1)
            if source in inside:
                children.append((source, key))
            else:
                orphans += 1
        children.sort(key=lambda child: child[0])
        keys = np.asarray([key for _, key in children], object).reshape(len(children))
        sources = np.asarray([source for source, _ in children], np.int64).reshape(len(children))
        augmented = np.repeat([False, True], [len(own), len(children)])
        both = np.concatenate([universe.keys[own], keys]), np.concatenate([own, sources])
        return Rows(*both, augmented), orphans

    def _check_rows(self, name: str, before: int, after: int) -> None:
        if after:
            return
        message = f"split '{name}' of '{self._config.dataset}' has no samples"
        if before:
            message += f" left: all {before} lack a feature ({', '.join(sorted(self._needed))})"
            raise StoreError(message, "data.missing=keep, or extract the features")
        hint = "see `pipeline datasets validate`; the manifest's splits say shares and group_by"
        raise StoreError(message, hint)

    def _column(self, role: str, which: np.ndarray, where: np.ndarray, rows: Rows) -> Column:
        item = self._located[role]
        spec, limit = item.source.spec, self._config.max_length.get(role)
        shards = [np.unique(view.shards).tolist() for view in item.views]
        paths = [
            view.path(shard) for view, own in zip(item.views, shards, strict=True) for shard in own
        ]
        file = np.full(len(where), -1, np.int32)
        offset, length = np.zeros((2, len(where)), np.int64)
        base = 0
        for number, view in enumerate(item.views):
            here = (which == number) & (where >= 0)
            at = where[here]
            file[here] = base + np.searchsorted(shards[number], view.shards[at])
            offset[here], length[here] = view.offsets[at], view.lengths[at]
            base += len(shards[number])
        keys = item.keys(rows, self._universe.keys)
        shape = spec.shape
        if not spec.ragged and len(shape) > 1:
            shape = (min(int(shape[0] or 0), limit or int(shape[0] or 0)), *shape[1:])
            length[file >= 0] = int(shape[0] or 0)
        elif limit is not None:
            length = np.minimum(length, limit)
        return Column(
            spec, shape, self._config.dtype == "stored", tuple(paths), file, offset, length,
            _valid(item, keys, length), self._nonfinite(role, keys, file), self._pool,
            self._config.scale.get(role, 1.0),
        )  # fmt: skip

    def _nonfinite(self, role: str, keys: np.ndarray, file: np.ndarray) -> np.ndarray:
        """Return (N,) bool: rows with values that are not finite; count them, or refuse."""
        item = self._located[role]
        if not item.nonfinite:
            return np.zeros(len(keys), bool)
        counts = np.asarray([item.nonfinite.get(key, 0) for key in keys], np.int64)
        flagged = (counts > 0) & (file >= 0)
        if flagged.any() and self._config.nonfinite == "error":
            first = int(np.flatnonzero(flagged)[0])
            message = (
                f"feature '{item.source.folder.name}' (role {role}) has NaN or infinite values in "
                f"{int(flagged.sum())} of {len(keys)} rows, first '{keys[first]}' with "
                f"{int(counts[first])}"
            )
            raise StoreError(message, "extract it again, or take them as 0: data.nonfinite=zero")
        found = self.nonfinite.setdefault(role, {"rows": 0, "values": 0})
        found["rows"] += int(flagged.sum())
        found["values"] += int(counts[flagged].sum())
        return flagged


def _valid(item: Located, keys: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return how many entries of each row count."""
    if item.num_valid is None:
        return length.copy()
    counts = [item.num_valid.get(key, size) for key, size in zip(keys, length, strict=True)]
    return np.clip(np.asarray(counts, np.int64).reshape(len(length)), 0, length)


def has_label(values: np.ndarray) -> np.ndarray:
    """Return (N,) bool: which samples have a label, in the conventions of `FusionBatch`."""
    if values.dtype.kind == "i":
        return values >= 0
    return ~np.isnan(values).reshape(len(values), -1).any(axis=1)


def _check_labels(split: SplitData, dataset: str) -> None:
    for task, values in split.labels.items():
        if split.name != "test" and not has_label(values).any():
            message = f"task '{task}' has no labels in split '{split.name}' of '{dataset}'"
            raise StoreError(message, "leave the task out with data.tasks, or choose other splits")


def _digest(
    rows: Rows,
    labels: Mapping[str, np.ndarray],
    columns: Mapping[str, Column],
    located: Mapping[str, Located],
) -> str:
    whole = hashlib.sha256("\n".join(rows.keys.tolist()).encode())
    whole.update(rows.sources.astype("<i8").tobytes())
    for task in sorted(labels):
        little = labels[task].astype(labels[task].dtype.newbyteorder("<"))
        whole.update(f"\n{task}:{labels[task].shape}".encode() + little.tobytes())
    for role in sorted(columns):
        # What the augmented samples are made of matters where there are some.
        views = located[role].views[: 1 + int(rows.augmented.any())]
        prints = [view.folder.fingerprint for view in views]
        name, column = located[role].source.folder.name, columns[role]
        whole.update(f"\n{role}={name}@{prints}:{column.shape}:{column.output_dtype}".encode())
        whole.update(column.valid.astype("<i8").tobytes())
    return whole.hexdigest()[:32]
