"""Executing a plan: ready cells go to an executor, receipts come back, lost workers are retried.

Nothing above this file knows whether cells run inline or on a cluster.
"""

from __future__ import annotations

import heapq
import pickle
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..config import EngineConfig
from ..errors import AffectflowError
from ..store.layout import commit_name, part_name, read_commit, write_json
from .adopt import Adopter
from .cell import run_cell
from .graph import SAMPLES
from .plan import Plan, PlannedNode, cell_state, expected_cell
from .specs import write_specs
from .task import MAX_TASK_BYTES, CellTask, Receipt, Upstream

_COMMIT_TRIES = 5
_COMMIT_WAIT_S = 0.2

Outcome = Receipt | BaseException


class WorkerLost(Exception):
    """The process that computed a cell died or was replaced; the cell can be tried again."""


class Executor(Protocol):
    """Runs tasks somewhere and hands outcomes back in any order."""

    slots: int

    def submit(self, task: CellTask) -> None:
        """Start a task, or queue it."""

    def next(self) -> tuple[CellTask, Outcome]:
        """Return a finished task with its receipt or error; wait for one."""


class InlineExecutor:
    """Runs every task in this process, one at a time."""

    slots = 1

    def __init__(self) -> None:
        self._queue: list[CellTask] = []

    def submit(self, task: CellTask) -> None:
        """Queue a task."""
        self._queue.append(task)

    def next(self) -> tuple[CellTask, Outcome]:
        """Run the oldest task."""
        task = self._queue.pop(0)
        try:
            return task, run_cell(task)
        except Exception as error:
            # Whatever it was, the driver decides whether it ends the cell or the run.
            return task, error


@dataclass
class Progress:
    """What has happened so far in a run.

    Attributes:
        cached, adopted, done, failed: Cells by outcome.
        missing: Cells that a retry found not computed, and left so.
        receipts: One per computed cell.
        errors: Message of each failed cell, by label.
    """

    cached: int = 0
    adopted: int = 0
    done: int = 0
    failed: int = 0
    retried: int = 0
    missing: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Cells that need no more work."""
        return self.cached + self.adopted + self.done + self.failed + self.missing


Watcher = Callable[[Progress, str], None]


@dataclass
class Driver:
    """Runs the cells of a plan in an order in which every cell stands after what it reads.

    Args:
        plan: The plan.
        root: Folder that media paths are confined to.
        engine: How to run.
        executor: Where to run.
        watcher: Told after every cell.
        only_keys: For a retry: cell to the rows to compute again; other cells are left alone.
    """

    plan: Plan
    root: Path
    engine: EngineConfig
    executor: Executor
    watcher: Watcher = lambda progress, label: None
    only_keys: Mapping[tuple[str, int], frozenset[str]] | None = None
    progress: Progress = field(default_factory=Progress)

    def run(self) -> Progress:
        """Run until nothing is left.

        Raises:
            AffectflowError: The run cannot go on; what is committed stays.
        """
        self._order = {name: index for index, name in enumerate(self.plan.nodes)}
        self._waiting = self._count_upstream()
        self._below = _downstream(self.plan)
        self._adopter = Adopter(self.plan)
        self._ready = [
            (self._order[name], shard) for (name, shard), left in self._waiting.items() if left == 0
        ]
        heapq.heapify(self._ready)
        for planned in self.plan.nodes.values():
            write_specs(self.plan, planned)
        self._attempts: Counter[tuple[str, int]] = Counter()
        in_flight = 0
        limit = self.engine.max_in_flight or self.executor.slots
        names = list(self.plan.nodes)
        while self._ready or in_flight:
            while self._ready and in_flight < limit:
                index, shard = heapq.heappop(self._ready)
                if not self._settled(names[index], shard):
                    self._submit(names[index], shard)
                    in_flight += 1
            if in_flight:
                task, outcome = self.executor.next()
                in_flight -= 1
                self._receive(task, outcome)
        return self.progress

    def _count_upstream(self) -> dict[tuple[str, int], int]:
        return {
            (name, shard): len(planned.node.upstream)
            for name, planned in self.plan.nodes.items()
            for shard in range(len(self.plan.samples.shards))
        }

    def _settled(self, name: str, shard: int) -> bool:
        """Return whether a cell needs no work now that everything it reads is committed."""
        planned = self.plan.nodes[name]
        if any(f"{above}[{shard}]" in self.progress.errors for above in planned.node.upstream):
            self._fail(name, shard, "a cell that it reads failed")
            return True
        if self.only_keys is not None:
            if (name, shard) in self.only_keys:
                return False
            if self.plan.cells[name, shard].state == "cached":
                self.progress.cached += 1
            else:
                self.progress.missing += 1
            self._release(name, shard)
            return True
        if fresh_state(self.plan, planned, shard) == "cached":
            self.progress.cached += 1
        elif self._adopter.adopt(planned, shard, upstream_shas(self.plan, planned, shard)):
            self.progress.adopted += 1
        else:
            return False
        self._release(name, shard)
        return True

    def _submit(self, name: str, shard: int) -> None:
        key = (name, shard)
        keys = None if self.only_keys is None else self.only_keys[key]
        attempt = self._attempts[key]
        task = make_task(self.plan, name, shard, self.root, self.engine, attempt, keys)
        size = len(pickle.dumps(task))
        if size > MAX_TASK_BYTES:
            raise AffectflowError(
                f"{task.label}: the task has {size} bytes, limit {MAX_TASK_BYTES}"
            )
        self.executor.submit(task)

    def _receive(self, task: CellTask, outcome: Outcome) -> None:
        key = (task.node, task.shard)
        if isinstance(outcome, Receipt):
            self.progress.done += 1
            self.progress.receipts.append(outcome)
            self.plan.nodes[task.node].failed_marker(task.shard).unlink(missing_ok=True)
            self._release(*key)
        elif isinstance(outcome, AffectflowError):
            raise outcome
        elif isinstance(outcome, WorkerLost) and self._attempts[key] < self.engine.retries:
            self._attempts[key] += 1
            self.progress.retried += 1
            heapq.heappush(self._ready, (self._order[task.node], task.shard))
            self.watcher(self.progress, f"{task.label} lost its worker; trying again")
        else:
            cause = f"{type(outcome).__name__}: {outcome}"
            self._fail(task.node, task.shard, cause)

    def _fail(self, name: str, shard: int, cause: str) -> None:
        label = f"{name}[{shard}]"
        self.progress.failed += 1
        self.progress.errors[label] = cause
        marker = self.plan.nodes[name].failed_marker(shard)
        write_json(marker, {"message": cause, "time": time.time()})
        self._release(name, shard)

    def _release(self, name: str, shard: int) -> None:
        self.watcher(self.progress, f"{name}[{shard}]")
        for below in self._below[name]:
            key = (below, shard)
            self._waiting[key] -= 1
            if self._waiting[key] == 0:
                heapq.heappush(self._ready, (self._order[below], shard))


def _downstream(plan: Plan) -> dict[str, list[str]]:
    below: dict[str, list[str]] = defaultdict(list)
    for name, planned in plan.nodes.items():
        for above in planned.node.upstream:
            below[above].append(name)
    return below


def fresh_state(plan: Plan, planned: PlannedNode, shard: int) -> str:
    """Return the state of a cell as the disk has it now."""
    if plan.cells[planned.name, shard].state == "cached":
        commit = planned.folders[0].commits[shard]
        return "cached" if commit["upstream"] == upstream_shas(plan, planned, shard) else "stale"
    if plan.cells[planned.name, shard].state == "stale":
        return "stale"
    found = [_on_disk(folder, shard) for _, folder in planned.outputs]
    if any(commit is None for commit, _ in found):
        return "missing"
    # Another run, or a worker whose answer was lost, has committed it since the plan was made.
    state, _ = cell_state(plan, planned, shard, found)
    same = found[0][0]["upstream"] == upstream_shas(plan, planned, shard) if found[0][0] else False
    return "cached" if state == "cached" and same else "stale"


def _on_disk(folder: Path, shard: int) -> tuple[dict[str, Any] | None, int | None]:
    part = folder / part_name(shard)
    size = part.stat().st_size if part.exists() else None
    return read_commit(folder / commit_name(shard)), size


def upstream_shas(plan: Plan, planned: PlannedNode, shard: int) -> dict[str, str]:
    """Return the digests of the committed parts that a cell reads, as the disk has them now."""
    return {name: _current_sha(plan.nodes[name], shard) for name in planned.node.upstream}


def _current_sha(planned: PlannedNode, shard: int) -> str:
    path = planned.outputs[0][1] / commit_name(shard)
    for _ in range(_COMMIT_TRIES):
        commit = read_commit(path)
        if commit is not None:
            return str(commit["sha256"])
        # Another run on the same store may be between taking the old record away and writing one.
        time.sleep(_COMMIT_WAIT_S)
    return ""


def make_task(
    plan: Plan,
    name: str,
    shard: int,
    root: Path,
    engine: EngineConfig,
    attempt: int = 0,
    only_keys: frozenset[str] | None = None,
) -> CellTask:
    """Return the task of one cell; everything it reads is committed."""
    planned = plan.nodes[name]
    shas = upstream_shas(plan, planned, shard)
    reads = {
        alias: Upstream(
            target,
            str(plan.nodes[target].outputs[0][1]),
            plan.nodes[target].node.rows,
            str(plan.nodes[target].quarantine),
        )
        for alias, target in planned.node.reads.items()
    }
    rows = planned.node.rows
    children = None if rows == SAMPLES else str(plan.nodes[rows].outputs[0][1])
    return CellTask(
        node=name,
        stage=planned.node.stage,
        config=dict(planned.node.config),
        shard=shard,
        attempt=attempt,
        cell=expected_cell(plan, planned, shard),
        identity=planned.identity,
        samples=str(plan.samples.path),
        root=str(root),
        children=children,
        reads=reads,
        upstream=shas,
        folders=tuple(str(path) for _, path in planned.outputs),
        quarantine=str(planned.quarantine),
        engine=engine,
        only_keys=only_keys,
    )
