"""Numbers that others published, kept apart from ours; data lie in data_manifests/published/."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from pydantic import Field, ValidationError, model_validator

from ..config import Config
from ..errors import ManifestError
from ..manifest import MANIFEST_FOLDER


class PublishedRow(Config):
    """One method: a value per column, None where none was published."""

    method: str
    values: tuple[float | None, ...]


class MajorityRow(Config):
    """What always saying the largest class gives, in the unit of the table."""

    title: str
    values: tuple[float | None, ...]


class PublishedTable(Config):
    """One published table.

    Attributes:
        title: What it shows.
        source: Where it was printed.
        metric: Name of the metric as used here.
        printed_as: Its name in the source, with the unit.
        note: What a reader must know before comparing.
        columns: Heads of the columns.
        rows: Methods.
        majority: Baseline in the same unit.
    """

    title: str
    source: str
    metric: str
    printed_as: str
    note: str = ""
    columns: tuple[str, ...] = Field(min_length=1)
    rows: tuple[PublishedRow, ...] = Field(min_length=1)
    majority: MajorityRow | None = None

    @model_validator(mode="after")
    def _full_rows(self) -> PublishedTable:
        found: Sequence[PublishedRow | MajorityRow] = self.rows
        for row in (*found, *([self.majority] if self.majority else [])):
            if len(row.values) != len(self.columns):
                raise ValueError(f"{len(row.values)} values for {len(self.columns)} columns")
        return self


class Published(Config):
    """Everything published on one dataset."""

    dataset: str
    tables: tuple[PublishedTable, ...]


def published_on(dataset: str) -> tuple[PublishedTable, ...]:
    """Return the published tables of a dataset; empty where there are none.

    Raises:
        ManifestError: The file does not validate.
    """
    path = MANIFEST_FOLDER / "published" / f"{dataset}.yaml"
    # A dataset's name has been validated, but it may also be a path to a manifest of one's own.
    if "/" in dataset or not path.is_file():
        return ()
    try:
        return Published.model_validate(yaml.safe_load(path.read_text("utf-8"))).tables
    except (yaml.YAMLError, ValidationError) as error:
        raise ManifestError(f"'{path.name}' of the published numbers: {error}") from None
