"""Stores written row by row, without a run: samples, features, commits, quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affectflow.pipeline.manifest import Manifest, Task
from affectflow.pipeline.records import Failure, FeatureSpec
from affectflow.pipeline.store.layout import SPEC_NAME, StoreLayout, write_json
from affectflow.pipeline.store.runs import RUN_NAME
from affectflow.pipeline.store.samples import SamplesTable, samples_schema, write_samples
from affectflow.pipeline.store.writer import ShardWriter, commit_path, write_quarantine

MANIFEST = Manifest(
    name="mini",
    title="A small made-up dataset",
    reader="table",
    licence="CC0-1.0",
    obtain="made by the tests",
    tasks={
        "mood": Task(classes=("sad", "glad")),
        "themes": Task(kind="multi", classes=("work", "food", "rain")),
        "strength": Task(kind="regression", range=(-3, 3)),
    },
    table={"path": "rows.csv", "columns": {"text": "caption"}},
)
FAILED = Failure("decode_error", "the picture is cut", "obtain it again")
ABSENT = Failure("no_image", "the sample has no image", status="absent")


def sample_row(key: str, split: str = "train", **more: Any) -> dict[str, Any]:
    """Return a row of the samples table."""
    row: dict[str, Any] = dict.fromkeys(samples_schema(MANIFEST.tasks).names)
    facts = {"key": key, "split": split, "text": f"caption of {key}", "status": "ok", "flags": []}
    return {**row, **facts, "group": key, **more}


def write_table(root: Path, rows: Sequence[dict[str, Any]], shard_rows: int = 4) -> SamplesTable:
    """Write a samples table."""
    return write_samples(StoreLayout(root), MANIFEST, rows, shard_rows, {})


@dataclass(frozen=True)
class Written:
    """A feature that was written."""

    layout: StoreLayout
    folder: Path
    table: SamplesTable


def write_feature(
    table: SamplesTable,
    spec: FeatureSpec,
    values: Mapping[str, np.ndarray | Failure],
    fingerprint: str = "0123456789abcdef",
    recipe: Mapping[str, Any] | None = None,
    shards: Sequence[int] | None = None,
) -> Written:
    """Write and commit a feature over all samples, or over some shards only."""
    layout = StoreLayout(table.path.parents[1])
    folder = layout.output("features", "mini", spec.name, fingerprint)
    facts = {
        "output": spec.to_json(),
        "dataset": "mini",
        "node": spec.name,
        "rows": "samples",
        "fingerprint": fingerprint,
        "recipe": dict(recipe or {"stage": "fake"}),
        "content": table.content,
        "samples": table.digest,
        "num_shards": len(table.shards),
        "warnings": [],
        "citation": "",
        "dataset_citation": "",
        "dataset_licence": "CC0-1.0",
    }
    write_json(folder / SPEC_NAME, facts)
    for shard in range(len(table.shards)) if shards is None else shards:
        failed = []
        with ShardWriter(folder, shard, spec) as writer:
            for key in table.table(shard, ["key"])["key"].to_pylist():
                value = values[key]
                writer.append(key, value)
                if isinstance(value, Failure) and value.status == "failed":
                    row = {"key": key, "output": spec.name, "class": value.code}
                    failed.append({**row, "message": value.message, "hint": value.hint})
        write_quarantine(layout.quarantine("mini", spec.name, fingerprint), shard, failed)
        commit = {"cell": f"{fingerprint}-{shard}", **writer.result, "upstream": {}}
        write_json(commit_path(folder, shard), commit)
    return Written(layout, folder, table)


def write_run(table: SamplesTable, nodes: Mapping[str, str], run: str = "20260101T000000") -> None:
    """Record a run that named these fingerprints."""
    layout = StoreLayout(table.path.parents[1])
    record = {"run": run, "samples": table.path.name, "nodes": dict(nodes), "state": "finished"}
    write_json(layout.runs / run / RUN_NAME, record)


def some_values(
    spec: FeatureSpec, keys: Sequence[str], holes: Mapping[str, Failure], seed: int = 0
) -> dict[str, np.ndarray | Failure]:
    """Return seeded values for keys, with failures where asked."""
    generator = np.random.default_rng(seed)
    found: dict[str, np.ndarray | Failure] = {}
    for key in keys:
        shape = [int(generator.integers(0, 5)) if size is None else size for size in spec.shape]
        array = generator.standard_normal(shape) * 50
        found[key] = holes.get(key, array.astype(spec.dtype))
    return found
