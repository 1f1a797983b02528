"""Recorded outputs of the authors' MulT and of MMSA's: weights by formula, original names."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from support.shared import SHARED
from torch import Tensor

from affectflow.models import mult
from affectflow.models.batch import FeatureBatch, FusionBatch, InputSpec, Task

RECORDS = SHARED / "golden" / "fusion"


class Record:
    """One recorded case."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text())
        self.arrays = dict(np.load(RECORDS / f"{name}.npz"))

    @property
    def state(self) -> dict[str, Tensor]:
        """Return the original's state dict."""
        gain = self.facts["gain"]
        found = {
            key: torch.from_numpy(formula().formula_array(key, shape, gain))
            for key, shape in self.facts["state_dict"]
        }
        fixed = {"version": torch.tensor([2.0]), "_float_tensor": torch.tensor([0.0])}
        return {key: fixed.get(key.rpartition(".")[2], value) for key, value in found.items()}

    def input(self, name: str) -> Tensor:
        """Return an input, (batch, time, channel)."""
        return made(self.facts["inputs"][name])

    def check(self, name: str, ours: Tensor) -> None:
        """Assert that an array is within the record's tolerance."""
        recorded = self.arrays[name]
        assert tuple(ours.shape) == recorded.shape, name
        difference = np.abs(ours.detach().numpy() - recorded).max()
        assert difference <= self.facts["tolerance"]["atol"][name], f"{name}: {difference:.2e}"

    def time_indices(self, key: str) -> dict[str, list[int]]:
        """Return which time steps of each modality were stored."""
        found = re.search(r"\{.*\}", self.facts["array_index"][key])
        assert found is not None
        value: dict[str, list[int]] = json.loads(found.group())
        return value


@functools.cache
def formula() -> Any:
    """Return the module that makes weights from names."""
    path = SHARED / "golden" / "formula_weights.py"
    spec = importlib.util.spec_from_file_location("formula_weights_of_mult", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(rule: Mapping[str, Any]) -> Tensor:
    """Return an array that a record describes, its bytes checked."""
    values = formula().formula_input(rule["name"], tuple(rule["shape"]), rule["low"], rule["high"])
    for sample, length in enumerate(rule.get("lengths", ())):
        assert rule["pad_side"] == "right"
        values[sample, length:] = 0
    for sample, step in rule.get("zero_rows", ()):
        values[sample, step] = 0
    for sample, step in rule.get("zero_channel0", ()):
        values[sample, step, 0] = 0
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    assert digest == rule["check"]["sha256_float32_bytes"]
    return torch.from_numpy(values)


def whole_model(record: Record) -> tuple[mult.Model, FusionBatch]:
    """Return our model of a whole-model record with its weights, and its batch."""
    given = record.facts["constructor"]
    if "args" in given:
        config, names, outputs = _of_mmsa(record.name, given["args"]), mult.ROLES, 1
    else:
        letters = {role: f"x_{letter}" for role, letter in mult.LETTERS.items()}
        config, names, outputs = _of_authors(given), letters, given["output_dim"]
    values = {role: record.input(names[role] if "args" not in given else role) for role in names}
    inputs = {role: InputSpec((None, value.shape[2])) for role, value in values.items()}
    model = mult.Model(config, inputs, tasks_of(outputs)).eval()
    mult.load_original(model, record.state)
    features = {
        role: FeatureBatch(value, torch.full((len(value),), value.shape[1]), "padded")
        for role, value in values.items()
    }
    keys = tuple(str(row) for row in range(len(values["text"])))
    return model, FusionBatch(keys, features)


def tasks_of(outputs: int) -> list[Task]:
    """Return a regression, or the four pairs of IEMOCAP."""
    if outputs == 1:
        return [Task("sentiment", "regression")]
    emotions = ("neutral", "happy", "sad", "angry")
    return [Task(emotion, classes=("no", "yes")) for emotion in emotions]


def _of_authors(given: Mapping[str, Any]) -> mult.Config:
    targets = tuple(role for role, letter in mult.LETTERS.items() if given[f"{letter}only"])
    changes = {
        "heads": given["num_heads"],
        "levels": given["layers"],
        "future_mask": given["attn_mask"],
        "targets": targets,
    }
    return mult.original().model_copy(update=changes)


def _of_mmsa(name: str, given: Mapping[str, Any]) -> mult.Config:
    preset = mult.mmsa() if "mosi" in name else mult.mmsa_mosei()
    assert [preset.width, preset.heads] == given["dst_feature_dim_nheads"]
    assert preset.levels == given["nlevels"]
    return preset.model_copy(update={"future_mask": given["attn_mask"]})
