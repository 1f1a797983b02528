"""Small trained runs over a small store with a test split, to evaluate and predict with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affectflow.pipeline.training.experiment import train
from affectflow.pipeline.training.settings import resolve

from .toy_training import one_thread, silent
from .training_stores import make_store, rows_of

SEEDS = (1, 2)


def labelled_store(folder: Path, count: int = 60) -> Path:
    """Write a store: of every five samples three for training, one for val, one for test."""
    make_store(folder, rows_of(count))
    return folder


def trained_run(
    store: Path, runs: Path, hidden: int = 8, seeds: tuple[int, ...] = SEEDS, **data: Any
) -> Path:
    """Train the text baseline on a store for two epochs and return the run's folder."""
    overrides: Mapping[str, Mapping[str, Any]] = {
        "data": data,
        "model": {"hidden": [hidden], "dropout": 0.0},
        "loader": {"batch_size": 7},
        "optimizer": {"lr": 0.05},
        "trainer": {"epochs": 2, "tensorboard": False, "device": "cpu"},
    }
    with one_thread():
        settings = resolve("text_tokens", "mini", [store], None, overrides)
        return train(settings, seeds, runs, silent).folder
