"""Computing one cell, in whichever process: store to store, returning a small receipt."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..config import canonical_json, digest
from ..errors import ConfigError
from ..loading import make_stage, missing_dependency
from ..records import Failure, FeatureSpec, OutputSpec, Row, source_key
from ..stage import BaseStage, library_version
from ..store import tensor
from ..store.layout import write_json
from ..store.quarantine import quarantine_rows
from ..store.reader import OutputFolder
from ..store.samples import SamplesTable
from ..store.writer import ShardWriter, as_value, commit_path, write_quarantine
from .lanes import Clock, DecodeLane, run_lanes
from .rows import cell_rows
from .task import CellTask, Receipt

# Opened stages of this process, most recently used last: weights are loaded once per worker, and
# only a few models stay in memory at a time.
_OPENED: OrderedDict[str, BaseStage[Any, Any]] = OrderedDict()
_MAX_OPENED = 2
# This many rows of one shard that break the contract, and none that keeps it, are no accident.
_DEFECT_ROWS = 8


def run_cell(task: CellTask) -> Receipt:
    """Compute one cell and commit it.

    Raises:
        AffectflowError: The run cannot go on (weights, provider, disk, a broken contract).
    """
    start = time.perf_counter()
    set_threads(task.engine.threads)
    stage = opened_stage(task)
    outputs = stage.outputs()
    clock = Clock()
    kept = _kept_rows(task, outputs)
    quarantine: list[dict[str, str]] = []
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(ShardWriter(Path(folder), task.shard, spec))
            for folder, spec in zip(task.folders, outputs, strict=True)
        ]
        for key, values in _computed(task, stage, clock, kept):
            quarantine.extend(_write_row(writers, key, values, clock))
        _check_contract(stage, writers, quarantine)
        for folder in task.folders:
            # From here to the new commit the cell counts as missing, whatever happens.
            commit_path(Path(folder), task.shard).unlink(missing_ok=True)
    write_quarantine(Path(task.quarantine), task.shard, quarantine)
    seconds = {
        "read": round(clock.read, 3),
        "compute": round(clock.compute, 3),
        "write": round(clock.write, 3),
        "total": round(time.perf_counter() - start, 3),
    }
    first = writers[0].result
    computed = sum(first["rows"].values()) - len(kept)
    for folder, writer in zip(task.folders, writers, strict=True):
        record = commit_record(task, stage, writer.result, seconds, computed)
        write_json(commit_path(Path(folder), task.shard), record)
    size = sum(writer.result["bytes"] for writer in writers)
    worker = f"{platform.node()}:{os.getpid()}"
    failed = len({row["key"] for row in quarantine})
    rows = {**first["rows"], "keys_failed": failed}
    return Receipt(task.node, task.shard, rows, seconds, size, first["reasons"], worker)


def opened_stage(task: CellTask) -> BaseStage[Any, Any]:
    """Return the task's stage with its weights loaded, from this process's cache if there."""
    name = canonical_json([task.stage, dict(task.config), task.samples, task.identity])
    if name in _OPENED:
        _OPENED.move_to_end(name)
        return _OPENED[name]
    while len(_OPENED) >= _MAX_OPENED:
        _OPENED.popitem(last=False)
    stage = make_stage(task.stage, task.config)
    _check_same(task, stage)
    try:
        stage.open()
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    if stage.NEEDS_CORPUS:
        stage.set_corpus(SamplesTable(Path(task.samples)).iter_captions())
    set_threads(task.engine.threads)
    _OPENED[name] = stage
    return stage


def _check_same(task: CellTask, stage: BaseStage[Any, Any]) -> None:
    """Refuse to compute with other weights or libraries than the plan was made with."""
    here = {"identity": dict(stage.identity()), "libraries": stage.libraries()}
    if digest(here) != task.identity:
        versions = ", ".join(f"{name} {version}" for name, version in here["libraries"].items())
        message = f"the worker on {platform.node()} has other weights or libraries: {versions}"
        raise ConfigError(message, "install the same versions and weights on every machine")


def set_threads(threads: int) -> None:
    """Give torch, OpenCV and whatever is loaded later this many compute threads."""
    for name in ("AFFECTFLOW_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # Threads that spin while they wait take the cores from the decoding threads and from other
    # programs; measured on two busy cores, short CLIP texts took up to eight times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that a retry leaves as it is: its values by output."""

    values: Mapping[str, Any]


def _kept_rows(task: CellTask, outputs: tuple[OutputSpec, ...]) -> dict[str, Kept]:
    """Return the rows of the committed parts that are not to be computed again."""
    if task.only_keys is None:
        return {}
    kept: dict[str, dict[str, Any]] = {}
    causes = {
        (row["key"], row["output"]): row
        for row in quarantine_rows(Path(task.quarantine), [task.shard])
    }
    for path, spec in zip(task.folders, outputs, strict=True):
        room = "features" if isinstance(spec, FeatureSpec) else "tables"
        for key, value in stored_rows(OutputFolder(Path(path), room), task.shard, spec):
            cause = causes.get((key, spec.name))
            if isinstance(value, Failure) and cause is not None:
                value = Failure(value.code, cause["message"], cause["hint"], value.status)
            source = key if task.children is None else source_key(key)
            if key not in task.only_keys and source not in task.only_keys:
                kept.setdefault(key, {})[spec.name] = value
    return {key: Kept(values) for key, values in kept.items()}


def stored_rows(folder: OutputFolder, shard: int, spec: OutputSpec) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a committed part as they were given to its writer."""
    table = folder.table(shard)
    if isinstance(spec, FeatureSpec):
        packed = tensor.storage(table["value"])
        unpack = tensor.ragged_to_numpy if spec.ragged else tensor.fixed_to_numpy
        values: Any = unpack(packed, spec)
    else:
        names = spec.schema.names
        values = [{name: row[name] for name in names} for row in table.to_pylist()]
    head = zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True)
    reasons = table["reason"].to_pylist()
    for index, (key, status) in enumerate(head):
        failed = Failure(reasons[index] or "", "", "", status) if status != "ok" else None
        yield key, failed or values[index]


def _computed(
    task: CellTask, stage: BaseStage[Any, Any], clock: Clock, kept: Mapping[str, Kept]
) -> Iterator[tuple[str, Any]]:
    """Yield ``(key, values)`` of every row of the cell, in order."""
    rows = cell_rows(task)
    with DecodeLane(stage.load, task.engine.decode_threads, task.engine.row_deadline_s) as lane:
        if task.only_keys is None:
            for row, values in _in_time(run_lanes(stage, rows, lane, clock), task):
                yield row.key, values
            return
        order: list[str] = []

        def fresh() -> Iterator[Row]:
            for row in rows:
                order.append(row.key)
                if row.key not in kept:
                    yield row

        found = {row.key: values for row, values in run_lanes(stage, fresh(), lane, clock)}
        for key in order:
            yield key, found[key] if key in found else kept[key].values


def _in_time(pairs: Iterator[tuple[Row, Any]], task: CellTask) -> Iterator[tuple[Row, Any]]:
    """Yield rows until the cell's deadline has passed; one call of `compute` is not interrupted."""
    limit = task.engine.cell_deadline_s
    end = time.monotonic() + limit
    for pair in pairs:
        if time.monotonic() > end:
            raise TimeoutError(f"took more than {limit:g} s (engine.cell_deadline_s)")
        yield pair


def _write_row(
    writers: list[ShardWriter], key: str, values: Any, clock: Clock
) -> Iterator[dict[str, str]]:
    """Append one row to every output and yield the quarantine rows it makes."""
    for writer in writers:
        name = writer.spec.name
        value = values if isinstance(values, Failure) else values.get(name)
        if value is None:
            value = Failure("no_value", f"the stage gave no '{name}' for this row", "a defect")
        value = as_value(value, writer.spec)
        clock.timed("write", partial(writer.append, key, value))
        if isinstance(value, Failure) and value.status == "failed":
            yield {
                "key": key,
                "output": name,
                "class": value.code,
                "message": value.message,
                "hint": value.hint,
            }


def _check_contract(
    stage: BaseStage[Any, Any], writers: list[ShardWriter], quarantine: list[dict[str, str]]
) -> None:
    """Stop the run when nothing a stage computed is what it declared: a defect, not data."""
    broken = [row for row in quarantine if row["class"] in {"contract", "no_value"}]
    several = len({row["key"] for row in broken}) >= _DEFECT_ROWS
    if several and all(writer.counts["ok"] == 0 for writer in writers):
        raise ConfigError(f"'{stage.NAME}' breaks its contract: {broken[0]['message']}")


def commit_record(
    task: CellTask,
    stage: BaseStage[Any, Any],
    result: Mapping[str, Any],
    seconds: Mapping[str, float],
    computed: int,
) -> dict[str, Any]:
    """Return the commit record of one output; ``computed`` rows took ``seconds``."""
    versions = {name: library_version(name) for name in ("affectflow", "pyarrow", "numpy")}
    return {
        "cell": task.cell,
        **result,
        "upstream": dict(task.upstream),
        "seconds": dict(seconds),
        "computed": computed,
        "attempt": task.attempt,
        "runtime": {
            **stage.config.runtime_parameters(),
            "ran_on": _ran_on(stage),
            "threads": task.engine.threads,
            "machine": platform.machine(),
            "python": platform.python_version(),
        },
        "versions": {**versions, **stage.libraries()},
    }


def _ran_on(stage: BaseStage[Any, Any]) -> str:
    """Return the accelerator's name where the stage may use one and one was used, else ``cpu``."""
    torch = sys.modules.get("torch")
    allowed = getattr(stage.config, "device", "cpu") != "cpu"
    if allowed and torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return "cpu"
