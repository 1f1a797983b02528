"""Numbers as other programs print them, to compare with published ones and for nothing else.

- `mult_sentiment`: the original MulT hands prediction and truth to the F1 function in the wrong
  order, so that classes are weighted by how often they are *predicted*
  (``yaohungt/Multimodal-Transformer@a670936:src/eval_metrics.py``; MISA does the same).
- `mintrec`: macro averages over the classes present, not over all twenty
  (``thuiar/MIntRec@8d30e9b:utils/metrics.py``).
- `mustard`: weighted precision, recall and F1, each the mean over the five folds given with the
  data (``soujanyaporia/MUStARD@b34b513``). There is no validation part: take 10 % of each fold's
  training rows by speaker.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .classification import Codes, confusion, ones, ratio, scores
from .regression import Values, distances, mosi_views
from .views import score_view


def mult_sentiment(
    truth: Values, prediction: Values, *, exclude_zero: bool = True
) -> dict[str, float]:
    """Return what MulT prints for MOSI and MOSEI.

    Args:
        truth: (N,) float32 in [-3, 3].
        prediction: (N,) float32.
        exclude_zero: Whether samples with y = 0 are left out of Acc-2 and F1. Without it zero
            counts as negative, unlike in Has0.

    Returns:
        ``mae``, ``corr``, ``acc7``, ``acc5``, ``acc2``, ``f1`` (weighted by predictions).
    """
    weights = ones(len(truth))
    views = {view.name: view for view in mosi_views(truth, prediction, swapped=True)}
    if exclude_zero:
        binary = views["non0"].matrix(weights)
    else:
        codes = (truth > 0).astype(np.int64), (prediction > 0).astype(np.int64)
        binary = confusion(*codes, 2, weights)
    found = distances(truth, prediction, weights)
    swapped = scores(binary.swapaxes(-1, -2))
    result = {"mae": found["mae"], "corr": found["corr"], "acc2": swapped["accuracy"]}
    result |= {"f1": swapped["weighted_f1"]}
    result |= {name: score_view(views[name], weights)[name] for name in ("acc7", "acc5")}
    return {name: float(value[0]) for name, value in result.items()}


def mult_weighted_accuracy(truth: Values, prediction: Values) -> float:
    """Return the mean recall of positive (> 0) and not positive; NaN where one never occurs."""
    codes = (truth > 0).astype(np.int64), (prediction > 0).astype(np.int64)
    matrix = confusion(*codes, 2, ones(len(truth)))[0]
    recall = ratio(np.diagonal(matrix), matrix.sum(1), np.nan)
    return float(recall.mean())


def mintrec(truth: Codes, prediction: Codes, classes: int = 20) -> dict[str, float]:
    """Return accuracy, and macro and weighted precision, recall and F1 over the classes present.

    The weighted ones are the columns "-W" of MIntRec2.0; they do not depend on that choice.
    """
    matrix = confusion(truth, prediction, classes, ones(len(truth)))
    return {name: float(value[0]) for name, value in scores(matrix, "present").items()}


def mustard(folds: Sequence[tuple[Codes, Codes]]) -> dict[str, float]:
    """Return weighted precision, recall and F1, and accuracy, as means over folds.

    Args:
        folds: Truth and prediction of each fold's test part, codes 0 and 1.
    """
    names = ("weighted_precision", "weighted_recall", "weighted_f1", "accuracy")
    each = [
        scores(confusion(truth, prediction, 2, ones(len(truth))), "present")
        for truth, prediction in folds
    ]
    return {name: float(np.mean([found[name] for found in each])) for name in names}
