"""The folder of a run: named by what is trained on what, so the same command finds it again."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from affectflow.models.batch import FusionModel, InputSpec, Task

from ..config import digest
from ..errors import StoreError
from ..store.layout import read_json, write_json
from . import standardization
from .standardization import Statistics

if TYPE_CHECKING:
    from .data import TrainingData
    from .settings import Settings

RUN_NAME, LOCK_NAME = "run.json", ".lock"
FORMAT = 1
_PACKAGES = ("affectflow", "torch", "numpy", "pyarrow", "safetensors")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run, and its record."""

    path: Path

    @classmethod
    def of(cls, runs: Path, settings: Settings, data: TrainingData) -> RunFolder:
        """Return the folder of these settings over these data."""
        name = digest({"settings": settings.identity(data.tasks), "data": data.digest})
        return cls(runs / settings.data.dataset / f"{settings.kind.name}-{name}")

    @property
    def begun(self) -> bool:
        """Whether the run was ever begun."""
        return (self.path / RUN_NAME).is_file()

    def seed(self, seed: int) -> Path:
        """Return the folder of a seed."""
        return self.path / f"seed-{seed}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training this run at the same time.

        Raises:
            StoreError: One does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK_NAME).open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"another process is training '{self.path.name}'"
                raise StoreError(message, "wait for it, or change a setting") from None
            yield

    def record(self) -> dict[str, Any]:
        """Return what `run.json` holds.

        Raises:
            StoreError: There is none, or it is damaged or of another version.
        """
        found = read_json(self.path / RUN_NAME, ("format", "model", "settings", "tasks", "inputs"))
        if found is None:
            hint = "pass the folder that `pipeline train` printed"
            raise StoreError(f"'{self.path}' is no run of `pipeline train`", hint)
        if found["format"] != FORMAT:
            got = f"'{self.path.name}' has run format {found['format']}, expected {FORMAT}"
            raise StoreError(got, "train again with this version")
        return found

    def statistics(self, roles: Sequence[str]) -> dict[str, Statistics] | None:
        """Return what the features of these roles are standardized with; None if not known yet.

        A file that cannot be read counts as none: the training measures again.
        """
        try:
            return standardization.read(self.path, roles)
        except StoreError:
            return None

    def begin(
        self, settings: Settings, data: TrainingData, monitor: str, world: int
    ) -> dict[str, Any]:
        """Write `run.json`, keeping what seeds that were trained before left in it."""
        before = read_json(self.path / RUN_NAME) or {}
        record = {
            "format": FORMAT,
            "model": settings.kind.name,
            "preset": settings.preset,
            "settings": settings.to_json(),
            "tasks": [task_to_json(task) for task in data.tasks],
            "inputs": {role: list(spec.shape) for role, spec in data.inputs.items()},
            "fingerprints": data.fingerprints,
            "data": {"digest": data.digest, "samples": data.samples, "counts": data.counts},
            "monitor": monitor,
            "command": sys.argv,
            "versions": _versions(),
            "hardware": hardware(world),
            "parameters": before.get("parameters", {}),
            "seeds": before.get("seeds", {}),
            # How often the test split was read for this run; training again does not undo it.
            "test_access": before.get("test_access", {"count": 0}),
        }
        if data.statistics and self.statistics(list(data.statistics)) is None:
            standardization.write(self.path, data.statistics)
        write_json(self.path / RUN_NAME, record)
        return record

    def update(self, **facts: Any) -> None:
        """Put facts into `run.json`; mappings are merged."""
        record = self.record()
        for name, value in facts.items():
            old = record.get(name)
            if isinstance(old, dict) and isinstance(value, Mapping):
                value = {**old, **value}
            record[name] = value
        write_json(self.path / RUN_NAME, record)


def task_to_json(task: Task) -> dict[str, Any]:
    """Return a task as JSON."""
    return {**task._asdict(), "classes": list(task.classes)}


def tasks_from_json(values: Sequence[Mapping[str, Any]]) -> tuple[Task, ...]:
    """Return tasks of their JSON."""
    return tuple(Task(**{**value, "classes": tuple(value["classes"])}) for value in values)


def inputs_from_json(values: Mapping[str, Sequence[int | None]]) -> dict[str, InputSpec]:
    """Return input shapes of their JSON."""
    return {role: InputSpec(tuple(shape)) for role, shape in values.items()}


def parameter_counts(model: FusionModel) -> dict[str, Any]:
    """Return how many parameters a model has: all, trainable, and by direct part."""
    return {
        "total": sum(parameter.numel() for parameter in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "parts": {
            name: sum(parameter.numel() for parameter in part.parameters())
            for name, part in model.named_children()
        },
    }


def feature_warnings(fingerprints: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what the stores say of the features that are trained on, each once."""
    found = (message for one in fingerprints.values() for message in one.get("warnings", ()))
    return list(dict.fromkeys(found))


def hardware(world: int) -> dict[str, Any]:
    """Return what a training runs on."""
    found: dict[str, Any] = {"machine": platform.machine(), "cpus": os.cpu_count(), "ranks": world}
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # Run from a checkout that is not installed.
            continue
    return found
