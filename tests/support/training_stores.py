"""A small store to train on: a ragged, a fixed (K, D) and a vector feature over three splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support.feature_stores import (
    ABSENT,
    FAILED,
    sample_row,
    some_values,
    write_feature,
    write_table,
)

from affectflow.pipeline.records import Failure, FeatureSpec
from affectflow.pipeline.store.layout import SPEC_NAME, read_json, write_json
from affectflow.pipeline.store.samples import SamplesTable
from affectflow.pipeline.store.writer import ShardWriter, commit_path
from affectflow.pipeline.training.data import DataConfig, TrainingData
from affectflow.pipeline.training.opening import open_data
from affectflow.pipeline.training.standardization import Statistics

TOKENS = FeatureSpec("bert", "text", (None, 6))
REGIONS = FeatureSpec("regions", "image", (5, 3), compression="zstd")
NUM_VALID = FeatureSpec("regions.num_valid", "image", (1,), "int32", compression="zstd")
IMAGE = FeatureSpec("clip_image", "image", (4,), "float32")
ROLES = {"tokens": "bert", "regions": "regions", "e_img": "clip_image"}

Values = dict[str, np.ndarray | Failure]


def rows_of(count: int, **more: Any) -> list[dict[str, Any]]:
    """Return sample rows: of every five three for training, one for val, one for test."""
    splits = ("train", "train", "val", "train", "test")
    return [
        sample_row(
            f"k{index:03d}",
            splits[index % 5],
            **{
                "label.mood": index % 2,
                "label.themes": [index % 3] if index % 4 else [],
                "label.strength": index % 7 - 3.0,
                **more,
            },
        )
        for index in range(count)
    ]


def make_store(
    root: Path,
    rows: Sequence[Mapping[str, Any]] | None = None,
    holes: Mapping[str, Mapping[str, Failure]] | None = None,
) -> tuple[SamplesTable, dict[str, Values]]:
    """Write samples and features; returns the table and the values by feature."""
    table = write_table(root, [dict(row) for row in (rows_of(20) if rows is None else rows)], 10)
    keys = [sample.key for shard in range(len(table.shards)) for sample in table.samples(shard)]
    written: dict[str, Values] = {}
    for spec in (TOKENS, REGIONS, IMAGE):
        written[spec.name] = some_values(spec, keys, (holes or {}).get(spec.name, {}))
        for key, value in written[spec.name].items():
            if spec.ragged and isinstance(value, np.ndarray) and not len(value):
                written[spec.name][key] = np.ones((1, 6), np.float16)
        write_feature(table, spec, written[spec.name])
    counts: Values = {
        key: value if isinstance(value, Failure) else np.array([1 + index % 5], np.int32)
        for index, (key, value) in enumerate(written["regions"].items())
    }
    written["regions.num_valid"] = counts
    write_feature(table, NUM_VALID, counts)
    return table, written


def write_children(
    table: SamplesTable, spec: FeatureSpec, children: Values, fingerprint: str = "feedfacefeedface"
) -> None:
    """Write a feature of augmented samples, all in one shard."""
    folder = table.path.parents[1] / "features" / "mini" / spec.name / fingerprint
    other = next(folder.parent.glob(f"*/{SPEC_NAME}"))
    facts = {**(read_json(other) or {}), "rows": "paraphrase", "num_shards": 1}
    write_json(folder / SPEC_NAME, {**facts, "fingerprint": fingerprint})
    with ShardWriter(folder, 0, spec) as writer:
        for key, value in children.items():
            writer.append(key, value)
    write_json(commit_path(folder, 0), {"cell": "c", **writer.result, "upstream": {}})


def opened(
    root: Path,
    *splits: str,
    roles: Mapping[str, str] = ROLES,
    statistics: Mapping[str, Statistics] | None = None,
    **config: Any,
) -> TrainingData:
    """Open splits of the store, train and val by default."""
    settings = DataConfig(dataset="mini", stores=(str(root),), **config)
    data = open_data(settings, roles, frozenset(), splits or ("train", "val"))
    if not settings.standardize:
        return data
    if statistics is None:
        statistics = {role: data.measured(role) for role in settings.standardize}
    return data.standardized(statistics)


__all__ = [
    "ABSENT", "FAILED", "IMAGE", "NUM_VALID", "REGIONS", "ROLES", "TOKENS", "make_store", "opened",
    "rows_of", "write_children",
]  # fmt: skip
