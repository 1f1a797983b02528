"""Where cells run: in this process, on workers of this machine, or on a running Dask scheduler.

Facts this file is built on: a model inside the graph hangs workers, so only `CellTask` travels;
Dask's own retries blame the task when a worker dies, so they are off where we own the scheduler and
the driver counts for itself; worker processes of a `LocalCluster` end with their parent.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

from ..config import EngineConfig
from ..errors import AffectflowError, UsageError
from .cell import run_cell
from .execute import Executor, InlineExecutor, Outcome, WorkerLost
from .task import CellTask

_GB_PER_WORKER = 2.5
_POLL_S = 1.0
_STUCK_FACTOR = 1.5
NO_WORKERS_DEADLINE_S = 120.0


class ClusterError(AffectflowError):
    """The cluster cannot be reached or has no workers."""


class DaskExecutor:
    """Submits one future per cell; a lost worker comes back as `WorkerLost`."""

    def __init__(self, client: Any, engine: EngineConfig) -> None:
        self._client = client
        self._engine = engine
        self._done: queue.SimpleQueue[tuple[CellTask, Any]] = queue.SimpleQueue()
        self._running: dict[str, tuple[CellTask, Any, float]] = {}
        self._alone_since: float | None = None
        self._executing_since: dict[str, float] = {}
        self._next_look = 0.0
        self.slots = max(1, len(self._workers()))

    def _workers(self) -> dict[str, Any]:
        if self._client.status in {"closed", "closing"}:
            raise ClusterError("lost the Dask scheduler", "run again to go on from what is done")
        found: dict[str, Any] = self._client.scheduler_info(n_workers=-1).get("workers", {})
        return found

    def submit(self, task: CellTask) -> None:
        """Start a task on the cluster."""
        key = f"{task.label}-{task.cell}-{task.attempt}-{time.time_ns()}"
        future = self._client.submit(run_cell, task, key=key, pure=False, retries=0)
        self._running[key] = (task, future, time.monotonic())
        future.add_done_callback(lambda done: self._done.put((task, done)))

    def next(self) -> tuple[CellTask, Outcome]:
        """Return the next finished task."""
        while True:
            with contextlib.suppress(queue.Empty):
                task, future = self._done.get(timeout=_POLL_S)
                if self._running.pop(future.key, None) is None:
                    # Its deadline passed and it was given up; what it wrote is harmless.
                    continue
                return task, self._outcome(future)
            overdue = self._overdue()
            if overdue is not None:
                return overdue
            self._check_alive()

    def _outcome(self, future: Any) -> Outcome:
        from distributed import KilledWorker

        if future.status in {"lost", "cancelled"}:
            return WorkerLost(f"the future was {future.status}")
        error = future.exception()
        if error is None:
            receipt: Outcome = future.result()
            return receipt
        if isinstance(error, KilledWorker):
            return WorkerLost(str(error))
        outcome: Outcome = error
        return outcome

    def _overdue(self) -> tuple[CellTask, Outcome] | None:
        # A worker ends a cell that is late between two batches; what is still running well after
        # that is stuck inside one call, and only a new process helps.
        limit = self._engine.cell_deadline_s * _STUCK_FACTOR
        now = time.monotonic()
        if now < self._next_look:
            return None
        self._next_look = now + max(_POLL_S, limit / 20)
        for address, keys in self._executing().items():
            for key in keys & self._running.keys():
                since = self._executing_since.setdefault(key, now)
                if now - since > limit:
                    task, future, _ = self._running.pop(key)
                    self._replace(address, task)
                    future.cancel(force=True)
                    return task, WorkerLost(f"was stuck for more than {limit:g} s")
        return None

    def _executing(self) -> dict[str, set[str]]:
        """Return which keys each worker is computing now, not those that wait there."""
        stacks = self._client.call_stack(keys=list(self._running)) if self._running else {}
        return {address: set(map(str, keys)) for address, keys in (stacks or {}).items()}

    def _replace(self, address: str, task: CellTask) -> None:
        try:
            self._client.restart_workers([address], raise_for_error=False)
        except ValueError:
            hint = "start workers with --nanny, so that a stuck one can be replaced"
            raise ClusterError(f"{task.label} is stuck on {address}", hint) from None

    def _check_alive(self) -> None:
        try:
            workers = self._workers()
        except OSError as error:
            raise ClusterError(f"lost the Dask scheduler: {error}", "run again to go on") from None
        now = time.monotonic()
        if workers:
            self._alone_since = None
            return
        self._alone_since = self._alone_since or now
        if now - self._alone_since > NO_WORKERS_DEADLINE_S:
            waited = f"{NO_WORKERS_DEADLINE_S:g} s"
            raise ClusterError(f"the cluster has had no workers for {waited}", "start some")


@contextlib.contextmanager
def open_executor(cluster: str, workers: int | None, engine: EngineConfig) -> Iterator[Executor]:
    """Give the executor that ``--cluster`` names.

    Args:
        cluster: ``inline``, ``local`` or the address of a running scheduler (``tcp://…``).
        workers: Worker processes for ``local``; None for as many as cores and memory allow.
        engine: How to run.

    Raises:
        UsageError: The name is unknown.
        ClusterError: The scheduler cannot be reached.
    """
    if cluster == "inline":
        yield InlineExecutor()
    elif cluster == "local":
        with _local(workers or default_workers(), engine) as executor:
            yield executor
    elif "://" in cluster:
        with _remote(cluster, engine) as executor:
            yield executor
    else:
        raise UsageError(
            f"unknown --cluster '{cluster}'; expected inline, local or tcp://host:port"
        )


def default_workers() -> int:
    """Return one worker per core, fewer when memory is short."""
    import psutil

    memory_gb = psutil.virtual_memory().available / 2**30
    return max(1, min(len(os.sched_getaffinity(0)), int(memory_gb / _GB_PER_WORKER)))


@contextlib.contextmanager
def _local(workers: int, engine: EngineConfig) -> Iterator[Executor]:
    import dask
    from distributed import Client, LocalCluster

    threads = str(engine.threads)
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    environment["OPENBLAS_NUM_THREADS"] = "1"
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.daemon": False,
        # Cells hold their rows on purpose; pausing or killing a worker at a share of the memory
        # would only lose work.
        "distributed.worker.memory.terminate": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.admin.tick.limit": "60s",
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield DaskExecutor(client, engine)


@contextlib.contextmanager
def _remote(address: str, engine: EngineConfig) -> Iterator[Executor]:
    from distributed import Client

    try:
        client = Client(address, timeout="20s")
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"cannot reach the Dask scheduler at '{address}': {error}") from None
    with client:
        yield DaskExecutor(client, engine)
