"""Numbers of the validation split, and the one among them that selects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affectflow.models.batch import Task

from ..errors import InvalidInput
from . import metrics
from .metrics.selection import selection_value
from .validation import SplitOutput

Scores = dict[str, dict[str, float]]


def score(tasks: Sequence[Task], output: SplitOutput, family: str) -> Scores:
    """Return task → metric → value, the task ``mean``, and each task's ``loss`` among them.

    Raises:
        InvalidInput: A logit is not finite.
    """
    scores = metrics.compute(tasks, output.labels, output.logits, family, keys=output.keys)
    for name, value in output.losses.items():
        task = name.partition("/")[2] or "mean"
        scores[task]["loss"] = value
    return scores


@dataclass(frozen=True, slots=True)
class Monitor:
    """The number that early stopping and the best checkpoint go by.

    Attributes:
        name: Such as ``val/mean/macro_f1`` or ``val/loss``.
        maximise: Whether more is better.
    """

    name: str
    maximise: bool

    @classmethod
    def of(cls, name: str, tasks: Sequence[Task]) -> Monitor:
        """Return the monitor of a name; ``auto`` is macro-F1, or the loss where all regress.

        Raises:
            ConfigError: The name is no metric with a direction.
        """
        if name == "auto":
            only_regression = all(task.kind == "regression" for task in tasks)
            name = "val/loss" if only_regression else "val/mean/macro_f1"
        return cls(name, metrics.is_maximised(name))

    def value(self, scores: Scores) -> float:
        """Return the monitored value.

        Raises:
            ConfigError: The name is not among the scores, or names the test split.
            InvalidInput: The value is undefined, so nothing could be selected by it.
        """
        value, _ = selection_value(scores, self.name)
        if math.isnan(value):
            raise InvalidInput(
                f"{self.name} is undefined on the validation split",
                "choose another --set trainer.monitor=…; a task may have no labels there",
            )
        return value

    def better(self, value: float, best: float | None) -> bool:
        """Return whether a value beats the best so far."""
        if best is None:
            return True
        return value > best if self.maximise else value < best


def weak_spots(output: SplitOutput, tasks: Sequence[Task]) -> Iterator[tuple[str, str]]:
    """Yield name and message of what a user should know about validation predictions."""
    for task in tasks:
        labels, logits = output.labels[task.name], output.logits[task.name]
        missing = labels == -1 if task.kind == "classification" else np.isnan(labels)
        if missing.all():
            yield f"no_labels/{task.name}", f"'{task.name}' has no label in the validation split"
        elif task.kind == "classification" and len(np.unique(logits.argmax(1))) == 1:
            name = task.classes[int(logits[0].argmax())]
            message = f"'{task.name}': every validation sample is predicted '{name}'"
            yield f"constant/{task.name}", message
        elif task.kind == "regression" and float(logits.std()) < 1e-3:
            yield f"constant/{task.name}", f"'{task.name}': predictions hardly differ (std < 1e-3)"


def numbers(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return scores as JSON: undefined values are null."""
    return {
        task: {name: value if math.isfinite(value) else None for name, value in found.items()}
        for task, found in scores.items()
    }
