"""What a trained model says of data it has no labels for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affectflow.models.batch import Task

from ..errors import StoreError, UsageError, unknown_name
from ..store.api import Store, open_store
from ..store.feature import SPLITS
from ..store.layout import read_json
from ..store.reader import list_outputs
from ..store.spec import differences
from ..training.assemble import find_samples
from ..training.checkpoint import LoadedRun
from ..training.data import DataConfig, TrainingData
from ..training.metrics.results import Array
from ..training.opening import open_data
from .predictions import Predictions
from .thresholds import Thresholds, apply_thresholds
from .trained import TrainedRun

_SHOWN = 3
# What in the recipe of an import is its files' own, not how they are read.
_OF_FILES = ("identity.sources", "identity.shard_rows", "parameters.folds")


@dataclass(frozen=True, slots=True)
class Said:
    """Predictions for new data.

    Attributes:
        predictions: Of every sample, labels missing.
        seed: Which model said it.
        batch_policy: What a prediction depends on beside its own sample.
        missing: By role, how many samples lack the feature.
        warnings: What a reader must know.
    """

    predictions: Predictions
    seed: str
    batch_policy: str
    missing: Mapping[str, int]
    warnings: tuple[str, ...]


def predict(
    run: TrainedRun,
    stores: Sequence[Path],
    dataset: str | None = None,
    splits: Sequence[str] = (),
    seed: str | None = None,
    *,
    tuned: bool = False,
) -> Said:
    """Return predictions for all samples of a dataset; no label is read.

    Args:
        run: The run.
        stores: Where the features of the new data are.
        dataset: Name of the dataset there; that of the training by default.
        splits: Only these splits.
        seed: Which seed's model; the best on val by default.
        tuned: Decide with the thresholds that an evaluation tuned on val for this seed.

    Raises:
        UsageError: No such seed or split, or no thresholds were tuned.
        StoreError: Features are absent or made otherwise than those of the training.
    """
    chosen = best_seed(run) if seed is None else seed
    if chosen not in run.begun:
        raise UsageError(unknown_name("seed", chosen, run.begun))
    loaded = run.load(chosen)
    config = _data_config(run, stores, dataset or run.dataset)
    names = _splits(config, [open_store(path) for path in config.stores], splits)
    optional = loaded.model.optional_roles
    data = open_data(config, run.roles, optional, names, labelled=False, tell=run.tell)
    _with_inputs(data, loaded)
    loaded.check(data, same_dataset=False)
    warnings = list(compare_recipes(loaded.fingerprints, data.fingerprints))
    warnings += [text for facts in data.fingerprints.values() for text in facts["warnings"]]
    data = run.standardized(data)
    train = run.open(("train",)) if loaded.model.num_reference else None
    outputs = [run.apply(chosen, loaded, data, name, train=train) for name in names]
    keys = np.array([key for output in outputs for key in output.keys], object)
    logits = {
        task.name: np.concatenate([output.logits[task.name] for output in outputs])
        for task in loaded.tasks
    }
    labels = {task.name: _unknown(task, len(keys)) for task in loaded.tasks}
    decisions = _decided(run, chosen, loaded.tasks, logits) if tuned else {}
    predictions = Predictions("+".join(names), keys, loaded.tasks, labels, logits, decisions)
    missing = _missing(data.counts)
    policy = run.batch_policy(loaded.model)
    return Said(predictions, chosen, policy, missing, tuple(dict.fromkeys(warnings)))


def _decided(
    run: TrainedRun, seed: str, tasks: Sequence[Task], logits: Mapping[str, Array]
) -> dict[str, Array]:
    """Return decisions by the thresholds in the seed's `test.json`."""
    found = (read_json(run.folder / f"seed-{seed}" / "test.json") or {}).get("thresholds")
    if not found:
        message = f"no thresholds were tuned for seed {seed} of '{run.folder.name}'"
        raise UsageError(message, "pipeline evaluate RUN --tune-thresholds macro_f1")
    values = {name: tuple(numbers) for name, numbers in found["values"].items()}
    thresholds = Thresholds(values, found["criterion"], found["split"], {})
    return apply_thresholds(tasks, logits, thresholds)


def best_seed(run: TrainedRun) -> str:
    """Return the seed with the best monitored value on val, the first where none is known."""
    from ..training.metrics import is_maximised

    records: Mapping[str, Mapping[str, Any]] = run.record.get("seeds", {})
    values = {seed: records.get(seed, {}).get("best") for seed in run.seeds}
    known = {seed: float(value) for seed, value in values.items() if value is not None}
    if not known:
        return run.seeds[0]
    sign = 1 if is_maximised(str(run.record["monitor"])) else -1
    return max(known, key=lambda seed: sign * known[seed])


def _data_config(run: TrainedRun, stores: Sequence[Path], dataset: str) -> DataConfig:
    config = run.data_config(dataset)
    names = tuple(str(path) for path in stores) or config.stores
    trained: Mapping[str, Mapping[str, Any]] = run.record["fingerprints"]
    here = {
        (folder.name, folder.fingerprint)
        for name in names
        for folder in list_outputs(open_store(name).layout, "features", dataset)
    }
    # A store that has the very features of the training is read at those.
    features = {
        role: f"{found['feature']}@{found['fingerprint']}"
        if (found["feature"], found["fingerprint"]) in here
        else str(found["feature"])
        for role, found in trained.items()
    }
    return config.model_copy(
        update={"stores": names, "features": features, "augmented": False, "tasks": ()}
    )


def _splits(config: DataConfig, stores: Sequence[Store], wanted: Sequence[str]) -> list[str]:
    unknown = [name for name in wanted if name not in SPLITS]
    if unknown:
        raise UsageError(unknown_name("split", unknown[0], SPLITS))
    there = set(find_samples(config, stores).splits.tolist())
    found = [name for name in SPLITS if name in there and (not wanted or name in wanted)]
    if not found:
        message = f"'{config.dataset}' has no samples in {', '.join(wanted) or 'any split'}"
        raise StoreError(message, f"it has {', '.join(sorted(there)) or 'none at all'}")
    return found


def _with_inputs(data: TrainingData, loaded: LoadedRun) -> None:
    """Refuse data that lack an input the model was built with, even one it can do without.

    A sample may lack any modality; a dataset without the feature at all has no shape for it.
    """
    absent = sorted(set(loaded.inputs) - set(data.inputs))
    if absent:
        feature = loaded.roles.get(absent[0], absent[0])
        message = f"the checkpoint needs '{absent[0]}' (feature {feature}), which these data lack"
        raise StoreError(message, f"pipeline run extract --features {feature.split('.')[0]}")


def compare_recipes(
    trained: Mapping[str, Mapping[str, Any]], here: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield warnings about features that other library versions made, or other files hold.

    Raises:
        StoreError: A feature was made with another stage, version, parameter or weights; one line
            names the role and what differs.
    """
    for role, then in trained.items():
        now = here.get(role, {})
        if then["fingerprint"] == now.get("fingerprint") or not then.get("recipe"):
            continue
        found = list(differences(then["recipe"], now.get("recipe") or {}))
        libraries = [item for item in found if "libraries" in item[0].split(".")]
        # New data of an import come from new files, divided by folds of their own.
        imported = str(then["recipe"].get("stage", "")).startswith("import.")
        files = [item for item in found if imported and item[0].startswith(_OF_FILES)]
        wrong = [item for item in found if item not in libraries and item not in files]
        if wrong:
            name = f"'{role}' (feature {then['feature']})"
            raise StoreError(
                f"{name} was made differently: {_shown(wrong)}",
                "extract the new data with the settings of the training",
            )
        if any(path.startswith("identity.sources") for path, *_ in files):
            yield (
                f"{role}: imported from other files than '{then['feature']}' of the training; "
                "that one extractor made both is not known"
            )
        if libraries:
            yield f"{role}: made with other library versions: {_shown(libraries)}"


def _shown(found: Sequence[tuple[str, Any, Any]]) -> str:
    words = [f"{path} was {old!r}, is {new!r}"[:160] for path, old, new in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(words) + more


def _unknown(task: Task, number: int) -> Array:
    """Return labels that are all missing."""
    if task.kind == "classification":
        return np.full(number, -1, np.int64)
    shape = (number, len(task.classes)) if task.kind == "multilabel" else (number,)
    return np.full(shape, np.nan, np.float32)


def _missing(counts: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for split in counts["splits"].values():
        for role, number in split["missing"].items():
            found[role] = found.get(role, 0) + number
    return found
