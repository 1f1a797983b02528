"""Numbers that others published, kept apart from ours and always shown with their source.

They are data: ``published_numbers/<dataset>.yaml``.
"""

from __future__ import annotations

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
        metric: What was measured, and the unit.
        columns: Tasks.
        rows: Method to one number per column; None where none was given.
        note: What a reader must know before comparing.
    """

    title: str
    source: str = Field(min_length=1)
    mark: str = Field(min_length=1)
    metric: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    note: str = ""

    @model_validator(mode="after")
    def _rectangular(self) -> PublishedTable:
        for name, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(f"row '{name}' has {len(values)} values, not {len(self.columns)}")
        return self

    def markdown(self) -> str:
        """Return the table under a heading that says that it is published, with its source."""
        lines = [f"#### Published, not measured here: {self.title}", ""]
        lines += [f"Source: {self.source} ({self.mark}). Metric: {self.metric}."]
        lines += [self.note] if self.note else []
        lines += ["", "| method | " + " | ".join(self.columns) + " |"]
        lines.append("|---|" + "---:|" * len(self.columns))
        for name, values in self.rows.items():
            cells = ("–" if value is None else f"{value:.2f}" for value in values)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON values, marked as published."""
        return {"published": True, **self.model_dump(mode="json")}


class _File(Config):
    tables: tuple[PublishedTable, ...]


def published(dataset: str) -> tuple[PublishedTable, ...]:
    """Return the published tables of a dataset; none where there is no file.

    Raises:
        ConfigError: The file does not validate.
    """
    known = {path.stem: path for path in FOLDER.glob("*.yaml")}
    if dataset not in known:
        return ()
    values = yaml.safe_load(known[dataset].read_text(encoding="utf-8"))
    return parse(_File, values, f"published numbers of '{dataset}'").tables
