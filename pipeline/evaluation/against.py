"""Two runs on the same samples: paired differences of what they said before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput, StoreError
from ..store.layout import read_json, write_json
from .bootstrap import Difference
from .comparison import compare
from .predictions import Predictions, read_predictions, scores_name


@dataclass(frozen=True, slots=True)
class Comparison:
    """Run A minus run B.

    Attributes:
        first, second: Names of the runs.
        split: Where.
        seeds: Which both have.
        samples: How many samples both predicted.
        differences: Task to metric to difference.
        decided: How each of the two came to its decisions: checkpoint, and thresholds tuned for
            what.
    """

    first: str
    second: str
    split: str
    seeds: tuple[str, ...]
    samples: int
    differences: Mapping[str, Mapping[str, Difference]]
    decided: tuple[str, str] = ("", "")

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "first": self.first,
            "second": self.second,
            "split": self.split,
            "seeds": list(self.seeds),
            "samples": self.samples,
            "decided": list(self.decided),
            "differences": {
                task: {name: found.to_json() for name, found in of_task.items()}
                for task, of_task in self.differences.items()
            },
        }


def compare_runs(
    first: Path,
    second: Path,
    split: str,
    family: str,
    *,
    resamples: int = 1000,
    groups_of: Callable[[Sequence[str]], NDArray[np.int64]] | None = None,
) -> Comparison:
    """Compare two evaluated runs on the samples of a split, and write it into the first.

    Only what both wrote when they were evaluated is read; the split is not opened.

    Args:
        first: Run A.
        second: Run B.
        split: ``test`` or ``val``.
        family: Family of metric definitions.
        resamples: Of the bootstrap.
        groups_of: Gives for keys the groups that are drawn together, as `TrainedRun.groups` does;
            by default each sample is drawn alone.

    Raises:
        StoreError: A run has not been evaluated on the split.
        InvalidInput: The runs share no seed or no task, or saw other samples or labels.
    """
    ours, theirs = _read(first, split), _read(second, split)
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        raise InvalidInput(
            f"the runs have no seed in common: {', '.join(ours)} and {', '.join(theirs)}",
            "train both with the same --seeds",
        )
    keys = ours[seeds[0]].keys.tolist()
    differences = compare(
        {seed: ours[seed] for seed in seeds},
        {seed: theirs[seed] for seed in seeds},
        family,
        resamples=resamples,
        groups=None if groups_of is None else groups_of(keys),
    )
    decided = _decided(first, split, seeds), _decided(second, split, seeds)
    result = Comparison(first.name, second.name, split, seeds, len(keys), differences, decided)
    write_json(first / f"against-{second.name}-{split}.json", result.to_json())
    return result


def check_evaluated(run: Path, split: str) -> None:
    """Refuse a run that said nothing of a split yet.

    Raises:
        StoreError: Naming the command that makes it.
    """
    if not any(run.glob(f"seed-*/predictions-{split}.parquet")):
        message = f"'{run.name}' has not been evaluated on '{split}'"
        raise StoreError(message, f"pipeline evaluate {run} --split {split}")


def _decided(run: Path, split: str, seeds: Sequence[str]) -> str:
    """Return in words what the decisions of evaluated seeds are of."""
    found: dict[str, list[str]] = {}
    for seed in seeds:
        facts = read_json(run / f"seed-{seed}" / scores_name(split)) or {}
        words = f"checkpoint {facts.get('checkpoint', 'unknown')}"
        if thresholds := facts.get("thresholds"):
            words += f", thresholds tuned on val for {thresholds['criterion']}"
        found.setdefault(words, []).append(seed)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{words} (seed {', '.join(who)})" for words, who in found.items())


def _read(run: Path, split: str) -> dict[str, Predictions]:
    """Return what the seeds of the latest evaluation said; others left files that are older."""
    check_evaluated(run, split)
    paths = sorted(run.glob(f"seed-*/predictions-{split}.parquet"))
    every = {path.parent.name[len("seed-") :]: path for path in paths}
    latest = (read_json(run / f"table-{split}.json") or {}).get("seeds", list(every))
    return {seed: read_predictions(every[seed]) for seed in latest if seed in every}
