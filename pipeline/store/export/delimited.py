"""``values.csv``: one line per row, for spreadsheets and scripts.

Small fixed shapes get one column per number, named by the feature's own column names or ``v0``,
``v1`` … in C order; ragged and large ones a column ``value`` with JSON. Numbers are written so that
they read back exactly; cells of rows without a value are empty.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np

from ...records import FeatureSpec
from .source import HEAD, ExportSource

MAX_COLUMNS = 4096


def write(source: ExportSource, folder: Path) -> None:
    """Write one feature."""
    names = value_columns(source.spec)
    with open(folder / "values.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*HEAD, *(names or ["value"])])
        for batch in source.batches():
            for index, row in enumerate(batch.rows):
                head = batch.head(index).values()
                table.writerow([*head, *_cells(row.value, len(names))])


def value_columns(spec: FeatureSpec) -> list[str]:
    """Return the names of the columns of a small fixed shape, else none."""
    if spec.ragged:
        return []
    size = math.prod(int(side or 0) for side in spec.shape)
    if size > MAX_COLUMNS:
        return []
    if len(spec.shape) == 1 and len(spec.columns) == size:
        return list(spec.columns)
    return [f"v{index}" for index in range(size)]


def _cells(value: np.ndarray | None, num_columns: int) -> list[str | float | int]:
    if value is None:
        return [""] * max(1, num_columns)
    if num_columns:
        numbers: list[float | int] = value.ravel().tolist()
        return list(numbers)
    return [json.dumps(value.tolist())]
