"""A view: one discrete reading of a task, such as "negative or not" of a sentiment number.

Accuracies and F1 of every family are scores of views, so baselines, bootstrap intervals, confusion
matrices and the check for constant classifiers are written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .classification import SCORES, Codes, Floats, Labels, confusion, ones, scores


@dataclass(frozen=True, slots=True)
class View:
    """Truth and prediction of one task as classes.

    Attributes:
        name: Empty for the task itself, else for example ``non0`` or a class of a multilabel task.
        classes: Names of the K classes.
        truth: (N,) codes.
        prediction: (N,) codes.
        keep: (N,) bool: which samples belong to the view.
        report: Name of a reported metric to the score it is (`classification.SCORES`).
        count: Name under which the number of kept samples is reported; empty for not at all.
        labels: Which classes a macro average runs over; see `classification.average`.
        swapped: Whether truth and prediction change places in the scores, so that a weighted F1 is
            weighted by predictions. Only for replicating published numbers.
    """

    name: str
    classes: tuple[str, ...]
    truth: Codes
    prediction: Codes
    keep: NDArray[np.bool_]
    report: Mapping[str, str]
    count: str = ""
    labels: Labels = "fixed"
    swapped: bool = False

    def matrix(self, weights: Floats | None = None) -> Floats:
        """Return the confusion matrices (R, K, K) of the kept samples."""
        wanted = ones(len(self.truth)) if weights is None else weights
        keep = self.keep
        return confusion(
            self.truth[keep], self.prediction[keep], len(self.classes), wanted[:, keep]
        )

    def constant(self, code: int) -> View:
        """Return the view of a classifier that always says ``code``."""
        return replace(self, prediction=np.full_like(self.truth, code))

    def majority(self) -> int | None:
        """Return the most frequent class of the truth, the first at a tie; None without any."""
        counts = np.bincount(self.truth[self.keep], minlength=len(self.classes))
        return int(counts.argmax()) if counts.sum() else None


def whole(
    classes: tuple[str, ...], truth: Codes, prediction: Codes, labels: Labels = "fixed"
) -> View:
    """Return the view of a classification task: all samples, all scores."""
    keep = np.ones(len(truth), bool)
    return View("", classes, truth, prediction, keep, {name: name for name in SCORES}, "", labels)


def score_view(view: View, weights: Floats) -> dict[str, Floats]:
    """Return the reported metrics of a view, (R,) each; NaN where no sample counts."""
    matrix = view.matrix(weights)
    found = scores(matrix.swapaxes(-1, -2) if view.swapped else matrix, view.labels)
    result = {name: found[score] for name, score in view.report.items()}
    if view.count:
        result[view.count] = matrix.sum((-1, -2))
    return result


def score_views(views: Iterable[View], weights: Floats) -> dict[str, Floats]:
    """Return the reported metrics of all views."""
    result: dict[str, Floats] = {}
    for view in views:
        result.update(score_view(view, weights))
    return result
