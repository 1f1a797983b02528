"""Reading recorded metric values, and tasks to compute metrics of."""

from __future__ import annotations

import functools
import importlib.util
import json
from typing import Any, NamedTuple

import numpy as np
from support.shared import SHARED

FOLDER = SHARED / "golden" / "fusion"
HAS_RECORDS = (FOLDER / "metrics_f1.json").exists()


class Task(NamedTuple):
    """Stands in for `models.batch.Task`, which needs torch."""

    name: str
    kind: str = "classification"
    classes: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def num_outputs(self) -> int:
        return 1 if self.kind == "regression" else len(self.classes)


@functools.cache
def record(name: str) -> dict[str, Any]:
    """Return one recorded family, an empty one where there are no records."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def cases(name: str, part: str) -> list[str]:
    """Return the names of the cases of a part."""
    return sorted(record(name).get(part, {}))


def vectors(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction of a regression case, float32."""
    if isinstance(case["truth"], str):
        return _drawn()
    return tuple(  # type: ignore[return-value]
        np.array([float(value) for value in case[part]], np.float32)
        for part in ("truth", "prediction")
    )


def number(value: Any) -> float:
    """Return a recorded number; NaN and infinities are recorded as text."""
    return float(value)


def _drawn() -> tuple[np.ndarray, np.ndarray]:
    spec = importlib.util.spec_from_file_location(
        "formula_weights", FOLDER.parent / "formula_weights.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    base = module.formula_input("metrics:dev:big", (2000,), -3, 3)
    prediction = base + module.formula_input("metrics:dev:bige", (2000,), -1, 1)
    return (np.round(base * np.float32(3)) / np.float32(3)).astype(np.float32), prediction


def one_hot(codes: np.ndarray, classes: int) -> np.ndarray:
    """Return logits whose largest entry is the code."""
    return np.eye(classes, dtype=np.float32)[np.asarray(codes, int)]
