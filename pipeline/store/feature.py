"""One feature of a store, read by key: as NumPy arrays, as torch tensors, or row by row.

``N`` rows with a value, ``L`` longest ragged axis, ``shape`` per sample, ``rest = shape[1:]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import StoreError, unknown_name
from ..records import FeatureSpec
from .reader import OutputFolder
from .row_groups import RowGroup, Values, iter_row_groups

if TYPE_CHECKING:
    import torch

SPLITS = ("train", "val", "test")
Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Features:
    """Values of a feature with their keys; unpacks as ``keys, values = features``.

    Attributes:
        spec: The feature's shape, dtype and time base.
        keys: (N,) object array of str.
        values: ``(N, *shape)`` for a fixed shape, a list of N arrays ``(n, *rest)`` for a ragged
            one, in the spec's dtype. May be read-only views of a file's buffer.
    """

    spec: FeatureSpec
    keys: np.ndarray
    values: Values

    def __iter__(self) -> Iterator[np.ndarray | list[np.ndarray]]:
        """Yield keys, then values."""
        yield self.keys
        yield self.values

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    @property
    def lengths(self) -> np.ndarray:
        """Length of each row's first axis, (N,) int64; 1 for a feature of fixed shape."""
        if isinstance(self.values, list):
            return np.fromiter((len(row) for row in self.values), np.int64, len(self.values))
        return np.ones(len(self), np.int64)

    def padded(self, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return a ragged feature as one array, padded with zeros.

        Args:
            length: L; the longest row's by default. Longer rows are cut.

        Returns:
            ``(values, mask)``: ``(N, L, *rest)`` in the spec's dtype and ``(N, L)`` bool, True
            where there is a value.

        Raises:
            StoreError: The feature has a fixed shape.
        """
        if not isinstance(self.values, list):
            raise StoreError(f"feature '{self.spec.name}' has a fixed shape: nothing to pad")
        longest = int(self.lengths.max(initial=0)) if length is None else length
        rest = [int(size or 0) for size in self.spec.shape[1:]]
        padded = np.zeros((len(self), longest, *rest), self.spec.dtype)
        for row, value in zip(padded, self.values, strict=True):
            kept = value[:longest]
            row[: len(kept)] = kept
        return padded, np.arange(longest) < self.lengths[:, None]

    def take(self, index: Sequence[int] | np.ndarray) -> Features:
        """Return the rows at these positions, in this order, copied."""
        where = np.asarray(index, dtype=np.int64)
        if isinstance(self.values, list):
            return Features(self.spec, self.keys[where], [self.values[i] for i in where])
        return Features(self.spec, self.keys[where], self.values[where])

    def torch(self) -> tuple[np.ndarray, torch.Tensor, torch.Tensor | None]:
        """Return ``(keys, tensor, mask)``; see `Feature.torch`."""
        from .optional import need

        library = need("torch")
        values, mask = self.padded() if isinstance(self.values, list) else (self.values, None)
        # torch refuses read-only memory, which views of a file's buffer are.
        tensor = library.from_numpy(values if values.flags.writeable else values.copy())
        return self.keys, tensor, None if mask is None else library.from_numpy(mask)


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One row as it stands in the store.

    Attributes:
        key: Key of the sample.
        status: ``ok``, ``absent`` (the sample has no such modality) or ``failed``.
        reason: Class of the failure or absence; None when ok.
        value: ``shape``, or ``(n, *rest)`` when ragged; None unless ok.
    """

    key: str
    status: str
    reason: str | None
    value: np.ndarray | None


@dataclass(frozen=True)
class Feature:
    """One feature under one fingerprint.

    Attributes:
        folder: Where it lies.
        split_of: Gives the split of every sample by key; called when a split is asked for.
    """

    folder: OutputFolder
    split_of: Callable[[], Mapping[str, str]]

    @property
    def spec(self) -> FeatureSpec:
        """Name, modality, shape, dtype, time base, names of the last axis."""
        return self.folder.feature

    @property
    def augmented(self) -> bool:
        """Whether the rows are augmented samples: keys ``<source key>~p<index>``, all train."""
        return bool(self.folder.spec["rows"] != "samples")

    def read(
        self,
        split: Split | None = None,
        keys: Iterable[str] | None = None,
        *,
        memory_map: bool = False,
    ) -> Features:
        """Return the rows that are ok; absent and failed rows are left out.

        Args:
            split: Only this split's rows.
            keys: Only these rows, in this order; those without a value are left out.
            memory_map: Map the files instead of reading them into buffers.

        Returns:
            Keys and values. With a fixed shape, one row group and every row wanted the values are
            a read-only view of the decoded buffer, else each value is copied once.

        Raises:
            StoreError: A part is damaged, or a key is unknown.
        """
        asked = None if keys is None else list(keys)
        wanted = self._wanted(split, None if asked is None else set(asked))
        found, known = _gather(self.folder, wanted, memory_map)
        if asked is None:
            return found
        unknown = [key for key in asked if key not in known]
        if unknown:
            message = f"{self.spec.name}: {len(unknown)} unknown keys, first '{unknown[0]}'"
            raise StoreError(message, "keys are those of the samples table")
        position = {key: index for index, key in enumerate(found.keys)}
        return found.take([position[key] for key in asked if key in position])

    def torch(
        self, split: Split | None = None
    ) -> tuple[np.ndarray, torch.Tensor, torch.Tensor | None]:
        """Return the rows that are ok as tensors on the CPU.

        Returns:
            ``(keys, tensor, mask)``. Fixed shape: ``(N, *shape)`` and no mask (None). Ragged:
            ``(N, L, *rest)`` padded with zeros and a bool mask ``(N, L)``, True where valid.

        Raises:
            MissingDependency: torch is not installed.
        """
        return self.read(split).torch()

    def rows(self, *, memory_map: bool = False) -> Iterator[FeatureRow]:
        """Yield every row in order, absent and failed ones too, in bounded memory."""
        for group in iter_row_groups(self.folder, memory_map):
            values = group.values()
            status, reason = (group.head[name].to_pylist() for name in ("status", "reason"))
            for index, key in enumerate(group.keys):
                value = values[index] if group.ok[index] else None
                yield FeatureRow(key, status[index], reason[index], value)

    def iter_batches(
        self, rows: int = 128, split: Split | None = None, *, memory_map: bool = False
    ) -> Iterator[Features]:
        """Yield the rows that are ok in batches, in bounded memory.

        Args:
            rows: Rows per batch; only the last one may have fewer.
            split: Only this split's rows.
            memory_map: Map the files instead of reading them into buffers.
        """
        if rows < 1:
            raise StoreError(f"iter_batches got rows={rows}, expected at least 1")
        wanted = self._wanted(split, None)
        waiting: list[Features] = []
        for group in iter_row_groups(self.folder, memory_map):
            mask = _mask(group, wanted)
            if mask.any():
                waiting.append(_select(group, mask))
            if sum(map(len, waiting)) < rows:
                continue
            whole = _joined(waiting)
            full = len(whole) - len(whole) % rows
            for start in range(0, full, rows):
                yield _slice(whole, start, start + rows)
            waiting = [_slice(whole, full, len(whole))]
        last = [features for features in waiting if len(features)]
        if last:
            yield _joined(last)

    def _wanted(self, split: str | None, keys: set[str] | None) -> Callable[[str], bool] | None:
        if split is None:
            return None if keys is None else keys.__contains__
        if split not in SPLITS:
            raise StoreError(unknown_name("split", split, SPLITS))
        if self.augmented:
            # Augmented samples stand in no samples table and are always in train.
            return lambda key: split == "train" and (keys is None or key in keys)
        of = self.split_of()
        return lambda key: of.get(key) == split and (keys is None or key in keys)


def _mask(group: RowGroup, wanted: Callable[[str], bool] | None) -> np.ndarray:
    if wanted is None:
        return group.ok
    chosen = np.fromiter((wanted(key) for key in group.keys), bool, len(group.keys))
    return group.ok & chosen


def _gather(
    folder: OutputFolder, wanted: Callable[[str], bool] | None, memory_map: bool
) -> tuple[Features, set[str]]:
    """Return the wanted rows, and every key the feature has."""
    masks: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    known: set[str] = set()
    for group in iter_row_groups(folder, memory_map):
        masks.append(_mask(group, wanted))
        keys.append(group.keys[masks[-1]])
        known.update(group.keys)
    found = np.concatenate(keys) if keys else np.zeros(0, object)
    return Features(folder.feature, found, _gather_values(folder, masks, memory_map)), known


def _gather_values(folder: OutputFolder, masks: list[np.ndarray], memory_map: bool) -> Values:
    spec = folder.feature
    whole = not spec.ragged and len(masks) == 1 and len(masks[0]) > 0 and bool(masks[0].all())
    rows: list[np.ndarray] = []
    # Made once and filled, so that no second copy of all values exists at any time.
    shape = [int(size or 0) for size in spec.shape]
    total = 0 if spec.ragged else sum(int(mask.sum()) for mask in masks)
    array = np.empty((total, *shape), np.dtype(spec.dtype).newbyteorder("<"))
    filled = 0
    for group, mask in zip(iter_row_groups(folder, memory_map), masks, strict=True):
        if not mask.any():
            continue
        values = group.values()
        if whole:
            return values
        if isinstance(values, list):
            rows.extend(_kept(values, mask))
        else:
            count = int(mask.sum())
            array[filled : filled + count] = values if count == len(mask) else values[mask]
            filled += count
    return rows if spec.ragged else array


def _kept(values: list[np.ndarray], mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the masked rows; a few of many are copied, so that the rest can be freed."""
    sparse = mask.sum() < len(mask) / 2
    for value, keep in zip(values, mask, strict=True):
        if keep:
            yield value.copy() if sparse else value


def _select(group: RowGroup, mask: np.ndarray) -> Features:
    values = group.values()
    if isinstance(values, list):
        values = list(_kept(values, mask))
    elif not mask.all():
        values = values[mask]
    return Features(group.folder.feature, group.keys[mask], values)


def _slice(features: Features, start: int, stop: int) -> Features:
    return Features(features.spec, features.keys[start:stop], features.values[start:stop])


def _joined(parts: list[Features]) -> Features:
    if len(parts) == 1:
        return parts[0]
    keys = np.concatenate([part.keys for part in parts])
    if parts[0].spec.ragged:
        return Features(parts[0].spec, keys, [row for part in parts for row in part.values])
    values = np.concatenate([np.asarray(part.values) for part in parts])
    return Features(parts[0].spec, keys, values)
