"""Tasks of which any of C classes may hold, and the four emotions of IEMOCAP.

Truth and prediction are (N, C) of 0 and 1.

Family ``indicator`` (scikit-learn's averages over an indicator matrix; all in [0, 1]):

- ``accuracy``: mean over classes of the share of right decisions; ``exact_match``: share of
  samples whose every decision is right;
- ``macro_f1``: mean over classes of the F1 of "it holds"; ``weighted_f1``: the same, weighted by
  how often each class holds; ``micro_f1``: all decisions in one pot.

Family ``iemocap`` (``yaohungt/Multimodal-Transformer@a670936:src/eval_metrics.py``): each class is
a binary task of its own; accuracy and weighted F1 per emotion, and macro-F1 beyond the original;
``accuracy``, ``weighted_f1`` and ``macro_f1`` are means over the emotions. The constant classifier
is strong there: 85.6 % accuracy for "not happy".

Both report ``<class>/accuracy``, ``<class>/weighted_f1`` and ``<class>/macro_f1``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .classification import Floats, ratio
from .views import View, score_views

IEMOCAP_EMOTIONS = ("neutral", "happy", "sad", "angry")
"""Order in the files of the original MulT."""

_PER_CLASS = ("accuracy", "weighted_f1", "macro_f1")


def class_views(
    classes: tuple[str, ...], truth: NDArray[np.int64], prediction: NDArray[np.int64]
) -> tuple[View, ...]:
    """Return one binary view per class."""
    keep = np.ones(len(truth), bool)
    return tuple(
        View(
            name,
            (f"not {name}", name),
            truth[:, index],
            prediction[:, index],
            keep,
            {f"{name}/{score}": score for score in _PER_CLASS},
        )
        for index, name in enumerate(classes)
    )


def iemocap(views: tuple[View, ...], weights: Floats) -> dict[str, Floats]:
    """Return the scores per emotion and their means over the emotions, (R,) each."""
    found = score_views(views, weights)
    means = {
        score: np.mean([found[f"{view.name}/{score}"] for view in views], axis=0)
        for score in _PER_CLASS
    }
    return {**means, **found}


def indicator(views: tuple[View, ...], weights: Floats) -> dict[str, Floats]:
    """Return the averages over an indicator matrix and the scores per class, (R,) each."""
    found = score_views(views, weights)
    matrices = np.stack([view.matrix(weights) for view in views])  # (C, R, 2, 2)
    hits = matrices[..., 1, 1]
    support, predicted = matrices[..., 1, :].sum(-1), matrices[..., :, 1].sum(-1)
    f1 = ratio(2 * hits, support + predicted)
    right = np.all([view.truth == view.prediction for view in views], axis=0)
    total = weights.sum(1)
    means: dict[str, Floats] = {
        "accuracy": np.mean([found[f"{view.name}/accuracy"] for view in views], axis=0),
        "exact_match": ratio(weights @ right.astype(np.float64), total, np.nan),
        "macro_f1": np.where(total > 0, f1.mean(0), np.nan),
        "micro_f1": np.where(
            total > 0, ratio(2 * hits.sum(0), (support + predicted).sum(0)), np.nan
        ),
        "weighted_f1": np.where(total > 0, ratio((f1 * support).sum(0), support.sum(0)), np.nan),
    }
    return {**means, **found}


def decode_pairs(logits: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the decisions of heads with two outputs per class, as the original MulT has them.

    Args:
        logits: (N, C, 2), or (N, 2·C) in the same order.

    Returns:
        (N, C) of 0 and 1; 0 at a tie.
    """
    return logits.reshape(len(logits), -1, 2).argmax(-1)
