"""A run: one model on one dataset with one or several seeds, in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectflow.models.batch import FusionModel

from ..errors import AffectflowError, ConfigError, StoreError
from . import distributed
from .data import TrainingData
from .distributed import Ranks
from .journal import Watcher
from .opening import TOLD_BYTES, open_data
from .randomness import INITIAL, seed_generators
from .run_folder import RunFolder, feature_warnings, parameter_counts
from .scores import Monitor, check_monitor
from .settings import Settings
from .standardization import measure
from .table import write_table
from .trainer import Trainer

DEFAULT_SEEDS = (1111,)
SPLITS = ("train", "val")
_LARGE = 30.0
"""Standard deviation of a column from which it is spoken of."""
_LOOKED_AT = 64
"""Samples that are looked at for it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run ended with.

    Attributes:
        folder: Folder of the run.
        seeds: By seed, its record in `run.json`.
        table: Content of `table.json`.
    """

    folder: Path
    seeds: dict[str, dict[str, Any]]
    table: dict[str, Any]


def train(
    settings: Settings,
    seeds: Sequence[int],
    runs: Path,
    watch: Watcher,
    *,
    must_exist: bool = False,
) -> Outcome:
    """Train every seed that is not finished, and write the table of all that are.

    The test split is not opened. Under `torchrun` every process calls this; rank 0 writes.

    Args:
        settings: What to train.
        seeds: One training each, in folders of their own.
        runs: Folder of all runs.
        watch: Called with every entry of the log of every seed.
        must_exist: Whether a run that was never begun is an error rather than a new one.

    Raises:
        StoreError: There is nothing to go on from, and there should be.
        AffectflowError: Data, configuration or a diverged loss; said in `run.json` too.
    """
    config = settings.recipe.trainer
    ranks = distributed.start(config.device)
    try:
        if config.threads:
            torch.set_num_threads(config.threads)

        def tell(message: str) -> None:
            watch({"kind": "preparing", "step": 0, "message": message})

        data = open_splits(settings, tell)
        folder = RunFolder.of(runs, settings, data)
        if must_exist and not folder.begun:
            message = f"no run '{folder.path.name}' was begun in '{folder.path.parent}'"
            hint = "settings and data name a run; without --resume this is a new one"
            raise StoreError(message, hint)
        data = _standardized(settings, data, folder, tell)
        monitor = Monitor.of(config.monitor, data.tasks)
        check_monitor(monitor, data.tasks, data.split("val").labels, config.metrics)
        # Before the folder: a model that cannot be built for these data leaves no run.
        built = [_initial_model(settings, data, seed) for seed in seeds[:1]]
        with folder.held() if ranks.main else nullcontext():
            if ranks.main:
                folder.begin(settings, data, monitor.name, ranks.world)
            ranks.wait()
            watch({"kind": "data", "step": 0, "counts": data.counts})
            for message in (*_unplayed(settings, data), *feature_warnings(data.fingerprints)):
                watch({"kind": "warning", "step": 0, "name": "feature", "message": message})
            if message := _large(data):
                watch({"kind": "warning", "step": 0, "name": "feature_size", "message": message})
            found = {}
            for seed in seeds:
                watch({"kind": "seed", "step": 0, "seed": seed, "folder": str(folder.seed(seed))})
                found[str(seed)] = _train_seed(
                    built.pop() if built else _initial_model(settings, data, seed),
                    settings,
                    data,
                    folder,
                    seed,
                    ranks,
                    watch,
                )
            table = write_table(folder, data) if ranks.main else {}
            ranks.wait()
            return Outcome(folder.path, found, table)
    finally:
        distributed.stop()


def open_splits(
    settings: Settings, tell: Callable[[str], None] = lambda message: None
) -> TrainingData:
    """Return the data of a training: ``train`` and ``val``, never ``test``.

    Args:
        settings: What is trained.
        tell: Called before what may take long.

    Raises:
        AffectflowError: They cannot be opened; see `open_data`.
    """
    kind = settings.kind
    optional = kind.model.optional_roles
    return open_data(settings.data, kind.roles, optional, splits=SPLITS, tell=tell)


def _unplayed(settings: Settings, data: TrainingData) -> list[str]:
    """Return what the model does without: optional roles whose default feature no store has."""
    chosen = settings.data.features
    absent = {
        role: feature
        for role, feature in settings.kind.roles.items()
        # One that was set to nothing is left out on purpose.
        if role not in data.inputs and chosen.get(role, feature)
    }
    if not absent:
        return []
    listed = ", ".join(f"{role} ('{feature}')" for role, feature in absent.items())
    return [
        f"no store has a feature for {listed}: {settings.kind.name} is trained without; "
        f"another is named by --set data.features.{next(iter(absent))}=NAME"
    ]


def _standardized(
    settings: Settings, data: TrainingData, folder: RunFolder, tell: Callable[[str], None]
) -> TrainingData:
    """Return the data as `data.standardize` asks, with the numbers the run began with.

    They are measured once: other values under the same fingerprints, as another machine may have
    computed them, must not move the inputs of seeds that are trained.
    """
    roles = sorted(set(settings.data.standardize) & set(data.inputs))
    if not roles:
        return data
    found = folder.statistics(roles)
    if found is None:
        found = {}
        for role in roles:
            column = data.split("train").columns[role]
            every = np.arange(len(column))
            size = int(column.numbers(every).sum()) * np.dtype(column.spec.dtype).itemsize
            if size > TOLD_BYTES:
                tell(f"standardizing {role}: reads {size / 2**20:,.0f} MiB of 'train' once")
            found[role] = data.measured(role)
    return data.standardized(found)


def _large(data: TrainingData) -> str:
    """Return which features are far larger than networks are initialised for; empty for none."""
    found = {}
    train = data.split("train")
    for role in sorted(set(data.inputs) - set(data.statistics)):
        entries = train.entries(role, most=_LOOKED_AT)
        measured = measure(entries, train.columns[role].spec.dtype)
        if measured is not None and (largest := float(measured.deviation.max())) > _LARGE:
            middle = float(np.median(measured.deviation))
            found[role] = (
                f"{role} has columns that vary by ±{largest:.3g}, in the middle ±{middle:.3g}"
            )
    if not found:
        return ""
    roles = ",".join(sorted({*found, *data.statistics}))
    return (
        f"{'; '.join(found.values())}; networks expect about 1: --set 'data.standardize=[{roles}]'"
    )


def _train_seed(
    model: FusionModel,
    settings: Settings,
    data: TrainingData,
    folder: RunFolder,
    seed: int,
    ranks: Ranks,
    watch: Watcher,
) -> dict[str, Any]:
    trainer = Trainer(model, data, settings.recipe, seed, folder.seed(seed), ranks, watch)
    began = time.monotonic()
    before = folder.record()["seeds"].get(str(seed), {}).get("seconds", 0.0)
    _note(
        folder,
        seed,
        ranks,
        {"status": "running", "seconds": before},
        parameters=parameter_counts(model),
    )
    try:
        position = trainer.fit()
    except AffectflowError as error:
        _note(folder, seed, ranks, {"status": "failed", "reason": error.message})
        raise
    facts = {
        "status": "finished",
        "reason": position.finished,
        "best": position.best,
        "best_epoch": position.best_epoch,
        "epochs": position.epoch,
        "steps": position.step,
        "seconds": round(before + time.monotonic() - began, 3),
    }
    _note(folder, seed, ranks, facts)
    return facts


def _note(
    folder: RunFolder, seed: int, ranks: Ranks, facts: Mapping[str, Any], **more: Any
) -> None:
    if ranks.main:
        folder.update(seeds={str(seed): facts}, **more)


def _initial_model(settings: Settings, data: TrainingData, seed: int) -> FusionModel:
    seed_generators(seed, INITIAL)
    return build_model(settings, data)


def build_model(settings: Settings, data: TrainingData) -> FusionModel:
    """Return the model with its initial weights, drawn from the global generators.

    Raises:
        ConfigError: The configuration does not fit the data, or a feature holds whole numbers.
    """
    _check_floats(data)
    try:
        return settings.kind.model(settings.model, data.inputs, data.tasks)
    except ValueError as error:
        # What a model says of shapes and roles that it cannot be built for.
        raise ConfigError(f"{settings.kind.name}: {error}") from None


def _check_floats(data: TrainingData) -> None:
    """Refuse whole numbers: to a model they are no measurements, whatever they number."""
    for role, found in data.fingerprints.items():
        if np.dtype(found["dtype"]).kind != "f":
            raise ConfigError(
                f"role '{role}': feature '{found['feature']}' holds {found['dtype']}, models take "
                "floating-point features",
                f"--set data.features.{role}=NAME of another",
            )
