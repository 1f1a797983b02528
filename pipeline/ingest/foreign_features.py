"""The features of an import, written into a store with spec and commit records."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import digest
from ..errors import DatasetError
from ..foreign._parsed import ForeignFeature, Parsed
from ..manifest import Manifest
from ..records import Failure
from ..stage import library_version
from ..store.layout import SPEC_NAME, StoreLayout, part_name, read_commit, write_json
from ..store.samples import SamplesTable
from ..store.spec import cell_digest, fingerprint_of
from ..store.writer import ShardWriter, as_value, commit_path

_DROPPED = Failure("dropped", "the sample is not to be used", status="absent")

Progress = Callable[[str], None]


def value_of(feature: ForeignFeature, index: int, status: str) -> np.ndarray | Failure:
    """Return the value of a row; a sample that was dropped has none."""
    return _DROPPED if status == "dropped" else feature.value(index)


@dataclass(slots=True)
class FeatureWriter:
    """Writes the features of one import, shard by shard; what is committed stays.

    Attributes:
        layout: The store.
        table: The samples table, already there.
        parsed: What the files hold.
        recipe: What affects the values.
        facts: What `_spec.json` says under ``import``.
        progress: Told about every feature.
    """

    layout: StoreLayout
    table: SamplesTable
    parsed: Parsed
    recipe: Mapping[str, Any]
    facts: dict[str, Any]
    progress: Progress

    @property
    def fingerprint(self) -> str:
        """Fingerprint of all features of the import."""
        return fingerprint_of(digest(self.recipe), self.table.content)

    def run(self) -> int:
        """Write what is missing; return how many shards that were."""
        recipe_digest, fingerprint = digest(self.recipe), self.fingerprint
        written = 0
        dataset = self.table.dataset
        for feature in self.parsed.features:
            name = feature.spec.name
            folder = self.layout.output("features", dataset, name, fingerprint)
            write_json(folder / SPEC_NAME, self._spec(feature, fingerprint))
            start = 0
            for shard, about in enumerate(self.table.shards):
                cell = cell_digest(recipe_digest, str(about["content"]))
                rows = range(start, start + int(about["rows"]))
                start = rows.stop
                if not _committed(folder, shard, cell):
                    self._write(folder, shard, cell, feature, rows)
                    written += 1
            self.progress(f"{name}: {len(self.table.shards)} shards")
        return written

    def _write(
        self, folder: Path, shard: int, cell: str, feature: ForeignFeature, rows: range
    ) -> None:
        begin = time.perf_counter()
        with ShardWriter(folder, shard, feature.spec) as writer:
            for index in rows:
                row = self.parsed.rows[index]
                value = as_value(value_of(feature, index, row.status), feature.spec)
                if isinstance(value, Failure) and value.status == "failed":
                    raise DatasetError(f"'{row.key}': {value.message}", "please report this")
                writer.append(row.key, value)
            # From here to the new commit the shard counts as missing, whatever happens.
            commit_path(folder, shard).unlink(missing_ok=True)
        record = {
            "cell": cell,
            **writer.result,
            "upstream": {},
            "seconds": {"total": round(time.perf_counter() - begin, 3)},
            "computed": len(rows),
            "attempt": 1,
            "runtime": {"machine": platform.machine(), "python": platform.python_version()},
            "versions": {n: library_version(n) for n in ("affectflow", "pyarrow", "numpy")},
        }
        write_json(commit_path(folder, shard), record)

    def _spec(self, feature: ForeignFeature, fingerprint: str) -> dict[str, Any]:
        manifest: Manifest = Manifest.model_validate(self.table.info["manifest"])
        total = feature.treated.total
        warnings = [f"{total} values were not finite and are 0"] if total else []
        return {
            "output": feature.spec.to_json(),
            "dataset": self.table.dataset,
            "node": self.recipe["stage"],
            "rows": "samples",
            "fingerprint": fingerprint,
            "recipe": dict(self.recipe),
            "content": self.table.content,
            "samples": self.table.digest,
            "num_shards": len(self.table.shards),
            "warnings": warnings,
            "citation": manifest.citation,
            "dataset_citation": manifest.citation,
            "dataset_licence": manifest.licence,
            "import": self.facts,
        }


def _committed(folder: Path, shard: int, cell: str) -> bool:
    commit = read_commit(commit_path(folder, shard))
    part = folder / part_name(shard)
    if commit is None or commit["cell"] != cell or not part.is_file():
        return False
    return bool(part.stat().st_size == commit["bytes"])
