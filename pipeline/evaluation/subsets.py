"""Scores of the samples that lack a modality, apart from those that have all of them.

Every sample is predicted, whatever it lacks, and counts in the main table; what that costs is only
seen here. A score over few samples says little: their number stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..training.metrics import compute_predictions
from ..training.metrics.families import TaskLike
from ..training.metrics.results import MEAN, Array, Results
from .baselines import constant_results
from .predictions import Predictions

if TYPE_CHECKING:
    from ..training.data import SplitData

COMPLETE = "complete"
# The first of these that the mean over tasks has stands in the note.
_SHOWN = ("macro_f1", "mae")


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the samples of a split.

    Attributes:
        name: ``complete``, or ``without <role>``.
        samples: How many.
        majority: Scores of the constant classifier on them.
        seeds: By seed, scores of the model.
    """

    name: str
    samples: int
    majority: Results
    seeds: Mapping[str, Results]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; NaN becomes None."""
        return {
            "samples": self.samples,
            "majority": _numbers(self.majority),
            "seeds": {seed: _numbers(found) for seed, found in self.seeds.items()},
        }

    def note(self) -> str:
        """Return one line: the mean over tasks and seeds beside the constant classifier's."""
        name = next((name for name in _SHOWN if name in self.majority[MEAN]), None)
        if name is None:
            return f"{self.name}: {self.samples:,} samples"
        ours = np.mean([found[MEAN][name] for found in self.seeds.values()])
        theirs = self.majority[MEAN][name]
        scores = f"mean {name} {ours:.4f} (majority {theirs:.4f})"
        return f"{self.name}: {self.samples:,} samples, {scores}"


def subsets_of(split: SplitData) -> dict[str, Array]:
    """Return (N,) bool of each subset by name; none where every sample has everything."""
    there = {role: column.valid > 0 for role, column in split.columns.items()}
    lacking = {f"without {role}": ~has for role, has in there.items() if not has.all()}
    if not lacking:
        return {}
    return {COMPLETE: ~np.any(list(lacking.values()), axis=0), **lacking}


def score_subsets(
    split: SplitData,
    tasks: Sequence[TaskLike],
    train_labels: Mapping[str, Array],
    predictions: Mapping[str, Predictions],
    family: str,
) -> list[Subset]:
    """Return the scores of every subset that has a sample.

    Args:
        split: What was evaluated.
        tasks: What was predicted.
        train_labels: Labels of the training split, for the constant classifier.
        predictions: By seed, of all samples of the split.
        family: See `metrics.FAMILIES`.
    """
    found = []
    for name, chosen in subsets_of(split).items():
        if not chosen.any():
            continue
        rows = np.flatnonzero(chosen)
        labels = {task.name: split.labels[task.name][rows] for task in tasks}
        seeds = {}
        for seed, said in predictions.items():
            ours = said.in_order_of(split.keys.tolist()).take(rows)
            seeds[seed] = compute_predictions(tasks, labels, ours.decisions, family)
        majority = constant_results(tasks, train_labels, labels, family)
        found.append(Subset(name, len(rows), majority, seeds))
    return found


def _numbers(results: Results) -> dict[str, dict[str, float | None]]:
    return {
        task: {name: None if value != value else value for name, value in of_task.items()}
        for task, of_task in results.items()
    }
