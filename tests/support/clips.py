"""Recordings cut into intervals by a table, and rows for extractors that read such clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from affectflow.pipeline.manifest import Manifest
from affectflow.pipeline.records import Row, Sample

Interval = tuple[float | None, float | None]


def clip_rows(root: Path, audio: str, intervals: Sequence[Interval]) -> list[Row]:
    """Return one row per interval of a recording below ``root``."""
    return [
        Row(Sample(key=f"c{i}", split="train", audio=audio, start_s=start, end_s=end), root)
        for i, (start, end) in enumerate(intervals)
    ]


def clip_manifest(path: Path) -> Manifest:
    """Write and return the manifest of a table ``clips.csv`` with intervals of recordings."""
    values: dict[str, Any] = {
        "name": "clips",
        "title": "Clips",
        "reader": "table",
        "licence": "mine",
        "obtain": "made by the tests",
        "modalities": ["audio"],
        "table": {
            "path": "clips.csv",
            "columns": {"audio": "file", "start_s": "from", "end_s": "to"},
        },
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return Manifest.model_validate(values)


def noisy_voice(seconds: float, rate: int = 16_000) -> np.ndarray:
    """Return a buzz that changes its pitch, with pauses, so that no two parts are alike."""
    time = np.arange(int(seconds * rate)) / rate
    phase = np.cumsum(130 + 40 * np.sin(time)) / rate
    voice = sum(np.cos(2 * np.pi * k * phase) / k for k in range(1, 20))
    noise = np.random.default_rng(7).standard_normal(len(time))
    return np.asarray(0.08 * voice * (time % 1.3 < 0.9) + 0.001 * noise)
