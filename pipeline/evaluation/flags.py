"""Models that learnt nothing, found by their numbers.

Published results exist that are exactly the constant classifier, so every model is checked:

- ``equals_constant``: accuracy and every F1 of a task (for a regression, of a binary reading) are
  within 0.1 points of those of a classifier that always says one class. Precision is not compared:
  that of a class predicted once is 0 or 1;
- ``constant_prediction``: the standard deviation of the predictions is below 1e-3; for classes it
  is that of the codes, so that means a single class was predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..training.metrics.classification import ones
from ..training.metrics.families import TaskLike, views_of
from ..training.metrics.results import Array, labelled
from ..training.metrics.views import View, score_view

NEAR_POINTS = 0.1
LEAST_STD = 1e-3
_LEAST_SAMPLES = 2


class Flag(NamedTuple):
    """One finding.

    Attributes:
        kind: Which of the two.
        task: Name of the task.
        view: Which reading of it; empty for the task itself.
        message: What was found, one line.
    """

    kind: Literal["equals_constant", "constant_prediction"]
    task: str
    view: str
    message: str


def flags(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    predictions: Mapping[str, Array],
    family: str = "auto",
) -> list[Flag]:
    """Return what is wrong with predictions; tasks with fewer than two labels are not judged.

    Args:
        tasks: What was predicted.
        labels: See `metrics.compute`.
        predictions: Decisions by task.
        family: See `metrics.FAMILIES`.
    """
    found: list[Flag] = []
    for task in tasks:
        there = labelled(task, labels[task.name])
        if there.sum() < _LEAST_SAMPLES:
            continue
        truth, guess = labels[task.name][there], predictions[task.name][there]
        found += _constant_prediction(task, guess)
        for view in views_of(task, truth, guess, family):
            found += _equals_constant(task, view)
    return found


def _constant_prediction(task: TaskLike, guess: Array) -> list[Flag]:
    spread = guess.astype(np.float64).std(0)
    found = []
    for index, std in enumerate(np.atleast_1d(spread).tolist()):
        if std < LEAST_STD:
            view = task.classes[index] if task.kind == "multilabel" else ""
            message = f"predictions have standard deviation {std:.2g}, below {LEAST_STD:g}"
            found.append(Flag("constant_prediction", task.name, view, message))
    return found


def _equals_constant(task: TaskLike, view: View) -> list[Flag]:
    # A single accuracy can meet a constant's by chance; an accuracy together with an F1 hardly.
    compared = [name for name in view.report if not name.endswith(("_precision", "_recall"))]
    if len(compared) < 2 or not view.keep.any():
        return []
    weights = ones(len(view.truth))
    ours = score_view(view, weights)
    for code in np.unique(view.truth[view.keep]).tolist():
        theirs = score_view(view.constant(code), weights)
        gap = max(abs(float(ours[name][0] - theirs[name][0])) for name in compared)
        if 100 * gap <= NEAR_POINTS:
            names = ", ".join(name.rpartition("/")[2] for name in compared)
            message = (
                f"{names} are within {NEAR_POINTS} points of always saying '{view.classes[code]}'"
            )
            return [Flag("equals_constant", task.name, view.name, message)]
    return []
