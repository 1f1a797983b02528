"""One loop for every model there is: it trains, stops and goes on as if it had not stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fusion_batches import (
    TASKS,
    example_lengths,
    inputs_of,
    make_batch,
    model_names,
    packed,
    presets,
    small_config,
)
from support.toy_training import ALONE, losses, one_thread, silent, tensors

from affectflow.models.batch import FusionBatch, InputSpec, Task
from affectflow.pipeline.training.catalogue import load_model_kind, summary
from affectflow.pipeline.training.catalogue import model_names as trainable
from affectflow.pipeline.training.journal import Watcher, read_log
from affectflow.pipeline.training.loader import LoaderConfig
from affectflow.pipeline.training.randomness import INITIAL, seed_generators
from affectflow.pipeline.training.trainer import Recipe, Trainer, TrainerConfig


@dataclass(frozen=True)
class BatchSplit:
    """One large batch as a split."""

    whole: FusionBatch

    @property
    def families(self) -> np.ndarray:
        return self.whole.families.numpy()

    @property
    def labels(self) -> dict[str, np.ndarray]:
        return {name: values.numpy() for name, values in self.whole.labels.items()}

    def __len__(self) -> int:
        return len(self.whole)

    def batch(self, rows: Sequence[int], layout: str = "padded") -> FusionBatch:
        found = self.whole.take(list(rows))
        return packed(found) if layout == "packed" else found


@dataclass(frozen=True)
class BatchData:
    """Two large batches as data."""

    splits: Mapping[str, BatchSplit]
    inputs: Mapping[str, InputSpec]
    tasks: tuple[Task, ...] = TASKS
    digest: str = "d"
    counts: Mapping[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> BatchSplit:
        return self.splits[name]


def make_data(name: str) -> BatchData:
    inputs = inputs_of(name)
    splits = {}
    for seed, (split, count) in enumerate({"train": 18, "val": 9}.items()):
        # Modalities of length 0 are among them.
        lengths = example_lengths(inputs, count, seed, lowest=0)
        splits[split] = BatchSplit(make_batch(inputs, lengths, seed=seed))
    return BatchData(splits, inputs)


class Interrupted(Exception):
    pass


def train(name: str, preset: str, folder: Path, watch: Watcher, layout: str) -> None:
    data = make_data(name)
    seed_generators(5, INITIAL)
    model = load_model_kind(name).model(small_config(name, preset), data.inputs, data.tasks)
    options: dict[str, Any] = {"epochs": 2, "log_every": 1, "checkpoint_every": 2}
    recipe = Recipe(
        loader=LoaderConfig(batch_size=5, layout=layout),
        trainer=TrainerConfig(**options, tensorboard=False, device="cpu"),
    )
    with one_thread():
        Trainer(model, data, recipe, 5, folder, ALONE, watch).fit()


def interrupt(entry: Mapping[str, Any]) -> None:
    if entry["kind"] == "progress" and entry["step"] == 7:
        raise Interrupted


FIRST = [
    (name, next(preset for other, preset in presets() if other == name), "padded")
    for name in model_names()
]
MORE = [
    ("mm_orient", "author_code", "packed"),
    ("mult", "mmsa", "packed"),
    ("decision_fusion", "fitted_weights", "padded"),
]


@pytest.mark.parametrize(("name", "preset", "layout"), [*FIRST, *MORE])
def test_it_trains_and_resumes_bit_for_bit(
    name: str, preset: str, layout: str, tmp_path: Path
) -> None:
    train(name, preset, tmp_path / "whole", silent, layout)
    assert len(losses(tmp_path / "whole")) == 8
    assert np.isfinite(losses(tmp_path / "whole")).all()
    with pytest.raises(Interrupted):
        train(name, preset, tmp_path / "cut", interrupt, layout)
    train(name, preset, tmp_path / "cut", silent, layout)
    assert tensors(tmp_path / "cut") == tensors(tmp_path / "whole")
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_the_catalogue_lists_what_is_there() -> None:
    assert trainable() == model_names()
    for name in trainable():
        assert len(summary(name)) > 10
