"""Percentile intervals by resampling the evaluated samples, and paired differences of two models.

``N`` samples, ``R`` resamples, ``S`` seeds. A resample draws N samples with replacement (or whole
groups, where samples belong together, such as near-duplicates); a metric of it is the metric with
each sample counted as often as it was drawn. All tasks share the draws.

An interval over samples says how much a number would move with another test set of the same size:
with 686 samples one standard error of an accuracy near 80 % is 1.5 points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..training.metrics.classification import Floats, ones
from ..training.metrics.families import TaskLike
from ..training.metrics.names import METRICS
from ..training.metrics.results import Array, resampled

Draws: TypeAlias = dict[tuple[str, str], Floats]
_CHUNK_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its interval.

    Attributes:
        value: On the samples themselves.
        low, high: Percentiles of the resamples.
        standard_error: Their sample standard deviation.
        undefined: Resamples in which the metric is NaN, left out of the above.
    """

    value: float
    low: float
    high: float
    standard_error: float
    undefined: int = 0

    def to_json(self) -> dict[str, float | None]:
        """Return the fields; NaN becomes None."""
        return {name: None if v != v else v for name, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """Model A minus model B in one metric.

    Attributes:
        samples: Interval over samples, seeds held as they are.
        seeds: Interval over seeds, samples held as they are; None with a single seed.
        both: Interval over samples and seeds together; None with a single seed.
        per_seed: Difference of each pair of runs, by seed.
        share_not_above: Share of the resamples over samples in which A is not above B.
    """

    samples: Interval
    seeds: Interval | None
    both: Interval | None
    per_seed: Mapping[str, float]
    share_not_above: float

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values; NaN becomes None."""
        return {
            "samples": self.samples.to_json(),
            "seeds": self.seeds.to_json() if self.seeds else None,
            "both": self.both.to_json() if self.both else None,
            "per_seed": {k: None if v != v else v for k, v in self.per_seed.items()},
            "share_not_above": self.share_not_above,
        }


def intervals(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    predictions: Mapping[str, Array],
    family: str = "auto",
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 1111,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, dict[str, Interval]]:
    """Return an interval for every metric of every task and of their mean.

    Args:
        tasks: What was predicted.
        labels: See `metrics.compute`.
        predictions: Decisions by task, as `metrics.predictions_of` returns them.
        family: See `metrics.FAMILIES`.
        resamples: R.
        level: Share of the resamples inside the interval, in (0, 1).
        seed: Of the draws.
        groups: (N,) equal for samples that are drawn together; each on its own by default.

    Raises:
        InvalidInput: There are no samples.
    """
    return mean_intervals(
        tasks, labels, {"": predictions}, family,
        resamples=resamples, level=level, seed=seed, groups=groups,
    )  # fmt: skip


def mean_intervals(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    per_seed: Mapping[str, Mapping[str, Array]],
    family: str = "auto",
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 1111,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, dict[str, Interval]]:
    """Return an interval over samples for the mean over seeds, each resample drawn for all seeds.

    Args:
        tasks: What was predicted.
        labels: See `metrics.compute`.
        per_seed: Seed to decisions by task, rows in the order of the labels.
        family: See `metrics.FAMILIES`.
        resamples: R.
        level: Share of the resamples inside the interval.
        seed: Of the draws.
        groups: See `intervals`.

    Raises:
        InvalidInput: There are no samples, or no seeds.
    """
    if not per_seed:
        raise InvalidInput("there is no seed to average over", "train at least one")
    number = _count(labels)

    def means(weights: Floats) -> Draws:
        each = [
            _flat(resampled(tasks, labels, found, weights, family)) for found in per_seed.values()
        ]
        return {key: np.mean([found[key] for found in each], axis=0) for key in each[0]}

    whole = means(ones(number))
    pieces = [means(weights) for weights in _weightings(number, resamples, seed, groups)]
    result: dict[str, dict[str, Interval]] = {}
    for (task, metric), value in whole.items():
        if METRICS[metric.rpartition("/")[2]].kind in ("share", "plain"):
            drawn = np.concatenate([piece[task, metric] for piece in pieces])
            result.setdefault(task, {})[metric] = interval(float(value[0]), drawn, level)
    return result


def paired_difference(
    tasks: Sequence[TaskLike],
    labels: Mapping[str, Array],
    first: Mapping[str, Mapping[str, Array]],
    second: Mapping[str, Mapping[str, Array]],
    family: str = "auto",
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 1111,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, dict[str, Difference]]:
    """Return A minus B for every metric, each resample drawn alike for both.

    Args:
        tasks: What both predicted.
        labels: See `metrics.compute`.
        first: Model A: seed to decisions by task, rows in the order of the labels.
        second: Model B, with the same seeds. A single run is a mapping with one entry.
        family: See `metrics.FAMILIES`.
        resamples: R.
        level: Share of the resamples inside an interval.
        seed: Of the draws.
        groups: See `intervals`.

    Raises:
        InvalidInput: The two have different seeds, or there are no samples.
    """
    names = sorted(first)
    if not names or names != sorted(second):
        raise InvalidInput(
            f"seeds of the two models differ: {', '.join(names)} and {', '.join(sorted(second))}",
            "compare runs of the same seeds",
        )
    number = _count(labels)

    def gaps(weights: Floats) -> dict[tuple[str, str], Floats]:
        """Return (S, R) differences by task and metric."""
        each = []
        for name in names:
            a = _flat(resampled(tasks, labels, first[name], weights, family))
            b = _flat(resampled(tasks, labels, second[name], weights, family))
            # A score over several tasks needs all of them: one run may have it alone.
            each.append({key: a[key] - b[key] for key in a if key in b})
        return {key: np.stack([found[key] for found in each]) for key in each[0]}

    whole = gaps(ones(number))
    pieces = [gaps(weights) for weights in _weightings(number, resamples, seed, groups)]
    chosen = np.random.default_rng([seed, 1]).integers(0, len(names), (resamples, len(names)))
    result: dict[str, dict[str, Difference]] = {}
    for (task, metric), value in whole.items():
        if METRICS[metric.rpartition("/")[2]].kind in ("share", "plain"):
            drawn = np.concatenate([piece[task, metric] for piece in pieces], axis=1)
            found = _difference(value[:, 0], drawn, chosen, names, level)
            result.setdefault(task, {})[metric] = found
    return result


def interval(value: float, drawn: Floats, level: float = 0.95) -> Interval:
    """Return the percentile interval of resampled values; NaN are left out and counted."""
    kept = drawn[~np.isnan(drawn)]
    undefined = len(drawn) - len(kept)
    if not len(kept):
        return Interval(value, float("nan"), float("nan"), float("nan"), undefined)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    spread = float(kept.std(ddof=1)) if len(kept) > 1 else float("nan")
    return Interval(value, float(low), float(high), spread, undefined)


def _difference(
    value: Floats, drawn: Floats, chosen: NDArray[np.int64], names: Sequence[str], level: float
) -> Difference:
    over_samples = drawn.mean(0)  # (R,)
    mean = float(value.mean())
    seeds = both = None
    if len(names) > 1:
        seeds = interval(mean, value[chosen].mean(1), level)
        both = interval(mean, drawn[chosen, np.arange(len(chosen))[:, None]].mean(1), level)
    defined = over_samples[~np.isnan(over_samples)]
    return Difference(
        samples=interval(mean, over_samples, level),
        seeds=seeds,
        both=both,
        per_seed=dict(zip(names, value.tolist(), strict=True)),
        share_not_above=float((defined <= 0).mean()) if len(defined) else float("nan"),
    )


def _weightings(
    number: int, resamples: int, seed: int, groups: NDArray[np.int64] | None
) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    member = np.arange(number) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(member.max()) + 1
    step = max(1, _CHUNK_CELLS // number)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, units, (rows, units))
        cells = (drawn + units * np.arange(rows)[:, None]).ravel()
        counts = np.bincount(cells, minlength=rows * units).reshape(rows, units)
        yield counts[:, member].astype(np.float64)


def _count(labels: Mapping[str, Array]) -> int:
    number = len(next(iter(labels.values()))) if labels else 0
    if not number:
        raise InvalidInput("there are no samples to resample", "check the split")
    return number


def _flat(found: Mapping[str, Mapping[str, Floats]]) -> Draws:
    return {(task, name): values for task, of in found.items() for name, values in of.items()}
