"""Whether one model is better than another, on the same samples and the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..training.metrics.names import describe
from ..training.metrics.results import Array
from .bootstrap import Difference, Interval, paired_difference
from .predictions import Predictions

Differences = dict[str, dict[str, Difference]]


def compare(
    first: Mapping[str, Predictions],
    second: Mapping[str, Predictions],
    family: str = "auto",
    **options: Any,
) -> Differences:
    """Return model A minus model B for every metric of the tasks both predicted.

    Rows are matched by key, never by position.

    Args:
        first: Model A: seed to its predictions of one split.
        second: Model B, with the same seeds.
        family: See `metrics.FAMILIES`.
        options: ``resamples``, ``level``, ``seed``, ``groups`` of `bootstrap.paired_difference`;
            groups in the row order of A's first seed.

    Raises:
        InvalidInput: Splits, seeds, samples or labels of the two differ, or no task is shared.
    """
    if not first or not second:
        raise InvalidInput("a model without predictions cannot be compared", "evaluate it first")
    base = next(iter(first.values()))
    shared = [task for task in base.tasks if task in next(iter(second.values())).tasks]
    if not shared:
        raise InvalidInput("the two models share no task with the same classes")
    order = base.keys.tolist()

    def aligned(runs: Mapping[str, Predictions]) -> dict[str, Mapping[str, Array]]:
        found = {seed: run.in_order_of(order) for seed, run in runs.items()}
        for seed, run in found.items():
            _check(base, run, [task.name for task in shared], seed)
        return {seed: run.decisions for seed, run in found.items()}

    return paired_difference(
        shared, base.labels, aligned(first), aligned(second), family, **options
    )


def comparison_markdown(
    found: Differences, first: str, second: str, metrics: tuple[str, ...]
) -> str:
    """Return a table of the differences in points, or in the metric's unit.

    Args:
        found: What `compare` returned.
        first: Name of model A.
        second: Name of model B.
        metrics: Which metrics; those a task lacks are left out.
    """
    lines = [f"{first} minus {second}, with bootstrap intervals. Where one holds 0, the difference"]
    lines += ["is no larger than what another draw of samples or seeds would bring.", ""]
    lines += ["| task | metric | difference | over samples | over seeds | over both |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for task, of_task in found.items():
        for metric in metrics:
            if metric not in of_task:
                continue
            one = of_task[metric]
            unit = 100.0 if describe(metric).kind == "share" else 1.0
            cells = [_span(part, unit) for part in (one.samples, one.seeds, one.both)]
            value = f"{unit * one.samples.value:+.4g}"
            title = describe(metric).title
            lines.append(f"| {task} | {title} | {value} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _span(part: Interval | None, unit: float) -> str:
    if part is None:
        return "one seed"
    return f"[{unit * part.low:+.4g}, {unit * part.high:+.4g}]"


def _check(base: Predictions, run: Predictions, tasks: list[str], seed: str) -> None:
    if run.split != base.split:
        raise InvalidInput(
            f"seed {seed} holds predictions of '{run.split}', expected '{base.split}'",
            "compare predictions of one split",
        )
    for name in tasks:
        # Missing numbers are NaN, which must count as equal to each other.
        if name not in run.labels or not np.array_equal(
            run.labels[name].astype(float), base.labels[name].astype(float), equal_nan=True
        ):
            raise InvalidInput(
                f"labels of task '{name}' differ between the runs (seed {seed})",
                "both must be evaluated on the same data",
            )
