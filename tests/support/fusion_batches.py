"""Synthetic inputs for any fusion model, made from the roles that it says it has."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from affectflow.models.batch import (
    FeatureBatch,
    FusionBatch,
    FusionModel,
    FusionOutput,
    InputSpec,
    ModelConfig,
    Task,
)

MODELS = Path(__file__).resolve().parents[2] / "models"
MODEL_FILE = re.compile(r"^(ROLES\b|from .*\bROLES\b|    ROLES,$)", re.MULTILINE)

TASKS = (
    Task("sentiment", "classification", ("negative", "neutral", "positive")),
    Task("tags", "multilabel", ("a", "b", "c", "d")),
    Task("strength", "regression", low=-3.0, high=3.0),
)

# Small shapes for the roles there are; None is the ragged axis.
SPECS = {
    "tokens": InputSpec((None, 12)),
    "regions": InputSpec((9, 10)),
    "e_img": InputSpec((8,)),
    "e_txt": InputSpec((8,)),
    "extra": InputSpec((784,)),
    "text": InputSpec((None, 12)),
    "audio": InputSpec((None, 5)),
    "vision": InputSpec((None, 7)),
}

# What makes a published size small enough for a test, by model.
SMALL: dict[str, dict[str, Any]] = {
    "mm_orient": {"mlc": {"hidden": [24, 16]}},
    "feature_fusion": {"hidden": [24, 16]},
    "mult": {"width": 12, "heads": 3, "levels": 2, "min_self_levels": 1},
}


def model_names() -> dict[str, str]:
    """Return name → module path below ``affectflow.models``, from a listing of the folders."""
    found = {}
    for folder in ("", "baselines"):
        place = MODELS / folder
        for path in sorted([*place.glob("*.py"), *place.glob("*/__init__.py")]):
            name = path.parent.name if path.stem == "__init__" else path.stem
            if MODEL_FILE.search(path.read_text(encoding="utf-8")):
                found[name] = ".".join(part for part in (folder, name) if part)
    return found


def model_module(name: str) -> ModuleType:
    return importlib.import_module(f"affectflow.models.{model_names()[name]}")


def presets() -> list[tuple[str, str]]:
    """Return every (model, preset)."""
    return [(name, preset) for name in model_names() for preset in model_module(name).PRESETS]


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings with some values replaced."""
    out = dict(base)
    for key, value in changes.items():
        inner = out.get(key)
        is_nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
        out[key] = merged(inner, value) if is_nested else value
    return out


def small_config(name: str, preset: str, changes: Mapping[str, Any] | None = None) -> ModelConfig:
    """Return a preset at the size of a test."""
    module = model_module(name)
    config = module.PRESETS[preset]()
    values = merged(config.model_dump(mode="json"), SMALL.get(name, {}))
    return module.Config.model_validate(merged(values, changes or {}))


def inputs_of(name: str, without: Sequence[str] = ()) -> dict[str, InputSpec]:
    return {role: SPECS[role] for role in model_module(name).ROLES if role not in without}


def small_model(
    name: str,
    preset: str,
    tasks: Sequence[Task] = TASKS,
    changes: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
) -> FusionModel:
    """Return a model with seeded random weights, in evaluation mode."""
    torch.manual_seed(11)
    config = small_config(name, preset, changes)
    return model_module(name).Model(config, inputs_of(name, without), tasks).eval()


def example_lengths(
    inputs: Mapping[str, InputSpec], num: int, seed: int = 0, lowest: int = 1
) -> dict[str, list[int]]:
    """Return valid lengths by role: 1 for vectors, up to 11 where ragged, up to K where fixed."""
    generator = torch.Generator().manual_seed(seed)
    lengths = {}
    for role, spec in inputs.items():
        if len(spec.shape) == 1:
            lengths[role] = [1] * num
        else:
            longest = spec.shape[0] or 11
            low = min(lowest, longest)
            draw = torch.randint(low, longest + 1, (num,), generator=generator)
            lengths[role] = draw.tolist()
    return lengths


def make_feature(
    spec: InputSpec, lengths: Sequence[int], generator: torch.Generator, longest: int
) -> FeatureBatch:
    counts = torch.tensor(lengths, dtype=torch.int64)
    if len(spec.shape) == 1:
        values = torch.randn(len(counts), *spec.shape, generator=generator)
        return FeatureBatch(values * (counts > 0)[:, None], counts, "fixed")
    steps = spec.shape[0] or longest
    values = torch.zeros(len(counts), steps, *spec.shape[1:])
    for row, count in enumerate(lengths):
        values[row, :count] = torch.randn(count, *spec.shape[1:], generator=generator)
    return FeatureBatch(values, counts, "padded" if spec.shape[0] is None else "fixed")


def make_labels(
    tasks: Sequence[Task], num: int, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    labels = {}
    for task in tasks:
        if task.kind == "classification":
            drawn = torch.randint(0, len(task.classes), (num,), generator=generator)
        elif task.kind == "multilabel":
            drawn = torch.randint(0, 2, (num, len(task.classes)), generator=generator).float()
        else:
            drawn = torch.randn(num, generator=generator)
        labels[task.name] = drawn
    return labels


def make_batch(
    inputs: Mapping[str, InputSpec],
    lengths: Mapping[str, Sequence[int]],
    tasks: Sequence[Task] = TASKS,
    seed: int = 0,
    extra_padding: int = 0,
) -> FusionBatch:
    """Return a batch of random features and labels.

    Args:
        inputs: Shape per sample of each role.
        lengths: Valid entries by role, one number per sample; 0 is a missing modality.
        tasks: What the labels are of.
        seed: Values depend on it, the role and the lengths, not on the padding.
        extra_padding: Zeros appended to ragged features beyond the longest sample.
    """
    num = len(next(iter(lengths.values())))
    features = {}
    for number, (role, spec) in enumerate(inputs.items()):
        generator = torch.Generator().manual_seed(1000 * seed + number)
        longest = max(*lengths[role], 1) if num > 1 else max(lengths[role][0], 1)
        features[role] = make_feature(spec, lengths[role], generator, longest + extra_padding)
    labels = make_labels(tasks, num, torch.Generator().manual_seed(seed))
    keys = tuple(f"key-{row}" for row in range(num))
    return FusionBatch(keys, features, labels, torch.arange(num))


def packed(batch: FusionBatch) -> FusionBatch:
    """Return the same batch with its ragged features packed."""
    features = {
        role: feature.packed() if feature.layout == "padded" else feature
        for role, feature in batch.features.items()
    }
    return replace(batch, features=features)


def lacking(batch: FusionBatch, role: str, rows: Sequence[int]) -> FusionBatch:
    """Return the batch without one modality in some rows."""
    feature = batch.features[role]
    values, lengths = feature.values.clone(), feature.lengths.clone()
    values[list(rows)] = 0
    lengths[list(rows)] = 0
    features = {**batch.features, role: FeatureBatch(values, lengths, feature.layout)}
    return replace(batch, features=features)


def some_loss(output: FusionOutput) -> torch.Tensor:
    """Return a scalar that every logit and penalty has a part in."""
    total = sum((logits**2).sum() + logits.sum() for logits in output.logits.values())
    return total + sum(output.penalties.values())
