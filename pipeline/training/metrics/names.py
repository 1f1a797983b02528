"""Every reported metric: how it is titled, how it is printed, and which direction is better."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ...errors import ConfigError, unknown_name


class Metric(NamedTuple):
    """One name of a result.

    Attributes:
        title: Heading of a column.
        kind: ``share`` in [0, 1], printed as a percentage; ``plain`` printed as it is, never times
            100; ``count`` of samples or runs; ``flag`` 0 or 1.
        maximise: Whether larger is better; None for counts and flags, which select nothing.
    """

    title: str
    kind: Literal["share", "plain", "count", "flag"]
    maximise: bool | None


def _share(title: str) -> Metric:
    return Metric(title, "share", True)


METRICS = {
    "accuracy": _share("accuracy"),
    "macro_precision": _share("macro P"),
    "macro_recall": _share("macro R"),
    "macro_f1": _share("macro F1"),
    "weighted_precision": _share("weighted P"),
    "weighted_recall": _share("weighted R"),
    "weighted_f1": _share("weighted F1"),
    "micro_f1": _share("micro F1"),
    "exact_match": _share("exact match"),
    "mae": Metric("MAE", "plain", False),
    "rmse": Metric("RMSE", "plain", False),
    "corr": Metric("Corr", "plain", True),
    "corr_undefined": Metric("Corr undefined", "flag", None),
    "acc7": _share("Acc-7"),
    "acc5": _share("Acc-5"),
    "acc3": _share("Acc-3"),
    "acc2": _share("Acc-2"),
    "f1": _share("F1"),
    "has0_acc2": _share("Acc-2 Has0"),
    "has0_f1": _share("F1 Has0"),
    "non0_acc2": _share("Acc-2 Non0"),
    "non0_f1": _share("F1 Non0"),
    "non0_n": Metric("n Non0", "count", None),
    "ece": Metric("ECE", "plain", False),
    "loss": Metric("loss", "plain", False),
    "task_a": _share("task A"),
    "task_b": _share("task B"),
    "task_c": _share("task C"),
    "n": Metric("n", "count", None),
    "num_tasks": Metric("tasks", "count", None),
}


def describe(name: str) -> Metric:
    """Return what a metric is; of ``happy/macro_f1`` the last part counts.

    Raises:
        ConfigError: With the nearest names.
    """
    last = name.rpartition("/")[2]
    if last not in METRICS:
        raise ConfigError(unknown_name("metric", last, METRICS))
    return METRICS[last]


def is_maximised(name: str) -> bool:
    """Return whether larger values of a metric are better.

    Raises:
        ConfigError: The metric is unknown, or a count that says nothing about quality.
    """
    direction = describe(name).maximise
    if direction is None:
        raise ConfigError(
            f"'{name}' is a {describe(name).kind} and selects nothing",
            "for example mean/macro_f1 or mean/mae",
        )
    return direction
