"""Inside a cell: decoding threads run ahead, the model computes, values come out in order.

Rows are taken in windows. While the model computes one window, threads load the next. Inside a
window, items are grouped by bucket and cut into batches; the values leave in the order of the rows.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import AffectflowError, RowError
from ..records import Failure, Row
from ..stage import BaseStage

Values = Mapping[str, Any]
_BATCHES_PER_WINDOW = 4
_MAX_STUCK = 8


@dataclass(slots=True)
class Clock:
    """Seconds spent waiting for input, computing and writing."""

    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0

    def timed(self, lane: str, call: Callable[[], Any]) -> Any:
        """Return ``call()`` and add its time to a lane."""
        start = time.perf_counter()
        try:
            return call()
        finally:
            setattr(self, lane, getattr(self, lane) + time.perf_counter() - start)


class _Job:
    """One row being loaded."""

    __slots__ = ("done", "result", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.done = threading.Event()
        self.result: Any = None


@dataclass
class DecodeLane:
    """Daemon threads that load rows; a stuck one is replaced and its row fails.

    Args:
        load: The stage's `load`.
        threads: How many.
        deadline_s: Seconds one row may take.
    """

    load: Callable[[Row], Any]
    threads: int
    deadline_s: float
    stuck: int = 0
    _jobs: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)

    def __enter__(self) -> DecodeLane:
        for _ in range(self.threads):
            self._start()
        return self

    def __exit__(self, *unused: object) -> None:
        for _ in range(self.threads):
            self._jobs.put(None)

    def _start(self) -> None:
        threading.Thread(target=self._work, daemon=True, name="decode").start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.result = _caught(lambda row: self.load(row), job.row)
            job.done.set()

    def submit(self, row: Row) -> _Job:
        """Queue a row."""
        job = _Job(row)
        self._jobs.put(job)
        return job

    def result(self, job: _Job) -> Any:
        """Return the loaded item, or the `Failure` that stands for it."""
        if job.done.wait(self.deadline_s):
            return job.result
        # The thread cannot be stopped; it is left alone and another takes its place.
        self._start()
        self.stuck += 1
        if self.stuck > _MAX_STUCK:
            message = f"{self.stuck} files could not be read within {self.deadline_s:g} s each"
            raise TimeoutError(f"{message}: the storage does not answer")
        message = f"reading and decoding took more than {self.deadline_s:g} s"
        return Failure("deadline_exceeded", message, "raise engine.row_deadline_s")


def _caught(call: Callable[[Any], Any], argument: Any) -> Any:
    """Return ``call(argument)``, or the failure when the row is at fault; raise when the run is."""
    try:
        return call(argument)
    except RowError as error:
        return Failure.of(error)
    except AffectflowError as error:
        return error
    except Exception as error:
        # Any library may raise anything on damaged input: the cause is kept with the row.
        return Failure.of(error)


def run_lanes(
    stage: BaseStage[Any, Any], rows: Iterable[Row], lane: DecodeLane, clock: Clock
) -> Iterator[tuple[Row, Values | Failure]]:
    """Yield each row with its values, or the failure that stands for all of them, in order."""
    window = max(1, stage.batch_size) * _BATCHES_PER_WINDOW
    source = iter(rows)

    def enqueue() -> list[_Job]:
        return [lane.submit(row) for row in itertools.islice(source, window)]

    jobs: list[_Job] = clock.timed("read", enqueue)
    while jobs:
        following: list[_Job] = clock.timed("read", enqueue)
        items = clock.timed("read", partial(_ready_all, lane, jobs))
        values = clock.timed("compute", partial(_compute_window, stage, items))
        yield from zip((job.row for job in jobs), values, strict=True)
        jobs = following


def _ready_all(lane: DecodeLane, jobs: Sequence[_Job]) -> list[Any]:
    return [_ready(lane, job) for job in jobs]


def _ready(lane: DecodeLane, job: _Job) -> Any:
    unusable = {"bad_row": "failed", "duplicate_row": "absent", "dropped": "absent"}
    sample = job.row.sample
    if sample.status in unusable:
        status: Any = unusable[sample.status]
        return Failure(sample.status, sample.reason, "see `pipeline datasets validate`", status)
    item = lane.result(job)
    if isinstance(item, AffectflowError):
        raise item
    return item


def _compute_window(stage: BaseStage[Any, Any], items: Sequence[Any]) -> list[Values | Failure]:
    values: list[Any] = list(items)
    buckets: dict[Hashable, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if not isinstance(item, Failure):
            buckets[stage.bucket(item)].append(index)
    for indices in buckets.values():
        size = max(1, stage.batch_size)
        for start in range(0, len(indices), size):
            batch = indices[start : start + size]
            results = compute_batch(stage, [items[index] for index in batch])
            for index, result in zip(batch, results, strict=True):
                values[index] = result
    return values


def compute_batch(stage: BaseStage[Any, Any], items: Sequence[Any]) -> list[Values | Failure]:
    """Return the values of a batch; a batch that fails is bisected down to the rows at fault.

    Raises:
        AffectflowError: What fails is not a row (weights, a provider, a budget).
    """
    try:
        values: list[Values | Failure] = list(stage.compute(items))
        if len(values) != len(items):
            raise RuntimeError(f"{stage.NAME} gave {len(values)} values for {len(items)} rows")
        return values
    except RowError as error:
        failure = Failure.of(error)
    except AffectflowError:
        raise
    except Exception as error:
        # Model code may raise anything; the cause is kept with the row it is narrowed down to.
        failure = _compute_failure(error)
    if len(items) == 1:
        return [failure]
    half = len(items) // 2
    return compute_batch(stage, items[:half]) + compute_batch(stage, items[half:])


def _compute_failure(error: Exception) -> Failure:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Failure("out_of_memory", str(error)[:500], "this row alone does not fit in memory")
    return Failure("compute_error", f"{type(error).__name__}: {str(error)[:500]}", "see the cause")
