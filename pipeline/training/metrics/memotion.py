"""Scores of the Memotion competitions.

Task A is the sentiment in three classes, task B four binary emotions, task C their strengths in 4,
4, 4 and 2 classes; B and C are plain means over the four emotions. Version 1 (SemEval-2020 task 8)
ranks by macro-F1, versions 2 and 3 (De-Factify 2022, 2023) by weighted F1. Macro averages run over
the classes present in truth or prediction, as the scorers' default did. No official scorer could be
run; these are the published definitions. Range [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from .classification import Average, Floats, Labels, average, confusion, ones, per_class

if TYPE_CHECKING:
    from .families import TaskLike

EMOTIONS = ("humour", "sarcasm", "offensive", "motivational")
OFFICIAL: Mapping[int, Average] = {1: "macro", 2: "weighted", 3: "weighted"}
_SENTIMENTS = 3
_STRENGTHS = {"humour": 4, "sarcasm": 4, "offensive": 4, "motivational": 2}


def fits(tasks: Iterable[TaskLike]) -> bool:
    """Return whether tasks of these names are those of the competitions, class by class.

    A table of one's own may be called ``memotion`` too, with tasks of another shape.
    """
    sizes = {"sentiment": _SENTIMENTS, **dict.fromkeys(EMOTIONS, 2)}
    sizes |= {f"{name}_scale": number for name, number in _STRENGTHS.items()}
    return all(
        task.kind == "classification" and len(task.classes) == sizes[task.name]
        for task in tasks
        if task.name in sizes
    )


def scores(
    version: int,
    labels: Mapping[str, NDArray[Any]],
    predictions: Mapping[str, NDArray[Any]],
    weights: Floats | None = None,
    *,
    kind: Average | None = None,
    classes: Labels = "present",
) -> dict[str, Floats]:
    """Return the scores of the tasks that were predicted.

    Args:
        version: 1, 2 or 3.
        labels: By task (``sentiment``, ``humour``, …, ``humour_scale``, …) (N,) codes, -1 missing.
            Motivation has two classes in both tasks, so either name serves for either.
        predictions: Likewise.
        weights: (R, N) how often each sample counts; once by default.
        kind: Average over classes instead of the version's own.
        classes: Which classes a macro average runs over.

    Returns:
        ``task_a``, ``task_b``, ``task_c``, and ``task_b/humour`` and so on, (R,) each; a task is
        absent where a prediction for it is.

    Raises:
        ConfigError: There is no such version.
    """
    if version not in OFFICIAL:
        raise ConfigError(f"Memotion version {version}, expected 1, 2 or 3")
    wanted = kind or OFFICIAL[version]
    groups = {
        "task_a": {"sentiment": ("sentiment", _SENTIMENTS)},
        "task_b": {name: (_there(name, "", predictions), 2) for name in EMOTIONS},
        "task_c": {
            name: (_there(name, "_scale", predictions), _STRENGTHS[name]) for name in EMOTIONS
        },
    }
    result: dict[str, Floats] = {}
    for group, parts in groups.items():
        if all(task in predictions and task in labels for task, _ in parts.values()):
            found = {
                name: _f1(labels[task], predictions[task], number, weights, wanted, classes)
                for name, (task, number) in parts.items()
            }
            result[group] = np.mean(list(found.values()), axis=0)
            if len(found) > 1:
                result |= {f"{group}/{name}": value for name, value in found.items()}
    return result


def _there(name: str, suffix: str, predictions: Mapping[str, NDArray[Any]]) -> str:
    if name != "motivational" or name + suffix in predictions:
        return name + suffix
    return "motivational" if suffix else "motivational_scale"


def _f1(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    number: int,
    weights: Floats | None,
    kind: Average,
    classes: Labels,
) -> Floats:
    there = truth >= 0
    wanted = ones(len(truth)) if weights is None else weights
    codes = truth[there].astype(np.int64), prediction[there].astype(np.int64)
    found = per_class(confusion(*codes, number, wanted[:, there]))
    return average(found.f1, found, kind, classes)
