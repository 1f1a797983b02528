"""Evaluating a run on a split: the one place where labels of the test split are read.

Files written into the run, ``<split>`` being ``test`` or ``val``:

```
seed-1111/test.json, evaluation-val.json      metrics, confusions, flags, thresholds of one seed
seed-1111/predictions-<split>.parquet         see `predictions`
table-<split>.json, table-<split>.md          majority and guessing first, mean ± std over seeds
test-access.jsonl                             one line for each reading of the test split
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, InvalidInput, UsageError, unknown_name
from ..store.layout import write_json, written_whole
from ..training.checkpoint import LoadedRun
from ..training.data import TrainingData
from ..training.metrics import compute, compute_predictions, predictions_of
from ..training.metrics.results import Array, Results, labelled
from .access import note_test_access
from .aggregate import aggregate
from .baselines import constant_results, guessing_results
from .bootstrap import mean_intervals
from .confusion import Confusion, confusions
from .flags import Flag, flags
from .predictions import Predictions, scores_name, write_predictions
from .published import published
from .subsets import Subset, score_subsets
from .tables import Row, Table, results_table
from .thresholds import Criterion, Thresholds, apply_thresholds, tune_thresholds
from .trained import TrainedRun, original_labels

SPLITS = ("test", "val")
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class SeedScores:
    """What one seed came to.

    Attributes:
        predictions: What was said of each sample.
        results: Task to metric to value.
        confusions: One per task or reading of it.
        flags: What is wrong with the predictions.
        thresholds: Tuned on val; None where decisions follow from the logits.
        facts: Batch policy, epoch, and the like.
    """

    predictions: Predictions
    results: Results
    confusions: list[Confusion]
    flags: list[Flag]
    thresholds: Thresholds | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run on a split.

    Attributes:
        run: Its folder.
        split: The split.
        majority: Scores of always saying the most frequent training class.
        guessing: Expected scores of guessing by the class shares of train; without regressions.
        seeds: By seed.
        table: Majority and guessing first, then the run.
        labelled: How many samples have a label, by task.
        warnings: What a reader must know.
        subsets: Scores with and without each modality, where samples lack one.
    """

    run: Path
    split: str
    majority: Results
    guessing: Results
    seeds: Mapping[str, SeedScores]
    table: Table
    labelled: Mapping[str, int]
    warnings: tuple[str, ...] = field(default=())
    subsets: tuple[Subset, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return everything but the predictions as JSON values."""
        first = next(iter(self.seeds.values()))
        return {
            **self.table.to_json(),
            "run": self.run.name,
            "seeds": list(self.seeds),
            "labelled": dict(self.labelled),
            "batch_policy": first.facts["batch_policy"],
            "thresholds": first.thresholds.criterion if first.thresholds else None,
            "warnings": list(self.warnings),
            "subsets": {subset.name: subset.to_json() for subset in self.subsets},
            "confusions": {seed: _confusions(found) for seed, found in self.seeds.items()},
        }


def evaluate_run(
    run: TrainedRun,
    split: str = "test",
    *,
    tune: Criterion | None = None,
    resamples: int = 1000,
) -> Evaluation:
    """Evaluate every seed of a run on a split and write what comes out into the run.

    Args:
        run: The run.
        split: ``test`` or ``val``.
        tune: Tune thresholds of binary decisions for this on val first.
        resamples: Of the bootstrap.

    Raises:
        UsageError: The split is neither.
        StoreError: Features are not those of the training, or a checkpoint is damaged.
        InvalidInput: The split has no labels, or a prediction is not finite.
    """
    if split not in SPLITS:
        raise UsageError(unknown_name("split", split, SPLITS))
    if tune and split == "val":
        message = "thresholds tuned on val say nothing when they are evaluated on val"
        raise ConfigError(message, "evaluate the split test, or leave thresholds alone")
    reads = 0
    if split == "test":
        _check_readable(run)
        rule = tune or "argmax"
        reads = note_test_access(run.folder, "evaluate", run.seeds, run.checkpoint, rule)
    wanted = dict.fromkeys(("train", *(("val",) if tune else ()), split))
    data = run.open(tuple(wanted))
    counts = _labelled(data, split)
    scores = {seed: _score(run, seed, run.load(seed), data, split, tune) for seed in run.seeds}
    train_labels, evaluated = original_labels(data), data.split(split)
    known = data.tasks, train_labels, evaluated.labels, run.family
    majority, guessing = constant_results(*known), guessing_results(*known)
    said = {seed: found.predictions for seed, found in scores.items()}
    parts = tuple(score_subsets(evaluated, data.tasks, train_labels, said, run.family))
    notes = [subset.note() for subset in parts]
    table = _table(run, split, (majority, guessing), scores, data, resamples, notes)
    warnings = tuple(_warnings(run, data, counts, reads))
    found = Evaluation(
        run.folder, split, majority, guessing, scores, table, counts, warnings, parts
    )
    _write(found)
    return found


def _check_readable(run: TrainedRun) -> None:
    """Find what is wrong with checkpoints, stores or features before test is touched.

    The training split shows it all; a reading of test that fails on them would be counted.
    """
    train = run.open(("train",))
    for seed in run.seeds:
        run.load(seed).check(train)


def _labelled(data: TrainingData, split: str) -> dict[str, int]:
    labels = data.split(split).labels
    counts = {task.name: int(labelled(task, labels[task.name]).sum()) for task in data.tasks}
    if not any(counts.values()):
        message = f"the split '{split}' has no labels at all"
        raise InvalidInput(message, "`pipeline predict` needs none")
    return counts


def _score(
    run: TrainedRun,
    seed: str,
    loaded: LoadedRun,
    data: TrainingData,
    split: str,
    tune: Criterion | None,
) -> SeedScores:
    loaded.check(data)
    tasks = loaded.tasks
    thresholds = None
    if tune:
        tuned = run.apply(seed, loaded, data, "val")
        thresholds = tune_thresholds(tasks, tuned.labels, tuned.logits, "val", tune)
    output = run.apply(seed, loaded, data, split)
    keys = np.array(output.keys, object)
    decisions = (
        apply_thresholds(tasks, output.logits, thresholds)
        if thresholds
        else predictions_of(tasks, output.logits)
    )
    predictions = Predictions(split, keys, tasks, output.labels, output.logits, decisions)
    judged = (tasks, output.labels, decisions, run.family)
    results = compute_predictions(*judged, keys=output.keys)
    # What depends on logits and not on decisions: calibration.
    for name, found in compute(tasks, output.labels, output.logits, run.family).items():
        results[name] = {**found, **results[name]}
    return SeedScores(
        predictions,
        results,
        confusions(*judged),
        flags(*judged),
        thresholds,
        {
            "batch_policy": run.batch_policy(loaded.model),
            "checkpoint": run.checkpoint,
            "best_epoch": loaded.state.get("position", {}).get("best_epoch"),
            "forward_flops": run.forward_flops(loaded, data, split),
        },
    )


def _table(
    run: TrainedRun,
    split: str,
    baselines: tuple[Results, Results],
    scores: Mapping[str, SeedScores],
    data: TrainingData,
    resamples: int,
    notes: Sequence[str],
) -> Table:
    first = next(iter(scores.values()))
    decisions = {seed: _aligned(found, first) for seed, found in scores.items()}
    groups = run.groups(first.predictions.keys.tolist())
    around = mean_intervals(
        data.tasks,
        first.predictions.labels,
        decisions,
        run.family,
        resamples=resamples,
        level=LEVEL,
        groups=groups,
    )
    row = Row(
        str(run.record["model"]),
        aggregate({seed: found.results for seed, found in scores.items()}),
        facts=_facts(run, scores),
        intervals=around,
        flags=list(dict.fromkeys(flag for found in scores.values() for flag in found.flags)),
    )
    note = f"Intervals: {100 * LEVEL:g} %, {resamples:,} bootstrap resamples of the samples, "
    note += "of the mean over seeds."
    together = len(groups) - len(np.unique(groups))
    if together:
        note += f" Near-duplicates are drawn together ({together:,} samples beside another)."
    return results_table(
        f"{run.record['model']} on {run.dataset}",
        split,
        baselines[0],
        [row],
        guessing=baselines[1],
        published=published(run.dataset),
        notes=[note, *_tuned(first), f"Batches: {first.facts['batch_policy']}.", *notes],
    )


def _tuned(scores: SeedScores) -> list[str]:
    """Return what must be known of decisions that do not follow from the logits alone."""
    if scores.thresholds is None:
        return []
    names = ", ".join(scores.thresholds.values) or "no task"
    criterion = scores.thresholds.criterion
    return [f"Binary decisions ({names}): by thresholds tuned on val for {criterion}, per seed."]


def _aligned(found: SeedScores, first: SeedScores) -> Mapping[str, Array]:
    """Return decisions in the order of the first seed's keys."""
    return found.predictions.in_order_of(first.predictions.keys.tolist()).decisions


def _facts(run: TrainedRun, scores: Mapping[str, SeedScores]) -> dict[str, str | int | float]:
    features = run.record["fingerprints"].items()
    first = next(iter(scores.values()))
    epochs = [str(found.facts["best_epoch"]) for found in scores.values()]
    return {
        "features": ", ".join(
            f"{role} {facts['feature']}@{facts['fingerprint'][:8]}" for role, facts in features
        ),
        "parameters": int(run.record["parameters"].get("total", 0)),
        "parameters by part": ", ".join(
            f"{name} {number:,}"
            for name, number in run.record["parameters"].get("parts", {}).items()
        ),
        "trainable": int(run.record["parameters"].get("trainable", 0)),
        "forward FLOPs per sample": first.facts["forward_flops"],
        "best epoch": ", ".join(epochs),
        "selected by": str(run.record["monitor"]),
        "checkpoint": run.checkpoint,
    }


def _warnings(
    run: TrainedRun, data: TrainingData, counts: Mapping[str, int], reads: int
) -> list[str]:
    found = [
        f"{role}: {text}"
        for role, facts in data.fingerprints.items()
        for text in facts.get("warnings", ())
    ]
    found += [f"task '{name}' has no label in this split" for name, n in counts.items() if not n]
    if run.unfinished:
        left = "left out" if set(run.unfinished).isdisjoint(run.seeds) else "scored as they are"
        found.append(f"not finished: seed {', '.join(run.unfinished)}, {left}")
    if reads > 1:
        found.append(f"the test split has been read {reads} times for this run")
    return list(dict.fromkeys(found))


def _write(found: Evaluation) -> None:
    for seed, scores in found.seeds.items():
        folder = found.run / f"seed-{seed}"
        write_json(folder / scores_name(found.split), _seed_json(found, seed, scores))
        path = folder / f"predictions-{found.split}.parquet"
        write_predictions(path, scores.predictions, run=found.run.name, seed=seed)
    write_json(found.run / f"table-{found.split}.json", found.to_json())
    with written_whole(found.run / f"table-{found.split}.md") as temporary:
        temporary.write_text(found.table.markdown(), encoding="utf-8")


def _seed_json(found: Evaluation, seed: str, scores: SeedScores) -> dict[str, Any]:
    return {
        "split": found.split,
        "seed": seed,
        "samples": len(scores.predictions),
        "labelled": dict(found.labelled),
        "results": _numbers(scores.results),
        "majority": _numbers(found.majority),
        "guessing": _numbers(found.guessing),
        "confusions": _confusions(scores),
        "flags": [flag._asdict() for flag in scores.flags],
        "thresholds": scores.thresholds.to_json() if scores.thresholds else None,
        **scores.facts,
    }


def _confusions(scores: SeedScores) -> list[dict[str, Any]]:
    return [found.to_json() for found in scores.confusions]


def _numbers(results: Results) -> dict[str, dict[str, float | None]]:
    """Return results as JSON values; NaN becomes None."""
    return {
        task: {name: None if value != value else value for name, value in of_task.items()}
        for task, of_task in results.items()
    }
