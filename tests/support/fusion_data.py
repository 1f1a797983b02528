"""Training data in memory: two vector inputs, one sequence, three tasks with missing labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from affectflow.models.batch import (
    FeatureBatch,
    FusionBatch,
    FusionModel,
    FusionOutput,
    InputSpec,
    ModelConfig,
    Task,
)

TASKS = (
    Task("mood", "classification", ("sad", "glad", "calm")),
    Task("themes", "multilabel", ("work", "food")),
    Task("strength", "regression", (), -3, 3),
)
INPUTS = {"vector": InputSpec((6,)), "steps": InputSpec((None, 4))}


@dataclass(frozen=True)
class MemorySplit:
    """One split in memory, with the interface of the store's."""

    name: str
    keys: np.ndarray
    families: np.ndarray
    labels: dict[str, np.ndarray]
    vectors: np.ndarray
    steps: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(steps) for steps in self.steps])

    def batch(self, rows: Sequence[int] | np.ndarray, layout: str = "padded") -> FusionBatch:
        where = np.asarray(rows, np.int64)
        lengths = torch.tensor([len(self.steps[row]) for row in where], dtype=torch.int64)
        pieces = [self.steps[row] for row in where] or [np.zeros((0, 4), np.float32)]
        packed = FeatureBatch(torch.from_numpy(np.concatenate(pieces)), lengths, "packed")
        vectors = torch.from_numpy(self.vectors[where])
        return FusionBatch(
            tuple(self.keys[where]),
            {
                "vector": FeatureBatch(vectors, torch.ones(len(where), dtype=torch.int64)),
                "steps": packed if layout == "packed" else packed.padded(),
            },
            {name: torch.from_numpy(values[where]) for name, values in self.labels.items()},
            torch.from_numpy(self.families[where]),
        )


@dataclass(frozen=True)
class MemoryData:
    """Splits in memory, with the interface of the store's."""

    splits: Mapping[str, MemorySplit]
    tasks: tuple[Task, ...] = TASKS
    digest: str = "0123456789abcdef"
    inputs: ClassVar[dict[str, InputSpec]] = INPUTS
    counts: ClassVar[dict[str, Any]] = {}
    fingerprints: ClassVar[dict[str, Any]] = {
        role: {"feature": role, "fingerprint": "fedcba98", "store": "store", "warnings": []}
        for role in INPUTS
    }

    def split(self, name: str) -> MemorySplit:
        return self.splits[name]


def make_split(name: str, size: int, seed: int, missing: float = 0.3) -> MemorySplit:
    """Return seeded samples whose labels follow from their features."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((size, 6)).astype(np.float32)
    steps = [
        generator.standard_normal((int(generator.integers(0, 6)), 4)).astype(np.float32)
        for _ in range(size)
    ]
    mood = vectors[:, :3].argmax(1).astype(np.int64)
    themes = (vectors[:, 3:5] > 0).astype(np.float32)
    strength = np.clip(vectors[:, 5], -3, 3).astype(np.float32)
    mood[generator.random(size) < missing] = -1
    themes[generator.random(size) < missing] = np.nan
    strength[generator.random(size) < missing] = np.nan
    keys = np.array([f"{name}-{row}" for row in range(size)], object)
    labels = {"mood": mood, "themes": themes, "strength": strength}
    return MemorySplit(name, keys, np.arange(size), labels, vectors, steps)


def make_data(train: int = 50, val: int = 20) -> MemoryData:
    """Return a train and a val split."""
    return MemoryData({"train": make_split("train", train, 1), "val": make_split("val", val, 2)})


class ToyConfig(ModelConfig):
    """Configuration of `ToyModel`."""

    width: int = 8
    dropout: float = 0.0


class ToyModel(FusionModel):
    """A mean over steps beside a vector, one hidden layer, a running average, a penalty."""

    def __init__(
        self, config: ToyConfig, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        width = inputs["vector"].width + inputs["steps"].width
        self.hidden = nn.Linear(width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict(
            {task.name: nn.Linear(config.width, task.num_outputs) for task in tasks}
        )
        self.register_buffer("running", torch.zeros(config.width))

    def forward(self, batch: FusionBatch) -> FusionOutput:
        steps = batch.features["steps"].padded()
        mean = steps.values.sum(1) / steps.lengths.clamp(min=1)[:, None]
        joined = torch.cat((batch.features["vector"].values, mean), dim=1)
        hidden: Tensor = self.dropout(torch.relu(self.hidden(joined)))
        if self.training:
            with torch.no_grad():
                self.running.lerp_(hidden.float().mean(0), 0.1)
        return FusionOutput(
            {name: head(hidden) for name, head in self.heads.items()},
            {"size": 0.01 * hidden.square().mean(1).mean()},
            {},
            {"hidden/mean": hidden.detach().mean()},
        )


def toy_model(seed: int = 0, dropout: float = 0.0, data: MemoryData | None = None) -> ToyModel:
    """Return the model with seeded weights."""
    torch.manual_seed(seed)
    return ToyModel(ToyConfig(dropout=dropout), INPUTS, (data or make_data()).tasks)
