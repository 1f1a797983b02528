"""One feature over the samples of one split: where each value lies, and batches of it.

``N`` samples of the split, ``B`` of a batch, ``L`` entries of the batch's longest sample, ``M`` of
all its samples together, ``rest = shape[1:]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from affectflow.kernels.gather_rows.op import gather_rows
from affectflow.models.batch import FeatureBatch

from ..errors import StoreError
from ..records import FeatureSpec
from .buffers import BufferPool
from .standardization import Statistics
from .value_files import ValueFiles

Layout = Literal["padded", "packed"]
# File, first byte in it, first number in the output, numbers.
Spans = Iterable[tuple[int, int, int, int]]

# Bytes converted at a time: they stay in the cache of a core, and torch does not start threads
# for so few, which several workers at once would pay for.
_CHUNK_BYTES = 1 << 16
# From this size on torch copies: it lets other threads run meanwhile, and copies at full speed
# where the C library does not, which is between addresses that are not aligned alike.
_LARGE_BYTES = 1 << 14


@dataclass(frozen=True)
class Column:
    """One feature of a split.

    Attributes:
        spec: The feature as stored.
        shape: Per sample, as given out: the first axis may be cut.
        stored: Whether floats keep their stored dtype; otherwise they become float32.
        paths: Files of values.
        file: (N,) int32: index of each row's file, -1 where the sample has no value.
        offset: (N,) int64: first byte in that file.
        length: (N,) int64: entries of the first axis that are read; 1 for a vector.
        valid: (N,) int64: how many of them count, at most ``length``; 0 for a missing value.
        flagged: (N,) bool: rows with NaN or infinite entries, which are given out as zeros.
        pool: Memory of batches that nobody holds any more.
        scale: What floats are multiplied with.
        statistics: What floats are standardized with; None for not at all.
    """

    spec: FeatureSpec
    shape: tuple[int | None, ...]
    stored: bool
    paths: tuple[Path, ...]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    valid: np.ndarray
    flagged: np.ndarray
    pool: BufferPool = field(default_factory=BufferPool, repr=False)
    scale: float = 1.0
    statistics: Statistics | None = None
    files: ValueFiles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", ValueFiles(self.paths))

    def __len__(self) -> int:
        """Return N."""
        return len(self.file)

    @property
    def present(self) -> np.ndarray:
        """(N,) bool: whether the sample has a value."""
        return self.file >= 0

    @property
    def output_dtype(self) -> np.dtype:
        """Dtype of batches."""
        dtype = np.dtype(self.spec.dtype)
        if dtype.kind == "f":
            return dtype if self.stored else np.dtype(np.float32)
        return dtype if self.stored else np.dtype(np.int64)

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) int64: how many numbers each of these rows has."""
        if self.spec.ragged:
            return self.length[rows] * self._step
        return np.full(len(rows), math.prod(int(size or 0) for size in self.shape), np.int64)

    def batch(self, rows: np.ndarray, layout: Layout) -> FeatureBatch:
        """Return these rows, in this order.

        Features of a fixed shape come as ``fixed`` whatever the layout.
        """
        valid = torch.from_numpy(self.valid[rows])
        if not self.spec.ragged:
            return self._sized(FeatureBatch(self._fixed(rows), valid, "fixed"))
        if layout == "packed":
            return self._sized(FeatureBatch(self._packed(rows), valid, "packed"))
        return self._sized(FeatureBatch(self._padded(rows), valid, "padded"))

    def _sized(self, batch: FeatureBatch) -> FeatureBatch:
        """Scale or standardize a batch in place."""
        values = batch.values
        if self.scale != 1 and values.is_floating_point():
            values.mul_(self.scale)
        if self.statistics is not None:
            self.statistics.apply_(values)
            if batch.layout != "packed":
                is_vector = not self.spec.ragged and len(self.shape) < 2
                empty = ~(batch.present if is_vector else batch.mask)
                if bool(empty.any()):
                    values[empty] = 0
        return batch

    def _fixed(self, rows: np.ndarray) -> Tensor:
        shape = [int(size or 0) for size in self.shape]
        values = self.pool.take((len(rows), *shape), self.output_dtype)
        if not self._gather(values, rows):
            self._fill(values, rows, np.arange(len(rows), dtype=np.int64) * math.prod(shape))
        missing = self.file[rows] < 0
        if missing.any():
            values[missing] = 0
        return self._finite(torch.from_numpy(values), rows)

    def _gather(self, values: np.ndarray, rows: np.ndarray) -> bool:
        """Take rows at once if they are all of one mapped file; return whether they are."""
        numbers, dtype = math.prod(int(size or 0) for size in self.shape), np.dtype(self.spec.dtype)
        if len(self.paths) != 1 or self.shape != self.spec.shape or not numbers:
            return False
        table = self.files.table(dtype, numbers)
        if table is None or not (len(table) or (self.file[rows] >= 0).any()):
            return False
        where = self.offset[rows] // (numbers * dtype.itemsize)
        try:
            gather_rows(table, where, values.reshape(len(rows), numbers))
        except IndexError as error:
            message = f"'{self.paths[0].name}' is shorter than it was"
            raise StoreError(message, "`pipeline verify`") from error
        return True

    def _packed(self, rows: np.ndarray) -> Tensor:
        lengths = self.length[rows]
        values = self.pool.take((int(lengths.sum()), *self._rest), self.output_dtype)
        ends = np.cumsum(lengths)
        self._fill(values, rows, (ends - lengths) * self._step)
        if self.flagged[rows].any():
            np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return torch.from_numpy(values)

    def _padded(self, rows: np.ndarray) -> Tensor:
        # A batch in which nobody has the feature still has one, empty, entry.
        longest = max(1, int(self.length[rows].max(initial=0)))
        values = self.pool.take((len(rows), longest, *self._rest), self.output_dtype)
        values[np.arange(longest) >= self.length[rows][:, None]] = 0
        self._fill(values, rows, np.arange(len(rows), dtype=np.int64) * longest * self._step)
        return self._finite(torch.from_numpy(values), rows)

    @property
    def _rest(self) -> tuple[int, ...]:
        return tuple(int(size or 0) for size in self.shape[1:])

    @property
    def _step(self) -> int:
        """Numbers of one entry of the first axis."""
        return math.prod(self._rest)

    def _finite(self, values: Tensor, rows: np.ndarray) -> Tensor:
        flagged = self.flagged[rows]
        if flagged.any():
            where = torch.from_numpy(np.flatnonzero(flagged))
            values[where] = values[where].nan_to_num(0.0, 0.0, 0.0)
        return values

    def _fill(self, values: np.ndarray, rows: np.ndarray, starts: np.ndarray) -> None:
        """Read rows into ``values``; row ``i`` begins at number ``starts[i]``."""
        there = np.flatnonzero((self.file[rows] >= 0) & (self.length[rows] > 0))
        rows, starts = rows[there], starts[there]
        if not len(rows):
            return
        item = np.dtype(self.spec.dtype).itemsize
        counts = self.numbers(rows)
        spans = list(_joined(self.file[rows], self.offset[rows], starts, counts, item))
        self.files.announce((file, offset, count * item) for file, offset, _, count in spans)
        if np.dtype(self.spec.dtype) == values.dtype:
            self._copy(values, item, spans)
        else:
            self._convert(values, item, spans)

    def _copy(self, values: np.ndarray, item: int, spans: Spans) -> None:
        target, files = _bytes(values), self.files
        whole, is_mapped = torch.frombuffer(target, dtype=torch.uint8), files.views() is not None
        for file, offset, start, count in spans:
            begin, size = start * item, count * item
            if is_mapped and size >= _LARGE_BYTES:
                source = torch.frombuffer(files.mapped(file, offset, size), dtype=torch.uint8)
                whole[begin : begin + size].copy_(source)
            else:
                files.read_into(target[begin : begin + size], file, offset)

    def _convert(self, values: np.ndarray, item: int, spans: Spans) -> None:
        """Read through a small scratch, converting what it holds each time it is full."""
        scratch = np.empty(_CHUNK_BYTES, np.uint8)
        target, source = _bytes(scratch), torch.from_numpy(scratch.view(self.spec.dtype))
        output = torch.from_numpy(values.reshape(-1))
        room = _CHUNK_BYTES // item
        read = self.files.read_into
        # Numbers in the scratch that wait, and where the first of them goes.
        held = first = 0
        for file, offset, start, count in spans:
            while count:
                if held and (held == room or first + held != start):
                    output[first : first + held].copy_(source[:held])
                    held = 0
                if not held:
                    first = start
                taken = min(count, room - held)
                read(target[held * item : (held + taken) * item], file, offset)
                held, start, count = held + taken, start + taken, count - taken
                offset += taken * item
        if held:
            output[first : first + held].copy_(source[:held])


def _bytes(values: np.ndarray) -> memoryview:
    return memoryview(values.reshape(-1).view(np.uint8).data)


def _joined(
    file: np.ndarray, offset: np.ndarray, starts: np.ndarray, counts: np.ndarray, item: int
) -> Spans:
    """Return what is to be read, rows that follow each other in file and output in one."""
    follows = (
        (file[1:] == file[:-1])
        & (offset[1:] == offset[:-1] + counts[:-1] * item)
        & (starts[1:] == starts[:-1] + counts[:-1])
    )
    first = np.flatnonzero(np.append(True, ~follows))
    sums = np.add.reduceat(counts, first)
    lists = (file[first].tolist(), offset[first].tolist(), starts[first].tolist(), sums.tolist())
    return zip(*lists, strict=True)
