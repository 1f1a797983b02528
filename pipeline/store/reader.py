"""Reading committed features and tables; uncommitted files are never seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import StoreError
from ..records import FeatureSpec
from .layout import SPEC_NAME, StoreLayout, part_name, read_json, read_spec
from .parquet import read_part


@dataclass(frozen=True)
class OutputFolder:
    """One feature or table under one fingerprint.

    Attributes:
        path: Its folder.
        room: ``features`` or ``tables``.
    """

    path: Path
    room: str

    @property
    def name(self) -> str:
        """Feature or node name."""
        return self.path.parent.name

    @property
    def dataset(self) -> str:
        """Dataset name."""
        return self.path.parent.parent.name

    @property
    def fingerprint(self) -> str:
        """Fingerprint."""
        return self.path.name

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The content of `_spec.json`."""
        value = read_spec(self.path / SPEC_NAME)
        if value is None:
            raise StoreError(f"'{self.path}' has no readable {SPEC_NAME}", "run extract again")
        return value

    @cached_property
    def feature(self) -> FeatureSpec:
        """The feature's spec; an error for tables."""
        return FeatureSpec.from_json(self.spec["output"])

    @cached_property
    def commits(self) -> dict[int, dict[str, Any]]:
        """Commit records by shard."""
        return dict(sorted(_commits(self.path)))

    @property
    def shards(self) -> list[int]:
        """Shards that are committed now, by their names alone."""
        paths = self.path.glob("part-*.commit.json")
        return sorted(int(path.name[5 : -len(".commit.json")]) for path in paths)

    @property
    def num_shards(self) -> int:
        """Shards the samples have; committed ones may be fewer."""
        return int(self.spec["num_shards"])

    def counts(self) -> dict[str, int]:
        """Return rows by status over all committed shards."""
        total = {"ok": 0, "absent": 0, "failed": 0}
        for commit in self.commits.values():
            for status, number in commit.get("rows", {}).items():
                total[status] += number
        return total

    def parts(self) -> list[Path]:
        """Return the committed part files in shard order."""
        return [self.path / part_name(shard) for shard in self.commits]

    def table(self, shard: int, columns: list[str] | None = None) -> pa.Table:
        """Return the table of one committed shard."""
        if shard not in self.commits:
            raise StoreError(f"{self.name}: shard {shard} is not committed", "run extract again")
        return read_part(self.path / part_name(shard), columns)


def _commits(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for path in folder.glob("part-*.commit.json"):
        value = read_json(path)
        if value is not None:
            yield int(path.name[5 : -len(".commit.json")]), value


def list_outputs(layout: StoreLayout, room: str, dataset: str | None = None) -> list[OutputFolder]:
    """Return every output in a room of a store, sorted by dataset, name and fingerprint."""
    base = layout.root / room
    pattern = f"{dataset or '*'}/*/*/{SPEC_NAME}"
    return [OutputFolder(path.parent, room) for path in sorted(base.glob(pattern))]
