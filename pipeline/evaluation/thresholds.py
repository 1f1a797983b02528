"""Thresholds of binary decisions, tuned on the validation split and on nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..training.metrics.classification import Floats, scores
from ..training.metrics.families import TaskLike
from ..training.metrics.results import Array, check_logits, labelled, predictions_of

Criterion: TypeAlias = Literal["macro_f1", "weighted_f1", "accuracy", "class_shares"]
SPLIT = "val"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Decision thresholds.

    Attributes:
        values: By task; for a task of two classes one number, compared with logit 1 minus logit 0;
            for a multilabel task one per class, compared with its logit. The decision is "above".
        criterion: What was maximised.
        split: Where; always ``val``.
        reached: By task, the criterion's value there, beside its value at 0.
    """

    values: Mapping[str, tuple[float, ...]]
    criterion: Criterion
    split: str
    reached: Mapping[str, tuple[tuple[float, float], ...]]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "split": self.split,
            "criterion": self.criterion,
            "values": {name: list(values) for name, values in self.values.items()},
            "reached": {
                name: [{"tuned": tuned, "at_zero": zero} for tuned, zero in pairs]
                for name, pairs in self.reached.items()
            },
        }


def tune_thresholds(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    logits: Mapping[str, Array],
    split: str,
    criterion: Criterion = "macro_f1",
) -> Thresholds:
    """Return the thresholds that maximise the criterion on validation data.

    ``class_shares`` is 1 − |share decided "above" − share so labelled|: decisions then are as often
    as labels, which a few hundred samples say better than where an F1 has its maximum.

    Candidates are 0 and the middles between neighbouring scores; at a tie the one nearest 0 wins.
    Tasks of more than two classes and regressions have none. A task without labels keeps 0.

    Args:
        tasks: What was predicted.
        labels: See `metrics.compute`.
        logits: See `metrics.compute`.
        split: Name of the split the labels are of.
        criterion: What to maximise, over the two classes of each decision.

    Raises:
        InvalidInput: The split is not ``val``, or logits are not finite.
    """
    if split != SPLIT:
        raise InvalidInput(
            f"thresholds may not be tuned on '{split}'",
            f"pass labels and logits of the split '{SPLIT}'; test only ever sees the result",
        )
    check_logits(tasks, logits)
    values: dict[str, tuple[float, ...]] = {}
    reached: dict[str, tuple[tuple[float, float], ...]] = {}
    for task in tasks:
        margins = _margins(task, logits[task.name])
        if margins is None:
            continue
        there = labelled(task, labels[task.name])
        truth = labels[task.name][there].astype(np.int64).reshape(-1, margins.shape[1])
        found = [
            _best(margin, codes, criterion)
            for margin, codes in zip(margins[there].T, truth.T, strict=True)
        ]
        values[task.name] = tuple(threshold for threshold, _, _ in found)
        reached[task.name] = tuple((tuned, zero) for _, tuned, zero in found)
    return Thresholds(values, criterion, split, reached)


def apply_thresholds(
    tasks: Sequence[TaskLike], logits: Mapping[str, Array], thresholds: Thresholds
) -> dict[str, Array]:
    """Return decisions by task; tasks without a threshold decide as `metrics.predictions_of`."""
    decided = predictions_of(tasks, logits)
    for task in tasks:
        margins = _margins(task, logits[task.name])
        if margins is None or task.name not in thresholds.values:
            continue
        above = (margins > np.asarray(thresholds.values[task.name])).astype(np.int64)
        decided[task.name] = above if task.kind == "multilabel" else above[:, 0]
    return decided


def _margins(task: TaskLike, logits: Array) -> Floats | None:
    """Return (N, decisions) scores whose sign decides, or None."""
    wide = logits.astype(np.float64)
    if task.kind == "multilabel":
        return wide
    if task.kind == "classification" and len(task.classes) == 2:
        return wide[:, 1:] - wide[:, :1]
    return None


def _best(
    margin: Floats, truth: NDArray[np.int64], criterion: Criterion
) -> tuple[float, float, float]:
    if not len(margin):
        return 0.0, float("nan"), float("nan")
    levels = np.unique(margin)
    middles = levels[:-1] + (levels[1:] - levels[:-1]) / 2
    ends = np.array([levels[0] - 1.0, levels[-1] + 1.0])
    candidates = np.concatenate([[0.0], middles, ends])
    found = _reached(_matrices(margin, truth, candidates), criterion)
    best = np.flatnonzero(found >= found.max() - 1e-12)
    chosen = best[np.abs(candidates[best]).argmin()]
    return float(candidates[chosen]), float(found[chosen]), float(found[0])


def _reached(matrices: Floats, criterion: Criterion) -> Floats:
    if criterion != "class_shares":
        return scores(matrices)[criterion]
    above = matrices[:, :, 1].sum(1) - matrices[:, 1, :].sum(1)
    shares: Floats = 1 - np.abs(above) / matrices.sum((1, 2))
    return shares


def _matrices(margin: Floats, truth: NDArray[np.int64], candidates: Floats) -> Floats:
    """Return the confusion matrix at each candidate, (T, 2, 2)."""
    result = np.zeros((len(candidates), 2, 2))
    for code in (0, 1):
        ordered = np.sort(margin[truth == code])
        below = np.searchsorted(ordered, candidates, side="right")
        result[:, code, 0], result[:, code, 1] = below, len(ordered) - below
    return result
