"""One number from several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..training.metrics.names import describe


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A metric over seeds.

    Attributes:
        mean: Mean of the unrounded values; NaN where any is.
        std: Sample standard deviation (ddof 1); NaN with a single seed.
        values: By seed, unrounded.
        undefined: How many values are NaN.
    """

    mean: float
    std: float
    values: Mapping[str, float]
    undefined: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; NaN becomes None."""
        return {
            "mean": _json(self.mean),
            "std": _json(self.std),
            "values": {seed: _json(value) for seed, value in self.values.items()},
            "undefined": self.undefined,
        }


Aggregates = dict[str, dict[str, Aggregate]]


def aggregate(
    per_seed: Mapping[str | int, Mapping[str, Mapping[str, float]]],
    *,
    round_before_mean: bool = False,
) -> Aggregates:
    """Return mean and spread of every metric over seeds.

    Args:
        per_seed: Seed to what `metrics.compute` returned.
        round_before_mean: Round to four digits first, as MMSA does; only for replicating published
            numbers.

    Returns:
        Task to metric to aggregate. The number of seeds with an undefined correlation is
        ``corr.undefined``; the flag ``corr_undefined`` itself is left out.

    Raises:
        InvalidInput: There is no seed, or the seeds do not report the same metrics.
    """
    if not per_seed:
        raise InvalidInput("there is no seed to aggregate", "train at least one")
    names = [_names(results) for results in per_seed.values()]
    if any(found != names[0] for found in names[1:]):
        odd = sorted(names[0].union(*names) - names[0].intersection(*names))
        shown = ", ".join("/".join(pair) for pair in odd[:5])
        raise InvalidInput(
            f"the seeds do not report the same metrics, such as {shown}", "evaluate all seeds again"
        )
    first = next(iter(per_seed.values()))
    return {
        task: {
            metric: _over_seeds(
                {str(seed): float(found[task][metric]) for seed, found in per_seed.items()},
                round_before_mean,
            )
            for metric in of_task
            if describe(metric).kind != "flag"
        }
        for task, of_task in first.items()
    }


def _over_seeds(values: Mapping[str, float], rounded: bool) -> Aggregate:
    numbers = np.array([round(value, 4) if rounded else value for value in values.values()])
    std = float(numbers.std(ddof=1)) if len(numbers) > 1 else float("nan")
    return Aggregate(float(numbers.mean()), std, dict(values), int(np.isnan(numbers).sum()))


def _names(results: Mapping[str, Mapping[str, float]]) -> set[tuple[str, str]]:
    return {(task, metric) for task, of_task in results.items() for metric in of_task}


def _json(value: float) -> float | None:
    return value if np.isfinite(value) else None
