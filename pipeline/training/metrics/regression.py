"""Sentiment strength as a number: MAE, correlation, and accuracies of binned values.

``y`` truth, ``p`` prediction, both taken in **float32**, the type labels are stored in: a float32
0.1 widened to float64 exceeds 0.1 and would change its bin at a right-closed edge.

============  ==================================================================================
``mae``       mean of abs(p - y), in the unit of the labels, at least 0
``rmse``      square root of the mean of (p - y)², for tasks of neither family
``corr``      Pearson's r in [-1, 1]; NaN, never 0, where p or y is constant or N < 2, and then
              ``corr_undefined`` is 1
``acc7/5/3``  MOSI: equality of round(clip(·, ±3/±2/±1)), halves rounded to even
``has0_*``    MOSI: p ≥ 0 against y ≥ 0, all samples (-0.0 counts as ≥ 0)
``non0_*``    MOSI: p > 0 against y > 0, samples with y ≠ 0; ``non0_n`` of them
``acc2/3/5``  SIMS: p and y clipped to ±1 first, right-closed bins with edges 0; ∓0.1; ∓0.7, ∓0.1,
              so that 0 is negative; MAE and correlation of the clipped values
``f1``        weighted F1, truth first, of the binary view
============  ==================================================================================

Source: ``thuiar/MMSA@a94e65d:src/MMSA/utils/metricsTop.py``; ``acc3`` of MOSI is computed there but
not returned. Three-way logits with its "Non0" columns are not provided: positives never match.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .classification import Codes, Floats, ratio
from .views import View

Values = NDArray[np.float32]
_SIMS_EDGES = {"acc2": (0.0,), "acc3": (-0.1, 0.1), "acc5": (-0.7, -0.1, 0.1, 0.7)}
_SIMS_CLASSES = {
    "acc2": ("negative", "positive"),
    "acc3": ("negative", "neutral", "positive"),
    "acc5": ("negative", "weakly negative", "neutral", "weakly positive", "positive"),
}


def mosi_views(truth: Values, prediction: Values, *, swapped: bool = False) -> tuple[View, ...]:
    """Return Acc-7, Acc-5, Acc-3, Has0 and Non0 of labels in [-3, 3].

    Args:
        truth: (N,) float32.
        prediction: (N,) float32, unclipped.
        swapped: Weight F1 by predictions, as the original MulT does; see `replication`.
    """
    views = [
        _view(
            f"acc{2 * limit + 1}",
            tuple(f"{value:+d}" if value else "0" for value in range(-limit, limit + 1)),
            _rounded(truth, limit),
            _rounded(prediction, limit),
        )
        for limit in (3, 2, 1)
    ]
    has0 = ("negative", "not negative")
    report = {"has0_acc2": "accuracy", "has0_f1": "weighted_f1"}
    views.append(
        _view("has0", has0, _codes(truth >= 0), _codes(prediction >= 0), report, swapped=swapped)
    )
    non0 = ("negative", "positive")
    report = {"non0_acc2": "accuracy", "non0_f1": "weighted_f1"}
    positive, guessed = _codes(truth > 0), _codes(prediction > 0)
    views.append(_view("non0", non0, positive, guessed, report, truth != 0, "non0_n", swapped))
    return tuple(views)


def sims_views(truth: Values, prediction: Values) -> tuple[View, ...]:
    """Return Acc-2 with F1, Acc-3 and Acc-5 of labels in [-1, 1], (N,) float32 each."""
    views = []
    for name, edges in _SIMS_EDGES.items():
        report = {name: "accuracy"} | ({"f1": "weighted_f1"} if name == "acc2" else {})
        found, guessed = _binned(truth, edges), _binned(prediction, edges)
        views.append(_view(name, _SIMS_CLASSES[name], found, guessed, report))
    return tuple(views)


def distances(truth: Values, prediction: Values, weights: Floats) -> dict[str, Floats]:
    """Return MAE, RMSE and correlation.

    Args:
        truth: (N,) float32.
        prediction: (N,) float32.
        weights: (R, N) how often each sample counts.

    Returns:
        ``mae``, ``rmse``, ``corr`` and ``corr_undefined`` (0 or 1), (R,) each.
    """
    y, p = truth.astype(np.float64), prediction.astype(np.float64)
    total = weights.sum(1)
    gap = np.abs((prediction - truth).astype(np.float64))
    r = _correlation(y, p, weights)
    return {
        "mae": ratio(weights @ gap, total, np.nan),
        "rmse": np.sqrt(ratio(weights @ gap**2, total, np.nan)),
        "corr": r,
        "corr_undefined": np.isnan(r).astype(np.float64),
    }


def clipped(values: Values, limit: float) -> Values:
    """Return values clipped to ±limit."""
    return np.clip(values, np.float32(-limit), np.float32(limit))


def _correlation(y: Floats, p: Floats, weights: Floats) -> Floats:
    total = weights.sum(1)
    # Sums of equal float32 values are exact in float64, so a constant has variance exactly 0.
    y_gap = y - ratio(weights @ y, total)[:, None]  # (R, N)
    p_gap = p - ratio(weights @ p, total)[:, None]
    shared = (weights * y_gap * p_gap).sum(1)
    # Two roots instead of the root of a product, which could overflow or vanish.
    spread = np.sqrt((weights * y_gap**2).sum(1)) * np.sqrt((weights * p_gap**2).sum(1))
    return np.clip(ratio(shared, spread, np.nan), -1.0, 1.0)


def _rounded(values: Values, limit: int) -> Codes:
    return np.round(clipped(values, limit)).astype(np.int64) + limit


def _binned(values: Values, edges: tuple[float, ...]) -> Codes:
    # A value equal to an edge belongs below it; the comparison is in float32.
    found = np.searchsorted(np.asarray(edges, np.float32), clipped(values, 1.0), side="left")
    return found.astype(np.int64)


def _codes(condition: NDArray[np.bool_]) -> Codes:
    return condition.astype(np.int64)


def _view(
    name: str,
    classes: tuple[str, ...],
    truth: Codes,
    prediction: Codes,
    report: Mapping[str, str] | None = None,
    keep: NDArray[np.bool_] | None = None,
    count: str = "",
    swapped: bool = False,
) -> View:
    return View(
        name,
        classes,
        truth,
        prediction,
        np.ones(len(truth), bool) if keep is None else keep,
        {name: "accuracy"} if report is None else report,
        count,
        swapped=swapped,
    )
