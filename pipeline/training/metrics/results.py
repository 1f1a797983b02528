"""From labels and logits to a table of numbers.

``N`` samples, ``C`` classes of a task, ``R`` weightings of the samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from . import memotion
from .calibration import expected_calibration_error, softmax
from .classification import Floats, ones
from .families import MEMOTION_VERSIONS, TaskLike, check_family, score_task
from .names import describe

Array: TypeAlias = NDArray[Any]
Results: TypeAlias = dict[str, dict[str, float]]
MEAN = "mean"
_NAMED = 10


def compute(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    logits: Mapping[str, Array],
    family: str = "auto",
    *,
    keys: Sequence[str] | None = None,
) -> Results:
    """Return every metric of every task.

    A sample without a label for a task is left out of that task; ``n`` says how many are left. A
    task without any label gives NaN and stays out of the mean. Macro averages run over all classes
    of the task, whether or not they occur. A classification task reports accuracy once: micro-F1
    is the same number.

    Args:
        tasks: What was predicted.
        labels: By task: (N,) codes with -1 for missing; (N,) numbers with NaN for missing; (N, C)
            of 0 and 1 with NaN rows for missing.
        logits: By task: (N, C), or (N, 1) for a regression.
        family: See `families.FAMILIES`.
        keys: N keys, to name samples in errors.

    Returns:
        Task to metric to value, and the task ``mean``: for each metric the plain mean over the
        tasks that have it, and their number ``num_tasks``. Families of Memotion add ``memotion``.

    Raises:
        InvalidInput: A logit is NaN or infinite (the samples are named, nothing is replaced), a
            shape is not the one expected, or a label is no class of its task.
        ConfigError: The family is unknown.
    """
    check_logits(tasks, logits, keys)
    results = compute_predictions(tasks, labels, predictions_of(tasks, logits), family, keys=keys)
    for task in tasks:
        if task.kind == "classification":
            there = labelled(task, labels[task.name])
            truth = labels[task.name][there].astype(np.int64)
            chances = softmax(logits[task.name][there]) if there.any() else np.zeros((0, 1))
            results[task.name]["ece"] = expected_calibration_error(chances, truth)
    return results


def compute_predictions(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    predictions: Mapping[str, Array],
    family: str = "auto",
    *,
    keys: Sequence[str] | None = None,
) -> Results:
    """Return every metric of decisions, for example after thresholds; see `compute`.

    Args:
        tasks: What was predicted.
        labels: See `compute`.
        predictions: By task: (N,) codes, (N,) numbers, or (N, C) of 0 and 1.
        family: See `families.FAMILIES`.
        keys: N keys, to name samples in errors.
    """
    number = len(next(iter(labels.values()))) if labels else 0
    found = resampled(tasks, labels, predictions, ones(number), family, keys=keys)
    return {
        task: {metric: float(values[0]) for metric, values in of_task.items()}
        for task, of_task in found.items()
    }


def resampled(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    predictions: Mapping[str, Array],
    weights: Floats,
    family: str = "auto",
    *,
    keys: Sequence[str] | None = None,
) -> dict[str, dict[str, Floats]]:
    """Return every metric for R weightings of the samples at once.

    Args:
        tasks: What was predicted.
        labels: See `compute`.
        predictions: See `compute_predictions`.
        weights: (R, N) how often each sample counts.
        family: See `families.FAMILIES`.
        keys: N keys, to name samples in errors.

    Returns:
        Task to metric to (R,) values, with ``mean``.
    """
    check_family(family)
    results: dict[str, dict[str, Floats]] = {}
    for task in tasks:
        truth, guess = _pair(task, labels, predictions, weights.shape[1], keys)
        there = labelled(task, truth)
        results[task.name] = score_task(task, truth[there], guess[there], weights[:, there], family)
    if family in MEMOTION_VERSIONS:
        scored = memotion.scores(MEMOTION_VERSIONS[family], labels, predictions, weights)
        results["memotion"] = {name: value for name, value in scored.items() if "/" not in name}
    results[MEAN] = mean_over_tasks({task.name: results[task.name] for task in tasks})
    return results


def mean_over_tasks(results: Mapping[str, Mapping[str, Floats]]) -> dict[str, Floats]:
    """Return the unweighted mean of each metric over the tasks that have it and any label."""
    counted = [found for found in results.values() if np.any(found["n"] > 0)]
    names = dict.fromkeys(name for found in counted for name in found if "/" not in name)
    means: dict[str, Floats] = {}
    for name in names:
        if describe(name).kind in ("share", "plain"):
            means[name] = np.mean([found[name] for found in counted if name in found], axis=0)
    rows = len(next(iter(results.values()))["n"]) if results else 1
    means["num_tasks"] = np.full(rows, float(len(counted)))
    return means


def predictions_of(tasks: Sequence[TaskLike], logits: Mapping[str, Array]) -> dict[str, Array]:
    """Return decisions: class of the largest logit (the first at a tie), logits above 0, values.

    Returns:
        By task (N,) int64, (N, C) int64, or (N,) float32.
    """
    return {task.name: _decide(task, logits[task.name]) for task in tasks}


def labelled(task: TaskLike, truth: Array) -> NDArray[np.bool_]:
    """Return (N,) bool: which samples have a label."""
    missing = truth < 0 if task.kind == "classification" else np.isnan(truth)
    return ~_any(missing)


def check_logits(
    tasks: Sequence[TaskLike], logits: Mapping[str, Array], keys: Sequence[str] | None = None
) -> None:
    """Refuse logits that are missing, of another shape, NaN or infinite.

    Raises:
        InvalidInput: Naming the task and the samples.
    """
    for task in tasks:
        found = logits.get(task.name)
        if found is None or found.ndim != 2 or found.shape[1] != task.num_outputs:
            got = "nothing" if found is None else f"shape {found.shape}"
            raise InvalidInput(
                f"logits of task '{task.name}': got {got}, expected (N, {task.num_outputs})",
                "a batch of one sample keeps its axes",
            )
        with np.errstate(over="ignore"):
            stored = found.astype(np.float32, copy=False)
        _check_finite(task, stored, keys)


def _decide(task: TaskLike, logits: Array) -> Array:
    if task.kind == "classification":
        return logits.argmax(1) if logits.shape[1] else np.zeros(len(logits), np.int64)
    if task.kind == "multilabel":
        return (logits > 0).astype(np.int64)
    return logits[:, 0].astype(np.float32)


def _pair(
    task: TaskLike,
    labels: Mapping[str, Array],
    predictions: Mapping[str, Array],
    number: int,
    keys: Sequence[str] | None,
) -> tuple[Array, Array]:
    shape = (number, len(task.classes)) if task.kind == "multilabel" else (number,)
    for what, where in (("labels", labels), ("predictions", predictions)):
        found = where.get(task.name)
        if found is None or found.shape != shape:
            got = "nothing" if found is None else f"shape {found.shape}"
            raise InvalidInput(f"{what} of task '{task.name}': got {got}, expected shape {shape}")
    truth, guess = labels[task.name], predictions[task.name]
    _check_finite(task, guess, keys)
    largest = {"classification": len(task.classes) - 1, "multilabel": 1}.get(task.kind)
    if largest is not None:
        there = labelled(task, truth)
        _check_codes(task, "label", truth, there, largest, keys)
        _check_codes(task, "prediction", guess, np.ones(number, bool), largest, keys)
    return truth, guess


def _check_codes(
    task: TaskLike,
    what: str,
    values: Array,
    there: NDArray[np.bool_],
    largest: int,
    keys: Sequence[str] | None,
) -> None:
    wrong = _any((values < 0) | (values > largest) | (values % 1 != 0)) & there
    if wrong.any():
        raise InvalidInput(
            f"task '{task.name}': {int(wrong.sum())} {what}s are not in 0 to {largest}, "
            f"samples {_names(wrong, keys)}",
            "labels must be codes of the task's classes",
        )


def _check_finite(task: TaskLike, values: Array, keys: Sequence[str] | None) -> None:
    broken = _any(~np.isfinite(values))
    if broken.any():
        raise InvalidInput(
            f"task '{task.name}': predictions of {int(broken.sum())} of {len(broken)} samples are "
            f"NaN or infinite, samples {_names(broken, keys)}",
            "nothing is replaced; look for NaN in features or a diverged run",
        )


def _any(found: Array) -> NDArray[np.bool_]:
    flat: NDArray[np.bool_] = np.atleast_2d(found.T)
    return np.logical_or.reduce(flat, axis=0)


def _names(which: NDArray[np.bool_], keys: Sequence[str] | None) -> str:
    rows = np.flatnonzero(which)
    shown = [str(keys[row]) if keys is not None else f"row {row}" for row in rows[:_NAMED]]
    return ", ".join(shown) + (f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else "")
