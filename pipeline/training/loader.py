"""Batches of a split, epoch by epoch, in an order that depends on nothing but seed and data.

Workers are threads that read ahead: they share the mapped files and the memory of batches, nothing
is pickled or copied between processes, and what takes long (reading, converting) runs outside
Python's interpreter lock. Neither their number nor the number of ranks changes any batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from pydantic import Field

from affectflow.models.batch import FusionBatch

from ..config import Config
from ..errors import ConfigError, StoreError
from .data import SplitData
from .order import Order, batch_bounds, epoch_order

# Batches that wait for the model, beside those that workers are at.
_WAITING = 2


class LoaderConfig(Config):
    """How batches are made.

    Attributes:
        batch_size: Samples of a batch, over all ranks together.
        workers: Threads that read ahead; 0 reads when a batch is asked for.
        layout: Whether ragged features come padded or packed.
        merge_tail_below: A last batch with fewer samples joins the one before it.
        bucket: Whether samples of similar length come together.
    """

    batch_size: int = Field(default=32, ge=1)
    workers: int = Field(default=0, ge=0, le=256)
    layout: Literal["padded", "packed"] = "padded"
    merge_tail_below: int = Field(default=0, ge=0)
    bucket: bool = False


class Loader:
    """Makes the batches of one split for one rank.

    Args:
        data: The split.
        config: How batches are made.
        seed: Seed of the training.
        shuffle: Whether each epoch has an order of its own; otherwise it is that of the data.
        rank, world: This process and how many there are; each gets a share of every batch, which
            may hold no sample where a batch is smaller than the world.
        digest: What the order depends on beside seed and epoch; the digest of the data.
    """

    def __init__(
        self,
        data: SplitData,
        config: LoaderConfig,
        *,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
        digest: str,
    ) -> None:
        if not 0 <= rank < world:
            raise ConfigError(f"rank {rank} of {world}", "ranks are counted from 0")
        self.data = data
        self.config = config
        self._identity: dict[str, Any] = {"seed": seed, "shuffle": shuffle, "digest": digest}
        self._rank, self._world = rank, world
        self._lengths: np.ndarray | None = data.lengths if config.bucket else None
        self._position = (0, 0)
        bounds = batch_bounds(len(data), config.batch_size, config.merge_tail_below)
        self._length = len(bounds) - 1

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same for all ranks."""
        return self._length

    def order(self, epoch: int) -> Order:
        """Return which samples make up which batch of an epoch."""
        return epoch_order(
            len(self.data),
            self.config.batch_size,
            epoch=epoch,
            merge_tail_below=self.config.merge_tail_below,
            lengths=self._lengths,
            **self._identity,
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[FusionBatch]:
        """Yield this rank's share of the batches of an epoch, from batch number ``start`` on.

        Raises:
            StoreError: Values cannot be read.
        """
        order = self.order(epoch)
        if not 0 <= start <= len(order):
            raise ConfigError(f"batch {start} of an epoch of {len(order)}")
        self._position = (epoch, start)
        batches = self._batches(order, start)
        for number, batch in enumerate(batches, start + 1):
            self._position = (epoch, number) if number < len(order) else (epoch + 1, 0)
            yield batch

    def state(self) -> dict[str, Any]:
        """Return where the loader is: the epoch and batch that come next, as JSON values."""
        epoch, batch = self._position
        config = self.config.model_dump(mode="json", exclude={"workers", "layout"})
        return {"epoch": epoch, "batch": batch, **self._identity, **config}

    def restore(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """Return the epoch and the batch to go on with: ``loader.epoch(*loader.restore(state))``.

        Raises:
            StoreError: The state is of other data, or of a loader that makes other batches.
        """
        for name, value in self.state().items():
            if name not in {"epoch", "batch"} and state.get(name) != value:
                message = f"the loader's {name} was {state.get(name)!r} and is now {value!r}"
                raise StoreError(message, "resume with the same data and the same configuration")
        self._position = (int(state["epoch"]), int(state["batch"]))
        return self._position

    def _make(self, order: Order, number: int) -> FusionBatch:
        rows = order.batch(number, self._rank, self._world)
        return self.data.batch(rows, self.config.layout)

    def _batches(self, order: Order, start: int) -> Iterator[FusionBatch]:
        if not self.config.workers:
            yield from (self._make(order, number) for number in range(start, len(order)))
            return
        waiting: deque[Future[FusionBatch]] = deque()
        pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="loader")
        try:
            for number in range(start, len(order)):
                waiting.append(pool.submit(self._make, order, number))
                if len(waiting) >= self.config.workers + _WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def micro_batches(batch: FusionBatch, count: int) -> Iterator[FusionBatch]:
    """Yield a batch in at most ``count`` runs of rows of nearly equal size; an empty one not."""
    size, pieces = len(batch), min(count, len(batch))
    if pieces == 1:
        yield batch
        return
    for piece in range(pieces):
        yield batch.take(range(size * piece // pieces, size * (piece + 1) // pieces))
