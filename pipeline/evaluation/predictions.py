"""``predictions-<split>.parquet``: what a model said of each sample of a split.

Columns::

    key                          string, unique
    label.<task>                 code or number; null where missing
    prediction.<task>            code or number; differs from the largest logit only by thresholds
    logit.<task>.<class>         float32, one per class; a regression has none
    label.<task>.<class>         } of a multilabel task instead of the first two
    prediction.<task>.<class>    }

The tasks and the split stand in the schema's metadata, so a file is read without its run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput, StoreError
from ..store.layout import written_whole
from ..training.metrics.results import Array, check_logits, labelled, predictions_of

if TYPE_CHECKING:
    import pyarrow as pa

    from affectflow.models.batch import Task

_META = b"affectflow.predictions"
_FORMAT = 1
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model said of N samples.

    Attributes:
        split: Name of the split.
        keys: (N,) keys, unique.
        tasks: What was predicted.
        labels: By task: (N,) int64 with -1 for missing, (N,) float32 with NaN for missing, or
            (N, C) float32 with NaN rows for missing.
        logits: By task: (N, num_outputs) float32, finite.
        decisions: By task: (N,) int64, (N, C) int64 or (N,) float32; follows from the logits where
            it is not given.
    """

    split: str
    keys: NDArray[np.object_]
    tasks: tuple[Task, ...]
    labels: Mapping[str, Array]
    logits: Mapping[str, Array]
    decisions: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check keys and shapes, and complete the decisions.

        Raises:
            InvalidInput: A key occurs twice, a shape does not fit, or a logit is not finite.
        """
        again = [key for key, number in Counter(self.keys.tolist()).items() if number > 1]
        if again:
            raise InvalidInput(
                f"{len(again)} keys occur more than once: {', '.join(map(str, again[:_SHOWN]))}",
                "each sample is predicted once",
            )
        for task in self.tasks:
            for what, found in (("labels", self.labels), ("logits", self.logits)):
                if task.name not in found or len(found[task.name]) != len(self):
                    raise InvalidInput(
                        f"{what} of task '{task.name}' are absent or not {len(self)} rows"
                    )
        check_logits(self.tasks, self.logits, [str(key) for key in self.keys])
        decided = {**predictions_of(self.tasks, self.logits), **self.decisions}
        object.__setattr__(self, "decisions", decided)

    def __len__(self) -> int:
        """Return N."""
        return len(self.keys)

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """Return these samples, in this order."""

        def cut(found: Mapping[str, Array]) -> dict[str, Array]:
            return {name: values[rows] for name, values in found.items()}

        return replace(
            self,
            keys=self.keys[rows],
            labels=cut(self.labels),
            logits=cut(self.logits),
            decisions=cut(self.decisions),
        )

    def in_order_of(self, keys: Sequence[str]) -> Predictions:
        """Return the same samples in the order of other keys.

        Raises:
            InvalidInput: The two do not hold the same keys.
        """
        where = {key: row for row, key in enumerate(self.keys.tolist())}
        only = sorted(set(where) ^ set(keys))
        if only or len(keys) != len(where):
            raise InvalidInput(
                f"the predictions cover other samples: {len(only)} keys are in one only, such as "
                f"{', '.join(map(str, only[:_SHOWN]))}",
                "compare predictions of the same split of the same data",
            )
        return self.take(np.array([where[key] for key in keys], np.int64))


def scores_name(split: str) -> str:
    """Return the file with the scores of one seed; val.json is the trainer's own."""
    return "test.json" if split == "test" else f"evaluation-{split}.json"


def write_predictions(path: Path, predictions: Predictions, **facts: str) -> None:
    """Write a file whole or not at all; the same predictions give the same bytes.

    Args:
        path: For example ``predictions-test.parquet``.
        predictions: What to write.
        facts: Further text for the metadata, such as ``run``.

    Raises:
        StoreError: The disk is full or not writable.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {"key": pa.array(predictions.keys.tolist(), pa.string())}
    for task in predictions.tasks:
        columns |= _columns(task, predictions)
    meta = {
        "format": _FORMAT,
        "split": predictions.split,
        "tasks": [task._asdict() for task in predictions.tasks],
        "facts": facts,
    }
    table = pa.table(columns).replace_schema_metadata({_META: json.dumps(meta, sort_keys=True)})
    with written_whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: Path) -> Predictions:
    """Read a file that `write_predictions` wrote.

    Raises:
        StoreError: The file is absent, no predictions file, or lacks a column.
        InvalidInput: A key occurs twice or a logit is not finite.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from affectflow.models.batch import Task

    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"predictions {path}: {error}", "run `pipeline evaluate` again") from error
    meta = json.loads((table.schema.metadata or {}).get(_META, b"{}"))
    if meta.get("format") != _FORMAT:
        raise StoreError(
            f"{path} is no predictions file of format {_FORMAT}", "run `pipeline evaluate` again"
        )
    tasks = tuple(Task(**{**task, "classes": tuple(task["classes"])}) for task in meta["tasks"])
    _check_columns(path, table.schema.names, tasks)
    return Predictions(
        meta["split"],
        np.array(table["key"].to_pylist(), object),
        tasks,
        {task.name: _label(table, task) for task in tasks},
        {task.name: _logits(table, task) for task in tasks},
        {task.name: _stack(table, _names("prediction", task), task, 0) for task in tasks},
    )


def _names(what: str, task: Task) -> list[str]:
    if what == "logit" or task.kind == "multilabel":
        classes = () if task.kind == "regression" else task.classes
        return [f"{what}.{task.name}.{name}" for name in classes]
    return [f"{what}.{task.name}"]


def _check_columns(path: Path, found: Sequence[str], tasks: Sequence[Task]) -> None:
    parts = ("label", "prediction", "logit")
    wanted = ["key", *(name for task in tasks for part in parts for name in _names(part, task))]
    missing = [name for name in wanted if name not in found]
    more = [name for name in found if name not in wanted]
    if missing or more or len(found) != len(set(found)):
        raise StoreError(
            f"{path}: columns missing: {', '.join(missing) or 'none'}; not expected: "
            f"{', '.join(more) or 'none'}",
            "the file was changed; run `pipeline evaluate` again",
        )


def _columns(task: Task, predictions: Predictions) -> dict[str, pa.Array]:
    import pyarrow as pa

    kind = pa.float32() if task.kind == "regression" else pa.int64()
    truth = predictions.labels[task.name]
    gone = ~labelled(task, truth)
    filled = np.where(gone[:, None] if truth.ndim == 2 else gone, 0, truth)
    columns = {}
    for part, values in (("label", filled), ("prediction", predictions.decisions[task.name])):
        wide = values.reshape(len(predictions), -1)
        for index, name in enumerate(_names(part, task)):
            stored = wide[:, index].astype(kind.to_pandas_dtype())
            columns[name] = pa.array(stored, kind, mask=gone if part == "label" else None)
    for index, name in enumerate(_names("logit", task)):
        column = predictions.logits[task.name][:, index].astype(np.float32)
        columns[name] = pa.array(column, pa.float32())
    return columns


def _label(table: pa.Table, task: Task) -> Array:
    missing = -1 if task.kind == "classification" else np.nan
    return _stack(table, _names("label", task), task, missing)


def _logits(table: pa.Table, task: Task) -> Array:
    names = _names("prediction" if task.kind == "regression" else "logit", task)
    columns = [_numpy(table, name, np.nan) for name in names]
    return np.stack(columns, 1).astype(np.float32) if columns else np.zeros((len(table), 0))


def _stack(table: pa.Table, names: Sequence[str], task: Task, missing: float) -> Array:
    columns = [_numpy(table, name, missing) for name in names]
    if task.kind == "multilabel":
        kind: Any = np.float32 if np.isnan(missing) else np.int64
        return np.stack(columns, 1).astype(kind)
    return columns[0].astype(np.float32 if task.kind == "regression" else np.int64)


def _numpy(table: pa.Table, name: str, missing: float) -> Array:
    column = table[name]
    if column.null_count:
        values = [missing if value is None else value for value in column.to_pylist()]
        return np.array(values, np.float64)
    found: Array = column.to_numpy()
    return found
