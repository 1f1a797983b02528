"""Labels of a samples table in the conventions of `FusionBatch`, checked against the vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from affectflow.models.batch import MISSING_CLASS, Task

from ..errors import StoreError, unknown_name
from ..store.samples import LABEL_PREFIX
from ..store.samples_view import SamplesView

_KINDS = ("single", "multi", "regression")


def choose_tasks(samples: SamplesView, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tasks: those asked for, else all that the samples have.

    Raises:
        StoreError: There is no such task, or none at all.
    """
    for name in names:
        if name not in samples.tasks:
            raise StoreError(unknown_name("task", name, samples.tasks))
    return tuple(names) or samples.tasks


def read_labels(samples: SamplesView, name: str, wanted: np.ndarray) -> tuple[Task, np.ndarray]:
    """Return a task and its labels, in the order of the samples.

    Args:
        samples: The samples.
        name: The task.
        wanted: (N,) bool; the labels of all others are treated as missing and not looked at.

    Returns:
        The task, and (N,) int64 with -1 where missing (classification), (N,) float32 with NaN
        where missing (regression), or (N, C) float32 with rows of NaN where missing (multilabel).

    Raises:
        StoreError: A label is not one the task knows, or the kind of task cannot be trained on.
    """
    kind, classes, cells = _column(samples, name)
    present = wanted & np.asarray(cells.is_valid().to_numpy(), bool)
    check = _Check(samples, name)
    if kind == "regression":
        task = Task(name, "regression", (), *_range(samples, name))
        numbers = np.asarray(cells.fill_null(np.nan).to_numpy(), np.float64)
        check.numbers(numbers, present, task)
        return task, np.where(present, numbers, np.nan).astype(np.float32)
    if kind == "multi":
        return _multilabel(name, classes, cells, present, check)
    codes = np.asarray(cells.fill_null(MISSING_CLASS).to_numpy(), np.int64)
    # A vocabulary that the reader builds may be empty: the codes tell its size.
    names = classes or tuple(map(str, range(int(codes.max(initial=-1)) + 1)))
    check.codes(codes, present & ((codes < 0) | (codes >= len(names))), names)
    return Task(name, "classification", names), np.where(present, codes, MISSING_CLASS)


def _column(samples: SamplesView, name: str) -> tuple[str, tuple[str, ...], pa.ChunkedArray]:
    table = samples.table([LABEL_PREFIX + name])
    meta = table.schema.field(0).metadata
    kind = meta[b"kind"].decode()
    if kind not in _KINDS:
        message = f"task '{name}' of '{samples.dataset}' has labels of kind '{kind}'"
        raise StoreError(message, f"what can be trained on: {', '.join(_KINDS)}")
    return kind, tuple(json.loads(meta[b"classes"])), table.column(0)


def _multilabel(
    name: str,
    classes: tuple[str, ...],
    cells: pa.ChunkedArray,
    present: np.ndarray,
    check: _Check,
) -> tuple[Task, np.ndarray]:
    rows = cells.to_pylist()
    size = len(classes) or max((max(row) + 1 for row in rows if row), default=0)
    names = classes or tuple(map(str, range(size)))
    values = np.full((len(rows), size), np.nan, np.float32)
    extremes = np.zeros(len(rows), np.int64)
    for index in np.flatnonzero(present).tolist():
        codes = rows[index]
        wrong = [code for code in codes if not 0 <= code < size]
        extremes[index] = wrong[0] if wrong else 0
        values[index] = 0
        values[index, [code for code in codes if 0 <= code < size]] = 1
    check.codes(extremes, present & ((extremes < 0) | (extremes >= size)), names)
    return Task(name, "multilabel", names), values


def _range(samples: SamplesView, name: str) -> tuple[float | None, float | None]:
    tasks: Mapping[str, Any] = samples.info["manifest"].get("tasks", {})
    limits = tasks.get(name, {}).get("range")
    return (float(limits[0]), float(limits[1])) if limits else (None, None)


class _Check:
    """Refuses labels, naming how many are wrong, the first of them, and what was expected."""

    def __init__(self, samples: SamplesView, task: str) -> None:
        self._samples = samples
        self._task = task

    def codes(self, values: np.ndarray, wrong: np.ndarray, names: Sequence[str]) -> None:
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        self._refuse(values, wrong, f"a code from 0 to {len(names) - 1} ({shown})")

    def numbers(self, values: np.ndarray, present: np.ndarray, task: Task) -> None:
        self._refuse(values, present & ~np.isfinite(values), "a finite number")
        if task.low is not None and task.high is not None:
            wrong = present & ((values < task.low) | (values > task.high))
            self._refuse(values, wrong, f"a number from {task.low:g} to {task.high:g}")

    def _refuse(self, values: np.ndarray, wrong: np.ndarray, expected: str) -> None:
        if not wrong.any():
            return
        first = int(np.flatnonzero(wrong)[0])
        message = (
            f"{int(wrong.sum())} labels of task '{self._task}' of '{self._samples.dataset}' are "
            f"outside its vocabulary, first '{self._samples.keys[first]}' = {values[first]:g}; "
            f"expected {expected}"
        )
        raise StoreError(message, "correct the labels or the manifest and ingest the dataset again")
