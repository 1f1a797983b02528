"""Accuracy, precision, recall and F1 from confusion matrices.

``N`` samples, ``K`` classes, ``R`` weightings of the samples. A weighting is how often each sample
counts: all ones for the ordinary value, the draws of a resample for a bootstrap. Every score is a
function of the confusion matrix, so a thousand resamples cost one matrix product.

Definitions are those of scikit-learn's ``precision_recall_fscore_support`` with the truth first and
``zero_division=0``: 0/0 counts as 0. All scores lie in [0, 1]; without samples they are NaN.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Average: TypeAlias = Literal["micro", "macro", "weighted"]
Labels: TypeAlias = Literal["fixed", "present"]

SCORES = (
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
)


class PerClass(NamedTuple):
    """Scores of each class, (…, K) each.

    Attributes:
        precision: Hits among what was predicted as the class.
        recall: Hits among what is of the class.
        f1: 2·hits / (support + predicted).
        support: Samples of the class.
        predicted: Samples predicted as the class.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Floats
    predicted: Floats


def ratio(numerator: Any, denominator: Any, otherwise: float = 0.0) -> Floats:
    """Return numerator / denominator, and ``otherwise`` where the denominator is 0."""
    above, below = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(above, below, out=np.full(above.shape, otherwise), where=below != 0)


def confusion(truth: Codes, prediction: Codes, classes: int, weights: Floats) -> Floats:
    """Return how often each class was predicted as each class.

    Args:
        truth: (N,) codes in 0 … K-1.
        prediction: (N,) codes in 0 … K-1.
        classes: K.
        weights: (R, N) how often each sample counts.

    Returns:
        (R, K, K); rows are truth, columns predictions.
    """
    cells, where = np.unique(truth * classes + prediction, return_inverse=True)
    member = (where[:, None] == np.arange(len(cells))).astype(np.float64)  # (N, occupied cells)
    matrix = np.zeros((len(weights), classes * classes))
    matrix[:, cells] = weights @ member
    return matrix.reshape(-1, classes, classes)


def ones(num_samples: int) -> Floats:
    """Return the weighting in which each sample counts once, (1, N)."""
    return np.ones((1, num_samples))


def per_class(matrix: Floats) -> PerClass:
    """Return the scores of each class of a (…, K, K) confusion matrix."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    support, predicted = matrix.sum(-1), matrix.sum(-2)
    return PerClass(
        precision=ratio(hits, predicted),
        recall=ratio(hits, support),
        f1=ratio(2 * hits, support + predicted),
        support=support,
        predicted=predicted,
    )


def accuracy(matrix: Floats) -> Floats:
    """Return the share of hits; equal to micro precision, recall and F1 of a single-label task."""
    return ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum((-1, -2)), np.nan)


def average(values: Floats, found: PerClass, average: Average, labels: Labels = "fixed") -> Floats:
    """Return one number per matrix from a score per class.

    Args:
        values: (…, K) precision, recall or F1.
        found: The scores they come from.
        average: ``macro`` plain mean over classes, ``weighted`` by the support of each class.
        labels: Whether the macro mean runs over all K classes (``fixed``) or over those that are
            present in truth or prediction. The weighted mean is the same for both.
    """
    if average == "weighted":
        return ratio((values * found.support).sum(-1), found.support.sum(-1), np.nan)
    counted = found.support + found.predicted > 0
    if labels == "fixed":
        counted = np.broadcast_to(np.any(counted, -1, keepdims=True), values.shape)
    return ratio((values * counted).sum(-1), counted.sum(-1), np.nan)


def scores(matrix: Floats, labels: Labels = "fixed") -> dict[str, Floats]:
    """Return every name of `SCORES` for a (…, K, K) confusion matrix."""
    found = per_class(matrix)
    named = {"precision": found.precision, "recall": found.recall, "f1": found.f1}
    result = {"accuracy": accuracy(matrix)}
    kinds: tuple[Average, ...] = ("macro", "weighted")
    for kind in kinds:
        for name, values in named.items():
            result[f"{kind}_{name}"] = average(values, found, kind, labels)
    return result


def precision_recall_f1(
    truth: Codes, prediction: Codes, classes: int, kind: Average, labels: Labels = "fixed"
) -> tuple[float, float, float]:
    """Return precision, recall and F1 of one prediction.

    Args:
        truth: (N,) codes.
        prediction: (N,) codes.
        classes: K.
        kind: How classes are averaged; ``micro`` counts every decision alike.
        labels: See `average`.
    """
    matrix = confusion(truth, prediction, classes, ones(len(truth)))
    if kind == "micro":
        value = float(accuracy(matrix)[0])
        return value, value, value
    found = per_class(matrix)
    return (
        float(average(found.precision, found, kind, labels)[0]),
        float(average(found.recall, found, kind, labels)[0]),
        float(average(found.f1, found, kind, labels)[0]),
    )
