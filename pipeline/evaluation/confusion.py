"""Confusion matrices and the scores of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..training.metrics.classification import per_class
from ..training.metrics.families import TaskLike, views_of
from ..training.metrics.results import Array, labelled


@dataclass(frozen=True, slots=True)
class Confusion:
    """One confusion matrix.

    Attributes:
        task: Name of the task.
        view: Empty for the task itself; else a class of a multilabel task, or a binning of a
            regression such as ``non0``.
        classes: Names of the K classes.
        counts: (K, K) int64; rows are truth, columns predictions.
    """

    task: str
    view: str
    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    def per_class(self) -> list[dict[str, Any]]:
        """Return name, precision, recall, F1, support and predicted count of each class."""
        found = per_class(self.counts.astype(np.float64))
        return [
            {
                "class": name,
                "precision": float(found.precision[index]),
                "recall": float(found.recall[index]),
                "f1": float(found.f1[index]),
                "support": int(found.support[index]),
                "predicted": int(found.predicted[index]),
            }
            for index, name in enumerate(self.classes)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return matrix and scores as JSON values."""
        return {
            "task": self.task,
            "view": self.view,
            "classes": list(self.classes),
            "counts": self.counts.tolist(),
            "per_class": self.per_class(),
        }

    def markdown(self) -> str:
        """Return two tables: the scores of each class, and the counts."""
        head = "| class | precision | recall | F1 | support | predicted |"
        lines = [head, "|---|---:|---:|---:|---:|---:|"]
        for row in self.per_class():
            shares = " | ".join(f"{100 * row[name]:.2f}" for name in ("precision", "recall", "f1"))
            lines.append(f"| {row['class']} | {shares} | {row['support']} | {row['predicted']} |")
        lines += ["", "| truth ↓, predicted → | " + " | ".join(self.classes) + " |"]
        lines.append("|---|" + "---:|" * len(self.classes))
        for name, counts in zip(self.classes, self.counts.tolist(), strict=True):
            lines.append(f"| {name} | " + " | ".join(map(str, counts)) + " |")
        return "\n".join(lines)


def confusions(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    predictions: Mapping[str, Array],
    family: str = "auto",
) -> list[Confusion]:
    """Return the confusion matrices of all tasks; samples without a label are left out.

    Args:
        tasks: What was predicted.
        labels: See `metrics.compute`.
        predictions: Decisions by task.
        family: See `metrics.FAMILIES`; a plain regression has no matrix.
    """
    result = []
    for task in tasks:
        there = labelled(task, labels[task.name])
        truth, guess = labels[task.name][there], predictions[task.name][there]
        for view in views_of(task, truth, guess, family):
            counts = view.matrix()[0].astype(np.int64)
            result.append(Confusion(task.name, view.name, view.classes, counts))
    return result
