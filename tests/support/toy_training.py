"""Training the toy model, here or in a process of its own that may kill itself."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from affectflow.pipeline.training import distributed
from affectflow.pipeline.training.distributed import Ranks
from affectflow.pipeline.training.journal import Watcher, read_log
from affectflow.pipeline.training.loader import LoaderConfig
from affectflow.pipeline.training.losses import LossConfig
from affectflow.pipeline.training.optimisation import OptimizerConfig
from affectflow.pipeline.training.randomness import INITIAL, seed_generators
from affectflow.pipeline.training.trainer import Position, Recipe, Trainer, TrainerConfig

from .fusion_data import MemoryData, make_data, toy_model

ALONE = Ranks(0, 1, torch.device("cpu"))


def silent(entry: Mapping[str, Any]) -> None:
    """Watch nothing."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as the processes of these tests share few cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    folder: Path,
    data: MemoryData | None = None,
    *,
    seed: int = 7,
    dropout: float = 0.0,
    loader: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
    loss: Mapping[str, Any] | None = None,
    watch: Watcher = silent,
    ranks: Ranks = ALONE,
    **trainer: Any,
) -> Position:
    """Train the toy model in a folder, or go on."""
    data = data or make_data()
    seed_generators(seed, INITIAL)
    model = toy_model(seed, dropout, data)
    recipe = Recipe(
        loader=LoaderConfig(**{"batch_size": 8, **(loader or {})}),
        optimizer=OptimizerConfig(**{"lr": 0.01, **(optimizer or {})}),
        loss=LossConfig(**(loss or {})),
        trainer=TrainerConfig(
            **{"epochs": 3, "log_every": 1, "tensorboard": False, "device": "cpu", **trainer}
        ),
    )
    with one_thread():
        return Trainer(model, data, recipe, seed, folder, ranks, watch).fit()


# What the interrupted and the uninterrupted training share.
EVERYTHING: dict[str, Any] = {
    "dropout": 0.3,
    "accumulate": 2,
    "checkpoint_every": 3,
    "optimizer": {"schedule": "cosine", "warmup_steps": 4, "clip_norm": 1.0},
    "loader": {"workers": 2},
}


def losses(folder: Path) -> list[float]:
    """Return the loss of every step."""
    return [entry["loss"] for entry in read_log(folder) if entry["kind"] == "step"]


def tensors(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all checkpoints."""
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in sorted(folder.glob("*/*.safetensors"))
    }


def main() -> None:
    """Train under `torchrun`, or (second argument) until SIGKILL after that many steps."""
    folder = Path(sys.argv[1])
    last = int(sys.argv[2]) if len(sys.argv) > 2 else 0

    def watch(entry: Mapping[str, Any]) -> None:
        if last and entry["kind"] == "progress" and entry["step"] == last:
            os.kill(os.getpid(), signal.SIGKILL)

    if last:
        train(folder, watch=watch, **EVERYTHING)
        return
    ranks = distributed.start("cpu")
    # 50 samples in batches of 7: shares are unequal, and the last batch has one sample.
    train(folder, ranks=ranks, loader={"batch_size": 7})
    distributed.stop()


if __name__ == "__main__":
    main()
