"""Numbers of the validation split, and the one among them that selects."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affectflow.models.batch import Task

from ..errors import InvalidInput
from ..evaluation.baselines import constant_values
from ..evaluation.flags import flags
from . import metrics
from .diagnostics import diagnose, prediction_shares
from .metrics.results import labelled
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
        """Return the monitored value; NaN where it is undefined, as a constant's correlation is.

        Raises:
            ConfigError: The name is not among the scores, or names the test split.
        """
        return selection_value(scores, self.name)[0]

    def better(self, value: float, loss: float, best: float | None, best_loss: float) -> bool:
        """Return whether a value beats the best so far; of equal ones the lower loss is better.

        A model that still says one class everywhere has the same macro-F1 at every epoch, though it
        learns. An undefined value is never better.
        """
        if math.isnan(value):
            return False
        if best is None or value == best:
            return best is None or loss < best_loss
        return value > best if self.maximise else value < best

    def undefined(self) -> InvalidInput:
        """Return the error for a training in which it never had a value."""
        return InvalidInput(
            f"{self.name} is undefined on the validation split in every epoch, so none is the best",
            "choose another --set trainer.monitor=…; a task may have no labels there, or "
            "predictions that are all the same",
        )


def check_monitor(
    monitor: Monitor, tasks: Sequence[Task], labels: Mapping[str, np.ndarray], family: str
) -> None:
    """Refuse a monitor that the scores of a split will not have, before anything is trained.

    Args:
        monitor: What is to be selected by.
        tasks: What is predicted.
        labels: Of the validation split.
        family: See `metrics.FAMILIES`.

    Raises:
        ConfigError: There is no such family or number, or it is of the test split.
    """
    zeros = {task.name: np.zeros((len(labels[task.name]), task.num_outputs)) for task in tasks}
    scores = metrics.compute(tasks, labels, zeros, family)
    for found in scores.values():
        found["loss"] = 0.0
    selection_value(scores, monitor.name)


def weak_spots(means: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yield name and message of what the means of an epoch say against the model."""
    for message in diagnose(means):
        # The same finding with another number, or another aside, is the same warning; numbers in
        # the name of a task or a part are not.
        name = re.sub(r"(?<![\w.])[\d.]+(e[-+]\d+)?%?(?![\w])", "#", message)
        yield re.sub(r" \([^()]*\)", "", name), message


def decisions(
    tasks: Sequence[Task],
    output: SplitOutput,
    scores: Scores,
    train_labels: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Return what `diagnose` wants to know of the decisions of every classification task.

    ``majority`` is the accuracy in the first row of every table: that of always saying the class
    that is most frequent in the labels of train.
    """
    guesses = metrics.predictions_of(tasks, output.logits)
    chosen = [task for task in tasks if task.kind == "classification"]
    found = prediction_shares(
        {task.name: np.bincount(guesses[task.name]).tolist() for task in chosen}
    )
    for task in chosen:
        there = labelled(task, output.labels[task.name])
        if there.any() and labelled(task, train_labels[task.name]).any():
            constant = constant_values([task], train_labels)[task.name]
            hits = output.labels[task.name][there] == constant
            found[f"predictions/{task.name}/majority"] = float(hits.mean())
            found[f"predictions/{task.name}/accuracy"] = scores[task.name]["accuracy"]
    return found


def find_flags(tasks: Sequence[Task], output: SplitOutput, family: str) -> list[dict[str, str]]:
    """Return as JSON what is wrong with the predictions, see `evaluation.flags`."""
    guesses = metrics.predictions_of(tasks, output.logits)
    return [flag._asdict() for flag in flags(tasks, output.labels, guesses, family)]


def numbers(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return scores as JSON: undefined values are null."""
    return {
        task: {name: finite_or_none(value) for name, value in found.items()}
        for task, found in scores.items()
    }


def finite_or_none(value: float) -> float | None:
    """Return the value, or None (JSON has no infinity) where it is not finite."""
    return value if math.isfinite(value) else None
