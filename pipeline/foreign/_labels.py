"""Labels of foreign files, and rows made from keys, splits and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DatasetError
from ..manifest import Task
from ..records import LabelValue

EMOTIONS = ("neutral", "happy", "sad", "angry")
OUT_OF_RANGE = "label_out_of_range"
# Beyond this share it is no slip in the data: the labels mean something else.
_MOST_OUT_OF_RANGE = 0.05
_SLACK = 1e-5


def sentiment_task(low: float, high: float) -> Task:
    """Return the regression of sentiment between two ends."""
    return Task(kind="regression", range=(low, high), metric="mae")


def sentiment_range(values: Sequence[Any], *, chinese: bool = False) -> tuple[float, float]:
    """Return [-1, 1] where every label lies in there (as in SIMS), else [-3, 3]."""
    known = [abs(value) for value in map(number, values) if value is not None]
    return (-1.0, 1.0) if chinese or (known and max(known) <= 1 + _SLACK) else (-3.0, 3.0)


def number(value: Any) -> float | None:
    """Return a label as a number; None where it is NaN, infinite or no number."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def in_range(
    name: str, values: Sequence[Any], low: float, high: float
) -> tuple[list[LabelValue], list[bool]]:
    """Return labels with None for the absent ones and those out of range, and which those are.

    One that is beyond an end by less than a rounding error is that end.

    Raises:
        DatasetError: More than one in twenty is out of range.
    """
    found = [number(value) for value in values]
    outside = [value is not None and not low - _SLACK <= value <= high + _SLACK for value in found]
    if sum(outside) > _MOST_OUT_OF_RANGE * max(1, len(found)):
        first = next(value for value, wrong in zip(found, outside, strict=True) if wrong)
        raise DatasetError(
            f"'{name}': {sum(outside)} of {len(found)} labels lie outside [{low:g}, {high:g}], "
            f"first {first:g}",
            "the labels do not mean what this format says",
        )
    kept: list[LabelValue] = [
        None if wrong or value is None else min(max(value, low), high)
        for value, wrong in zip(found, outside, strict=True)
    ]
    return kept, outside


def is_one_hot_emotions(labels: np.ndarray) -> bool:
    """Return whether labels are IEMOCAP's: (N, 4, 2), no and yes per emotion."""
    return labels.ndim == 3 and labels.shape[1:] == (len(EMOTIONS), 2)


def binary_task(name: str) -> Task:
    """Return the task whether something is there: classes ``not_<name>`` and ``<name>``."""
    return Task(classes=(f"not_{name}", name), metric="weighted_f1")
