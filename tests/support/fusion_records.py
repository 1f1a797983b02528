"""Reading the reference outputs of original fusion models."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from support.shared import SHARED
from torch import Tensor

FOLDER = SHARED / "golden" / "fusion"


def record_names(pattern: str) -> list[str]:
    """Return the names of the records that match, none where there are no records."""
    return sorted(path.stem for path in FOLDER.glob(f"{pattern}.json"))


@functools.cache
def formula() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "formula_weights", FOLDER.parent / "formula_weights.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Record:
    """One recorded case: its facts and its arrays."""

    def __init__(self, name: str) -> None:
        self.facts: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        with np.load(FOLDER / f"{name}.npz") as file:
            self.arrays = dict(file)

    def state(self) -> dict[str, Tensor]:
        """Return the original's state dict, made by formula."""
        gain = self.facts["gain"]
        assert not self.facts["not_formula"]
        return {
            key: torch.from_numpy(formula().formula_array(key, tuple(shape), gain))
            for key, shape in self.facts["state_dict"]
        }

    def tensor(self, name: str) -> Tensor:
        """Return a stored array."""
        return torch.from_numpy(self.arrays[name])

    def made(self, described: Mapping[str, Any]) -> Tensor:
        """Return an input made by formula, after checking its digest."""
        values = formula().formula_input(
            described["name"], tuple(described["shape"]), described["low"], described["high"]
        )
        digest = hashlib.sha256(values.tobytes()).hexdigest()
        assert digest == described["check"]["sha256_float32_bytes"]
        return torch.from_numpy(values)

    def compare(self, name: str, ours: Tensor) -> float:
        """Check an array against the record; return difference / tolerance."""
        recorded = self.tensor(name)
        assert ours.shape == recorded.shape, f"{name}: {ours.shape} is not {recorded.shape}"
        difference = float((ours.detach() - recorded).abs().max())
        allowed = self.facts["tolerance"]["atol"][name]
        assert difference <= allowed, f"{name}: off by {difference:.2e}, allowed {allowed:.0e}"
        return difference / allowed
