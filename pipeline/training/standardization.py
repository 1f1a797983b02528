"""Standardization: every column of a feature minus its mean, over its deviation, in `train`.

```
entries of train ── measure ──► Statistics ──► Column.batch: batches of train, val, test, new data
                                    └── write ──► <run>/standardization.safetensors ──► read
```

A column is one place of the axes behind the first (of a vector: one of its numbers): tokens of
shape (L, D) have D. Padding, missing values and entries that do not count stay 0, which is now the
mean. A column whose values in `train` all lie within two steps of the stored dtype is constant, and
0 everywhere: no weight that multiplies it was ever trained. Nothing is given out further than
`LIMIT` deviations from the mean: what hardly varies in `train` may do so elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import StoreError
from ..store.layout import written_whole

FILE_NAME = "standardization.safetensors"
LIMIT = 1e4
"""Largest standardized value; far outside of what data have, well inside of float16."""

_STEPS = 2.0
"""Values that lie within so many steps of their dtype are one value, rounded."""
_SMALLEST = 1e-30
"""A deviation whose inverse float32 cannot hold is none."""
_TOGETHER = 1 << 21
"""Numbers that are float64 at a time."""


@dataclass(frozen=True)
class Statistics:
    """Of one role.

    Attributes:
        mean: (*rest,) float64: mean of each column.
        deviation: (*rest,) float64: standard deviation, by the number of entries (not one less);
            exactly 0 for a constant column.
        entries: How many entries they are of.
    """

    mean: np.ndarray
    deviation: np.ndarray
    entries: int

    @property
    def facts(self) -> dict[str, int]:
        """Numbers of columns, of those that are constant, and of entries."""
        constant = int((self.deviation == 0).sum())
        return {"columns": self.mean.size, "constant": constant, "entries": self.entries}

    @cached_property
    def _shift_and_factor(self) -> tuple[Tensor, Tensor]:
        varies = self.deviation > 0
        factor = np.divide(1.0, self.deviation, out=np.zeros_like(self.deviation), where=varies)
        return torch.from_numpy(self.mean), torch.from_numpy(factor)

    @cached_property
    def _single(self) -> tuple[Tensor, Tensor]:
        shift, factor = self._shift_and_factor
        return shift.float(), factor.float()

    def apply_(self, values: Tensor) -> Tensor:
        """Standardize values (…, *rest) in place and return them.

        Halves are computed in float32 and rounded once.
        """
        shift, factor = self._shift_and_factor if values.dtype == torch.float64 else self._single
        if values.dtype in (torch.float32, torch.float64):
            return values.sub_(shift).mul_(factor).clamp_(-LIMIT, LIMIT)
        return values.copy_(values.float().sub_(shift).mul_(factor).clamp_(-LIMIT, LIMIT))


def measure(pieces: Iterable[np.ndarray], dtype: np.dtype | str) -> Statistics | None:
    """Return the statistics of all pieces together, None where they hold no entry.

    One pass; means and sums of squares of the pieces are joined as in Chan, Golub and LeVeque
    (1979), in float64.

    Args:
        pieces: Each (n, *rest), of any floating dtype.
        dtype: What they are stored as: values within two of its steps are one, rounded.
    """
    entries = 0
    mean = squares = low = high = np.zeros(())
    for found in _wide(pieces):
        number, own = len(found), found.mean(axis=0)
        own_squares = np.square(found - own).sum(axis=0)
        if not entries:
            mean, squares = np.zeros_like(own), np.zeros_like(own)
            low, high = found[0], found[0]
        both = entries + number
        apart = own - mean
        mean = mean + apart * (number / both)
        squares = squares + own_squares + np.square(apart) * (entries * number / both)
        low, high = np.minimum(low, found.min(axis=0)), np.maximum(high, found.max(axis=0))
        entries = both
    if not entries:
        return None
    deviation = np.sqrt(squares / entries)
    largest = np.maximum(np.abs(low), np.abs(high))
    # What rounding explains: of the values as they are stored, and of sums over so many of them.
    top = np.minimum(largest, float(np.finfo(dtype).max)).astype(dtype)
    steps = np.spacing(top).astype(np.float64)
    of_sums = largest * (entries * float(np.finfo(np.float64).eps))
    constant = (high - low <= _STEPS * steps) | (deviation <= np.maximum(of_sums, _SMALLEST))
    return Statistics(np.asarray(mean), np.where(constant, 0.0, deviation), entries)


def _wide(pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the same entries in float64, so many at a time that they need little memory."""
    for piece in pieces:
        count = max(1, _TOGETHER // max(1, math.prod(piece.shape[1:])))
        for first in range(0, len(piece), count):
            yield piece[first : first + count].astype(np.float64)


def write(folder: Path, statistics: Mapping[str, Statistics]) -> None:
    """Write statistics by role into the folder of a run.

    Raises:
        StoreError: The disk is full or not writable.
    """
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray] = {}
    for role, found in statistics.items():
        tensors[f"{role}/mean"] = np.ascontiguousarray(found.mean)
        tensors[f"{role}/deviation"] = np.ascontiguousarray(found.deviation)
        tensors[f"{role}/entries"] = np.asarray([found.entries], np.int64)
    # In one piece: an evaluation may be reading.
    with written_whole(folder / FILE_NAME) as temporary:
        temporary.write_bytes(save(tensors))


def read(folder: Path, roles: Sequence[str]) -> dict[str, Statistics]:
    """Return what `write` wrote, of these roles.

    Raises:
        StoreError: The file is absent, damaged, or lacks a role.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not roles:
        return {}
    try:
        found = load_file(folder / FILE_NAME)
        return {
            role: Statistics(
                found[f"{role}/mean"], found[f"{role}/deviation"], int(found[f"{role}/entries"][0])
            )
            for role in roles
        }
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        message = f"'{folder.name}/{FILE_NAME}' cannot be read: {' '.join(str(error).split())}"
        raise StoreError(message, "the command that trained the run writes it again") from None
