"""Checkpoints: folders of safetensors and JSON that exist whole or not at all.

```
last/   model.safetensors  optimizer.safetensors  state.json     what a training goes on from
best/   model.safetensors  state.json                            what evaluation loads
```

A folder is written beside its place and swapped in by two renames; `recover` mends the moment
between them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from affectflow.models.batch import FusionModel, InputSpec, Task

from ..errors import InvalidInput, StoreError
from ..store.layout import disk_error, read_json, write_json
from .catalogue import load_model_kind
from .run_folder import RunFolder, inputs_from_json, tasks_from_json

if TYPE_CHECKING:
    from .data import TrainingData

MODEL_NAME, OPTIMIZER_NAME, STATE_NAME = "model.safetensors", "optimizer.safetensors", "state.json"


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Give a new folder; on success it takes the place of ``path`` with all its files synced.

    Raises:
        StoreError: The disk is full or not writable.
    """
    new, old = _beside(path)
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        yield new
        for file in new.iterdir():
            _sync(file)
        _sync(new)
        if path.exists():
            os.rename(path, old)
        os.rename(new, path)
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, path) from error


def recover(path: Path) -> None:
    """Put a folder back in place that a killed process left between two renames."""
    new, old = _beside(path)
    if not path.exists() and old.exists():
        os.rename(old, path)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(new, ignore_errors=True)


def standing(path: Path) -> Path:
    """Return where a folder is, touching nothing: a training may be writing it at this moment."""
    _, old = _beside(path)
    return old if old.exists() and not path.exists() else path


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_model(folder: Path, model: nn.Module, state: Mapping[str, Any]) -> None:
    """Write weights and buffers, and ``state`` (JSON)."""
    _save_tensors(folder / MODEL_NAME, dict(model.state_dict()))
    write_json(folder / STATE_NAME, state)


def load_model(folder: Path, model: nn.Module) -> None:
    """Load weights and buffers.

    Raises:
        InvalidInput: The file is damaged, or of another architecture.
    """
    tensors = _load_tensors(folder / MODEL_NAME)
    try:
        model.load_state_dict(tensors)
    except (RuntimeError, KeyError) as error:
        cause = " ".join(str(error).split())[:300]
        raise InvalidInput(f"the weights in '{folder}' do not fit the model: {cause}") from None


def save_training(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Write all that a training goes on from, in place of what lay there before."""
    found = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, values in found["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    facts = {"groups": found["param_groups"], "numbers": numbers}
    with written_folder(folder) as new:
        save_model(new, model, {**state, "optimizer": facts})
        _save_tensors(new / OPTIMIZER_NAME, tensors)


def load_training(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Load what `save_training` wrote; return its ``state``.

    Raises:
        InvalidInput: A file is damaged or does not fit.
    """
    state = read_json(folder / STATE_NAME, ("optimizer", "position"))
    if state is None:
        raise InvalidInput(
            f"'{folder / STATE_NAME}' is damaged", "remove the seed's folder to start it again"
        )
    load_model(folder, model)
    values: dict[int, dict[str, Any]] = {
        int(index): dict(numbers) for index, numbers in state["optimizer"]["numbers"].items()
    }
    for name, tensor in _load_tensors(folder / OPTIMIZER_NAME).items():
        index, _, field = name.partition("/")
        values.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": values, "param_groups": state["optimizer"]["groups"]})
    return state


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        # Copies: the format refuses tensors that share memory.
        save_file({name: value.detach().cpu().clone() for name, value in tensors.items()}, path)
    except SafetensorError as error:
        # How the package says that the disk is full.
        raise OSError(str(error)) from error


def _load_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise InvalidInput(f"'{path}' cannot be read: {error}") from None
    return found


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """A trained model with what it was trained on.

    Attributes:
        model: In evaluation mode, on the CPU.
        tasks: What it predicts.
        inputs: Shape by role.
        fingerprints: By role, which feature it was trained on.
        record: `run.json`.
        state: The checkpoint's `state.json`.
        folder: The seed's folder.
    """

    model: FusionModel
    tasks: tuple[Task, ...]
    inputs: dict[str, InputSpec]
    fingerprints: dict[str, dict[str, Any]]
    record: dict[str, Any]
    state: dict[str, Any]
    folder: Path

    @property
    def roles(self) -> dict[str, str]:
        """Name of the feature of each role."""
        return {role: str(found["feature"]) for role, found in self.fingerprints.items()}

    def check(self, data: TrainingData, *, same_dataset: bool = True) -> None:
        """Refuse data whose features are not those the model was trained on.

        Args:
            data: Opened for evaluation or prediction.
            same_dataset: Whether fingerprints must be equal; those of other samples never are, so
                for new data shapes alone are compared.

        Raises:
            StoreError: Naming the first role that differs and what to do.
        """
        for role, spec in self.inputs.items():
            there = data.inputs.get(role)
            feature = self.roles.get(role, role)
            if there is None:
                raise StoreError(
                    f"the checkpoint needs '{role}' (feature {feature}), which these data lack",
                    f"pipeline run extract --features {feature}",
                )
            if tuple(there.shape) != tuple(spec.shape):
                raise StoreError(
                    f"'{role}' (feature {feature}): the checkpoint was trained on shape "
                    f"{tuple(spec.shape)}, these data have {tuple(there.shape)}",
                    "extract with the same extractor and profile, or train again",
                )
            if same_dataset:
                self._same_fingerprint(role, data.fingerprints[role])
        if unknown := sorted(set(data.inputs) - set(self.inputs)):
            raise StoreError(
                f"the checkpoint was trained without '{unknown[0]}', which these data have",
                "train again with it, or use data that lack it",
            )

    def _same_fingerprint(self, role: str, there: Mapping[str, Any]) -> None:
        trained = self.fingerprints[role]
        if trained["fingerprint"] != there["fingerprint"]:
            ours = f"{trained['feature']}@{trained['fingerprint']}"
            theirs = f"{there['feature']}@{there['fingerprint']}"
            raise StoreError(
                f"'{role}': the checkpoint was trained on {ours}, these data have {theirs}",
                f"use a store that has {ours}; see `pipeline features diff {ours} {theirs}`",
            )


def load_run(seed_folder: Path, which: Literal["best", "last"] = "best") -> LoadedRun:
    """Return a trained model.

    Args:
        seed_folder: ``<run>/seed-<number>``.
        which: Its best checkpoint on the validation split, or its last.

    Raises:
        StoreError: There is no such run or checkpoint, or it is damaged.
        InvalidInput: The weights do not fit the model.
    """
    record = RunFolder(seed_folder.parent).record()
    folder = standing(seed_folder / which)
    state = read_json(folder / STATE_NAME)
    if state is None:
        raise StoreError(
            f"'{seed_folder}' has no checkpoint '{which}'", "train it first, to the first epoch"
        )
    kind = load_model_kind(record["model"])
    tasks, inputs = tasks_from_json(record["tasks"]), inputs_from_json(record["inputs"])
    try:
        config = kind.config.model_validate(record["settings"]["model"])
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = f"'{seed_folder.parent}': this version does not know the model's '{field}'"
        raise StoreError(message, "use the version in run.json, or train again") from None
    model = kind.model(config, inputs, tasks)
    load_model(folder, model)
    return LoadedRun(
        model.eval(), tasks, inputs, record["fingerprints"], record, state, seed_folder
    )
