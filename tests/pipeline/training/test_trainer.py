"""The loop: the same curve however it is cut, interrupted or spread."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.fusion_data import MemoryData, make_data, toy_model

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.training.distributed import Ranks
from affectflow.pipeline.training.journal import read_log
from affectflow.pipeline.training.loader import LoaderConfig
from affectflow.pipeline.training.optimisation import OptimizerConfig
from affectflow.pipeline.training.randomness import INITIAL, seed_generators
from affectflow.pipeline.training.trainer import Position, Recipe, Trainer, TrainerConfig

ALONE = Ranks(0, 1, torch.device("cpu"))


def train(
    folder: Path,
    data: MemoryData | None = None,
    seed: int = 7,
    dropout: float = 0.0,
    loader: dict[str, Any] | None = None,
    optimizer: dict[str, Any] | None = None,
    **trainer: Any,
) -> Position:
    data = data or make_data()
    seed_generators(seed, INITIAL)
    model = toy_model(seed, dropout, data)
    recipe = Recipe(
        LoaderConfig(**{"batch_size": 8, **(loader or {})}),
        OptimizerConfig(**{"lr": 0.01, **(optimizer or {})}),
        trainer=TrainerConfig(
            **{"epochs": 3, "log_every": 1, "tensorboard": False, "device": "cpu", **trainer}
        ),
    )
    return Trainer(model, data, recipe, seed, folder, ALONE, lambda entry: None).fit()


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_log(folder) if entry["kind"] == "step"]


def weights(folder: Path) -> bytes:
    return (folder / "last" / "model.safetensors").read_bytes()


def test_it_learns(tmp_path: Path) -> None:
    position = train(tmp_path, epochs=30, patience=0, optimizer={"lr": 0.03})
    assert position.finished == "30 epochs done"
    curve = losses(tmp_path)
    assert sum(curve[-7:]) < 0.6 * sum(curve[:7])
    assert position.best is not None
    assert position.best > 0.6


def test_a_seeded_run_repeats_bit_for_bit(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(tmp_path / name, dropout=0.3)
    train(tmp_path / "other", dropout=0.3, seed=8)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "other")


@pytest.mark.parametrize("pieces", [2, 3, 8, 20])
def test_accumulation_equals_the_big_batch(tmp_path: Path, pieces: int) -> None:
    train(tmp_path / "one", loader={"batch_size": 20})
    train(tmp_path / "cut", loader={"batch_size": 20}, accumulate=pieces)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "one"), rel=2e-5)
