"""Which definitions belong to a task: its family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, unknown_name
from . import multilabel, regression
from .classification import Floats
from .views import View, score_views, whole

MEMOTION_VERSIONS = {"memotion": 1, "memotion2": 2, "memotion3": 3}
_REGRESSIONS = ("mosi", "sims", "plain")
_RANGES = {(-3.0, 3.0): "mosi", (-1.0, 1.0): "sims"}
FAMILIES = ("auto", *_REGRESSIONS, "iemocap", *MEMOTION_VERSIONS)
"""``auto`` decides by the task: a regression of range ±3 is ``mosi``, of ±1 ``sims``, else
``plain``; a multilabel task gets the averages over its indicator matrix. ``memotion``,
``memotion2`` and ``memotion3`` add the scores of the competition's tasks A, B and C."""


class TaskLike(Protocol):
    """What the metrics need of a task; `models.batch.Task` has it."""

    @property
    def name(self) -> str:
        """Name of the task."""

    @property
    def kind(self) -> str:
        """``classification``, ``multilabel`` or ``regression``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their codes."""

    @property
    def low(self) -> float | None:
        """Smallest value of a regression label."""

    @property
    def high(self) -> float | None:
        """Largest value of a regression label."""

    @property
    def num_outputs(self) -> int:
        """Width of the head."""


def check_family(family: str) -> None:
    """Refuse an unknown name.

    Raises:
        ConfigError: With the nearest names.
    """
    if family not in FAMILIES:
        raise ConfigError(unknown_name("metric family", family, FAMILIES))


def family_of(task: TaskLike, family: str) -> str:
    """Return the definitions of one task.

    Returns:
        ``classification``, ``indicator``, ``iemocap``, ``mosi``, ``sims`` or ``plain``.
    """
    if task.kind == "classification":
        return "classification"
    if task.kind == "multilabel":
        return "iemocap" if family == "iemocap" else "indicator"
    if family in _REGRESSIONS:
        return family
    if task.low is None or task.high is None:
        return "plain"
    return _RANGES.get((task.low, task.high), "plain")


def views_of(
    task: TaskLike, truth: NDArray[Any], prediction: NDArray[Any], family: str
) -> tuple[View, ...]:
    """Return the discrete readings of a task; none for a plain regression.

    Args:
        task: The task.
        truth: (N,) or (N, C), none missing.
        prediction: Of the same shape.
        family: See `FAMILIES`.
    """
    kind = family_of(task, family)
    if kind == "classification":
        return (whole(task.classes, truth.astype(np.int64), prediction.astype(np.int64)),)
    if kind in ("indicator", "iemocap"):
        codes = truth.astype(np.int64), prediction.astype(np.int64)
        return multilabel.class_views(task.classes, *codes)
    y, p = truth.astype(np.float32), prediction.astype(np.float32)
    if kind == "mosi":
        return regression.mosi_views(y, p)
    return regression.sims_views(y, p) if kind == "sims" else ()


def score_task(
    task: TaskLike,
    truth: NDArray[Any],
    prediction: NDArray[Any],
    weights: Floats,
    family: str = "auto",
    views: Sequence[View] | None = None,
) -> dict[str, Floats]:
    """Return all metrics of one task.

    Args:
        task: The task.
        truth: (N,) or (N, C), none missing.
        prediction: Of the same shape.
        weights: (R, N) how often each sample counts.
        family: See `FAMILIES`.
        views: Instead of those of `views_of`, for a classifier that answers each view on its own.

    Returns:
        Metric to (R,) values; ``n`` is the number of samples.
    """
    kind = family_of(task, family)
    found = tuple(views_of(task, truth, prediction, family) if views is None else views)
    result: dict[str, Floats] = {"n": weights.sum(1)}
    if kind == "indicator":
        return result | multilabel.indicator(found, weights)
    if kind == "iemocap":
        return result | multilabel.iemocap(found, weights)
    if kind != "classification":
        result |= _distances(kind, truth, prediction, weights)
    return result | score_views(found, weights)


def _distances(
    kind: str, truth: NDArray[Any], prediction: NDArray[Any], weights: Floats
) -> dict[str, Floats]:
    y, p = truth.astype(np.float32), prediction.astype(np.float32)
    if kind == "sims":
        y, p = regression.clipped(y, 1.0), regression.clipped(p, 1.0)
    found = regression.distances(y, p, weights)
    if kind != "plain":
        del found["rmse"]
    return found
