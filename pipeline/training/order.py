"""Which samples make up which batch: a pure function of seed, epoch and data.

Workers and ranks do not enter: they are given the batches that stand here. Every sample is in
exactly one batch of an epoch.

``N`` samples, ``B`` batch size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

BUCKET_BATCHES = 32
"""Batches whose samples are sorted by length together."""


@dataclass(frozen=True)
class Order:
    """The batches of one epoch.

    Attributes:
        rows: (N,) int64: every sample once.
        bounds: (batches + 1,) int64: batch ``b`` is ``rows[bounds[b]:bounds[b + 1]]``.
    """

    rows: np.ndarray
    bounds: np.ndarray

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.bounds) - 1

    def batch(self, number: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """Return the rows of one batch, or of one rank's share of it, which may be none.

        Shares are contiguous and differ by at most one sample.
        """
        start, stop = int(self.bounds[number]), int(self.bounds[number + 1])
        count = stop - start
        return self.rows[start + rank * count // world : start + (rank + 1) * count // world]


def batch_bounds(num_rows: int, batch_size: int, merge_tail_below: int = 0) -> np.ndarray:
    """Return where batches begin and end.

    Args:
        num_rows: N.
        batch_size: B.
        merge_tail_below: A last batch that is not full and has fewer samples joins the one before.
    """
    bounds = np.append(np.arange(0, num_rows, batch_size, dtype=np.int64), num_rows)
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < min(merge_tail_below, batch_size):
        bounds = np.delete(bounds, -2)
    return bounds


def epoch_order(
    num_rows: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    digest: str,
    shuffle: bool,
    merge_tail_below: int = 0,
    lengths: np.ndarray | None = None,
) -> Order:
    """Return the batches of one epoch.

    Args:
        num_rows: N.
        batch_size: B.
        seed: Seed of the training.
        epoch: Number of the epoch.
        digest: Digest of the data.
        shuffle: Whether the order is random; otherwise it is that of the data.
        merge_tail_below: See `batch_bounds`.
        lengths: (N,) lengths of the samples, to put samples of similar length into one batch:
            each run of `BUCKET_BATCHES` batches is sorted by length, and where the order is
            random, the batches are shuffled afterwards.
    """
    bounds = batch_bounds(num_rows, batch_size, merge_tail_below)
    rows = np.arange(num_rows, dtype=np.int64)
    if shuffle:
        rows = np.argsort(_random(num_rows, f"rows/{seed}/{epoch}/{digest}"), kind="stable")
    if lengths is None:
        return Order(rows, bounds)
    run = BUCKET_BATCHES * batch_size
    for start in range(0, num_rows, run):
        part = rows[start : start + run]
        rows[start : start + run] = part[np.argsort(lengths[part], kind="stable")]
    if not shuffle:
        return Order(rows, bounds)
    mixed = np.argsort(_random(len(bounds) - 1, f"batches/{seed}/{epoch}/{digest}"), kind="stable")
    sizes = np.diff(bounds)[mixed]
    pieces = [rows[bounds[number] : bounds[number + 1]] for number in mixed]
    joined = np.concatenate(pieces) if pieces else rows
    return Order(joined, np.append(0, np.cumsum(sizes)).astype(np.int64))


def _random(count: int, name: str) -> np.ndarray:
    """Return (count,) uint64 drawn from a name.

    The bits of a bit generator are fixed, unlike what `numpy.random.Generator` makes of them.
    """
    state = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return np.asarray(np.random.PCG64(state).random_raw(count), np.uint64).reshape(count)
