"""Random access: every row of the view is the row that was written, whatever lies around it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.records import Failure, FeatureSpec
from affectflow.pipeline.store.layout import SPEC_NAME, part_name, write_json
from affectflow.pipeline.store.reader import OutputFolder
from affectflow.pipeline.store.view import open_view
from affectflow.pipeline.store.writer import ShardWriter, commit_path


def written(
    root: Path, spec: FeatureSpec, rows: int, seed: int = 0
) -> tuple[OutputFolder, dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    folder = root / spec.name / "0"
    values: dict[str, np.ndarray] = {}
    for shard in range(2):
        with ShardWriter(folder, shard, spec) as writer:
            for row in range(rows):
                key = f"{shard}-{row}"
                if generator.random() < 0.2:
                    writer.append(key, Failure("asked", "for the test"))
                    continue
                shape = [generator.integers(0, 5) if size is None else size for size in spec.shape]
                value = generator.standard_normal(shape).astype(spec.dtype)
                writer.append(key, value)
                values[key] = value
        write_json(commit_path(folder, shard), writer.result)
    write_json(folder / SPEC_NAME, {"output": spec.to_json()})
    return OutputFolder(folder, "features"), values


SPECS = [
    (FeatureSpec("fixed", "image", (3,)), 5000),
    (FeatureSpec("ragged", "text", (None, 4), dtype="float32"), 5000),
    (FeatureSpec("row_groups", "image", (100, 2048)), 40),
    (FeatureSpec("pages", "text", (None, 3072)), 700),
]


@pytest.mark.parametrize(("spec", "rows"), SPECS, ids=lambda item: getattr(item, "name", None))
def test_rows_are_the_written_ones(tmp_path: Path, spec: FeatureSpec, rows: int) -> None:
    folder, values = written(tmp_path, spec, rows)
    view = open_view(folder)
    assert list(view.keys) == list(values)
    order = np.random.default_rng(1).permutation(len(view))[:300]
    for row, taken in zip(order, view.take(order), strict=True):
        expected = values[view.keys[row]]
        assert taken.dtype == expected.dtype
        assert np.array_equal(taken, expected)
        assert np.array_equal(view[row], expected)
        assert view.lengths[row] == (len(expected) if spec.ragged else 1)


def test_rows_are_read_only_and_taken_ones_are_not(tmp_path: Path) -> None:
    folder, _ = written(tmp_path, SPECS[0][0], 10)
    view = open_view(folder)
    assert not view[0].flags.writeable
    taken = view.take([0])
    assert isinstance(taken, np.ndarray)
    assert taken.flags.writeable


def test_another_process_maps_the_files_itself(tmp_path: Path) -> None:
    folder, values = written(tmp_path, SPECS[0][0], 2000)
    view = open_view(folder)
    view.take(range(len(view)))
    copied = pickle.loads(pickle.dumps(view))
    key = view.keys[-1]
    assert np.array_equal(copied[copied.positions[key]], values[key])
    assert len(pickle.dumps(view)) < 200 * len(view)


def test_nothing_committed_is_an_empty_view(tmp_path: Path) -> None:
    spec = SPECS[0][0]
    write_json(tmp_path / spec.name / "0" / SPEC_NAME, {"output": spec.to_json()})
    view = open_view(OutputFolder(tmp_path / spec.name / "0", "features"))
    assert len(view) == 0
    taken = view.take([])
    assert isinstance(taken, np.ndarray)
    assert taken.shape == (0, 3)


def test_compressed_values_are_refused(tmp_path: Path) -> None:
    spec = FeatureSpec("packed", "image", (64,), compression="zstd")
    folder, _ = written(tmp_path, spec, 10)
    with pytest.raises(StoreError, match="compressed"):
        open_view(folder)


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    folder, _ = written(tmp_path, SPECS[0][0], 100)
    path = folder.path / part_name(1)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StoreError, match=r"part-00001\.parquet"):
        open_view(folder)
