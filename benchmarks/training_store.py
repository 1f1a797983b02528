"""A store of any size to load batches from: one feature, one task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affectflow.pipeline.manifest import Manifest, Task
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store.layout import SPEC_NAME, StoreLayout, write_json
from affectflow.pipeline.store.samples import samples_schema, write_samples
from affectflow.pipeline.store.writer import ShardWriter, as_value, commit_path

DATASET = "measured"
FEATURE = "values"
SHARD_ROWS = 256
# Rows of different content; more rows repeat them, turned by their number.
DISTINCT = 64

_MANIFEST = Manifest(
    name=DATASET,
    title="Made-up rows",
    reader="table",
    licence="CC0-1.0",
    obtain="made by the benchmark",
    tasks={"label": Task(classes=("no", "yes"))},
    table={"path": "rows.csv", "columns": {"text": "text"}},
)


def values(rows: int, shape: Sequence[int]) -> np.ndarray:
    """Return ``(min(rows, DISTINCT), *shape)`` float16, the content that rows are made of."""
    generator = np.random.default_rng(0)
    made = generator.standard_normal((min(rows, DISTINCT), *shape), dtype=np.float32)
    return made.astype(np.float16)


def row_value(content: np.ndarray, row: int) -> np.ndarray:
    """Return the value of one row; its first number tells the row."""
    value = content[row % len(content)].copy()
    value.reshape(-1)[0] = row % 2048
    return value


def write_store(root: Path, rows: int, shape: Sequence[int], val_every: int = 0) -> None:
    """Write samples and feature as the engine does: checked, hashed, synced, committed.

    Args:
        root: The store.
        rows: N.
        shape: Of a row's value.
        val_every: Every so many-th row is in ``val``, the others in ``train``; 0: none is.
    """
    layout = StoreLayout(root)
    blank = dict.fromkeys(samples_schema(_MANIFEST.tasks).names)
    table = write_samples(
        layout,
        _MANIFEST,
        [
            {**blank, "key": f"row-{row:08d}",
             "split": "val" if val_every and row % val_every == 0 else "train",
             "status": "ok", "flags": [], "label.label": row % 2}
            for row in range(rows)
        ],
        SHARD_ROWS,
        {},
    )  # fmt: skip
    spec = FeatureSpec(FEATURE, "image", tuple(shape))
    folder = layout.output("features", DATASET, FEATURE, "0" * 16)
    content = values(rows, shape)
    for shard in range(len(table.shards)):
        with ShardWriter(folder, shard, spec) as writer:
            for row in range(shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, rows)):
                writer.append(f"row-{row:08d}", as_value(row_value(content, row), spec))
        commit = {"cell": str(shard), **writer.result, "upstream": {}}
        write_json(commit_path(folder, shard), commit)
    facts = {
        "output": spec.to_json(), "dataset": DATASET, "node": FEATURE, "rows": "samples",
        "fingerprint": folder.name, "content": table.content, "samples": table.digest,
        "num_shards": len(table.shards), "warnings": [],
        "recipe": {"stage": "made_up", "version": 1, "parameters": {"shape": list(shape)}},
    }  # fmt: skip
    write_json(folder / SPEC_NAME, facts)
