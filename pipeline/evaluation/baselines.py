"""The constant classifier, against which every number is read.

What it says comes from the **training** labels, what it scores from the evaluated ones:

- classification: the most frequent class; multilabel: for each class whether most samples have it;
- regression: the median for MAE; for every binned accuracy and F1 the most frequent bin (for Acc-2
  the majority sign); correlation undefined, as of any constant.

A tie goes to the first class. Identities for a constant that says the class of share q in the
evaluated labels: accuracy q, weighted F1 2q²/(1+q), macro-F1 2q/((1+q)K).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import InvalidInput
from ..training.metrics.classification import Floats, ones
from ..training.metrics.families import TaskLike, score_task, views_of
from ..training.metrics.results import (
    MEAN,
    Array,
    Results,
    labelled,
    mean_over_tasks,
    resampled,
)


def constant_values(
    tasks: Sequence[TaskLike], train_labels: Mapping[str, Array]
) -> dict[str, float | tuple[int, ...]]:
    """Return what the constant classifier says, by task: a code, a number, or a code per class.

    Raises:
        InvalidInput: A task has no training label.
    """
    return {task.name: _constant(task, _present(task, train_labels)) for task in tasks}


def constant_predictions(
    tasks: Sequence[TaskLike], train_labels: Mapping[str, Array], num_samples: int
) -> dict[str, Array]:
    """Return the constant classifier's predictions, for example for a paired difference.

    Args:
        tasks: What is predicted.
        train_labels: By task, the training split's labels; missing ones are left out.
        num_samples: N, the samples to predict.

    Returns:
        By task (N,) codes, (N,) numbers or (N, C) codes.
    """
    result: dict[str, Array] = {}
    for name, value in constant_values(tasks, train_labels).items():
        kind = np.float32 if isinstance(value, float) else np.int64
        result[name] = np.repeat(np.asarray([value], kind), num_samples, axis=0)
    return result


def constant_results(
    tasks: Sequence[TaskLike],
    train_labels: Mapping[str, Array],
    labels: Mapping[str, Array],
    family: str = "auto",
) -> Results:
    """Return the metrics of the constant classifier, in the form `metrics.compute` returns.

    Args:
        tasks: What is predicted.
        train_labels: Labels of the training split, by task.
        labels: Labels of the evaluated split, by task.
        family: See `metrics.FAMILIES`.

    Raises:
        InvalidInput: A task has no training label.
    """
    number = len(next(iter(labels.values()))) if labels else 0
    guess = constant_predictions(tasks, train_labels, number)
    weights = ones(number)
    found = resampled(tasks, labels, guess, weights, family)
    for task in tasks:
        if task.kind == "regression":
            there = labelled(task, labels[task.name])
            found[task.name] = _per_view(
                task,
                _present(task, train_labels),
                labels[task.name][there],
                guess[task.name][there],
                family,
            )
    found[MEAN] = mean_over_tasks({task.name: found[task.name] for task in tasks})
    return {
        task: {metric: float(values[0]) for metric, values in of_task.items()}
        for task, of_task in found.items()
    }


def _per_view(
    task: TaskLike, train: Array, truth: Array, median: Array, family: str
) -> dict[str, Floats]:
    modes = [view.majority() or 0 for view in views_of(task, train, train, family)]
    views = views_of(task, truth, median, family)
    constant = [view.constant(mode) for view, mode in zip(views, modes, strict=True)]
    return score_task(task, truth, median, ones(len(truth)), family, constant)


def _constant(task: TaskLike, train: Array) -> float | tuple[int, ...]:
    if task.kind == "regression":
        return float(np.median(train.astype(np.float32)))
    if task.kind == "multilabel":
        return tuple(int(share > 0.5) for share in train.mean(0))
    return int(np.bincount(train.astype(np.int64), minlength=len(task.classes)).argmax())


def _present(task: TaskLike, labels: Mapping[str, Array]) -> Array:
    truth = labels[task.name]
    kept = truth[labelled(task, truth)]
    if not len(kept):
        raise InvalidInput(
            f"task '{task.name}' has no label in the training split, so no majority is known",
            "leave the task out, or check the split",
        )
    return kept
