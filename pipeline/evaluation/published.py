"""Numbers that others published, kept apart from ours and always shown with their source.

They are data: ``published_numbers/<dataset>.yaml``. GloVe and BERT are in different tables, and the
source names the encoder; where frozen and fine-tuned ones stand side by side, a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from ..config import Config, parse

FOLDER = Path(__file__).resolve().parent / "published_numbers"


class PublishedTable(Config):
    """One published table.

    Attributes:
        title: What it is.
        source: Where the numbers stand.
        mark: How sure we are that they stand there so.
        metric: What was measured, and the unit: shares in percent, errors and correlations plain.
        columns: Tasks, or metrics of the one task.
        rows: Method to one number per column; None where none was given.
        task: The one task, by its name in a run; empty where the columns are tasks.
        note: What a reader must know before comparing.
    """

    title: str
    source: str = Field(min_length=1)
    mark: str = Field(min_length=1)
    metric: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    task: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _rectangular(self) -> PublishedTable:
        for name, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(f"row '{name}' has {len(values)} values, not {len(self.columns)}")
        return self

    def origin(self) -> str:
        """Return source, mark, task and metric as sentences."""
        task = f" Task: {self.task}." if self.task else ""
        return f"Source: {self.source} ({self.mark}).{task} Metric: {self.metric}."

    def printed(self) -> dict[str, tuple[str, ...]]:
        """Return the rows as text: in a column all numbers have the decimals of the longest."""
        columns = list(zip(*self.rows.values(), strict=True))
        decimals = [max(map(_decimals, column)) for column in columns]
        return {
            name: tuple(
                "–" if value is None else f"{value:.{places}f}"
                for value, places in zip(values, decimals, strict=True)
            )
            for name, values in self.rows.items()
        }

    def markdown(self) -> str:
        """Return the table under a heading that says that it is published, with its source."""
        lines = [f"#### Published, not measured here: {self.title}", "", self.origin()]
        lines += [self.note] if self.note else []
        lines += ["", "| method | " + " | ".join(self.columns) + " |"]
        lines.append("|---|" + "---:|" * len(self.columns))
        for name, cells in self.printed().items():
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON values, marked as published."""
        return {"published": True, **self.model_dump(mode="json")}


def _decimals(value: float | None) -> int:
    return 0 if value is None else len(f"{value:g}".partition(".")[2])


class _File(Config):
    tables: tuple[PublishedTable, ...]


def published(dataset: str) -> tuple[PublishedTable, ...]:
    """Return the published tables of a dataset; none where no file fits its name.

    A name that goes on as the files of imports do fits too: ``mosi_unaligned_50`` has the numbers
    of ``mosi``. Nothing else does: ``sims_v2`` is not ``sims``.

    Raises:
        ConfigError: The file does not validate.
    """
    path = _file_of(dataset)
    if path is None:
        return ()
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return parse(_File, values, f"published numbers of '{path.stem}'").tables


def _file_of(dataset: str) -> Path | None:
    # As the files of imports are called: mosi_unaligned_50. A ``sims_v2`` is no ``sims``.
    name = re.sub(r"_(un)?aligned_\d+$", "", dataset)
    path = FOLDER / f"{name}.yaml"
    return path if path in FOLDER.glob("*.yaml") else None
