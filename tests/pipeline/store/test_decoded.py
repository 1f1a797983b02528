from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from support.feature_stores import FAILED, sample_row, some_values, write_feature, write_table

from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store.reader import OutputFolder
from affectflow.pipeline.store.whole import open_any

SPECS = [
    FeatureSpec("fixed", "image", (7, 3), compression="zstd"),
    FeatureSpec("ragged", "text", (None, 5), "float32", compression="lz4"),
    FeatureSpec("plain", "text", (None, 5), "float32"),
]


def written(root: Path, spec: FeatureSpec) -> tuple[OutputFolder, dict[str, object]]:
    table = write_table(root, [sample_row(f"k{i}") for i in range(10)])
    values = some_values(spec, [f"k{i}" for i in range(10)], {"k2": FAILED, "k9": FAILED})
    found = write_feature(table, spec, values)
    return OutputFolder(found.folder, "features"), dict(values)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_rows_are_those_that_were_written(tmp_path: Path, spec: FeatureSpec) -> None:
    folder, values = written(tmp_path / "store", spec)
    for _ in range(2):
        view = open_any(folder, tmp_path / "cache")
        assert list(view.keys) == [key for key in values if key not in {"k2", "k9"}]
        for row, key in enumerate(view.keys):
            assert np.array_equal(view[row], values[key])
    copies = list((tmp_path / "cache").rglob("*.bin"))
    assert len(copies) == {"fixed": 1, "ragged": 3, "plain": 0}[spec.name]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_damaged_copy_is_made_again(tmp_path: Path) -> None:
    folder, values = written(tmp_path / "store", SPECS[0])
    open_any(folder, tmp_path / "cache")
    copy = sorted((tmp_path / "cache").rglob("*.bin"))[-1]
    copy.write_bytes(b"half")
    view = open_any(folder, tmp_path / "cache")
    assert np.array_equal(view[view.positions["k5"]], values["k5"])


def test_a_part_written_again_is_decoded_again(tmp_path: Path) -> None:
    folder, _ = written(tmp_path / "store", SPECS[0])
    open_any(folder, tmp_path / "cache")
    table = write_table(tmp_path / "store", [sample_row(f"k{i}") for i in range(10)])
    others = some_values(SPECS[0], [f"k{i}" for i in range(10)], {}, seed=1)
    again = OutputFolder(write_feature(table, SPECS[0], others).folder, "features")
    view = open_any(again, tmp_path / "cache")
    assert np.array_equal(view[view.positions["k2"]], others["k2"])


def test_a_missing_part_is_an_error(tmp_path: Path) -> None:
    folder, _ = written(tmp_path / "store", SPECS[0])
    (folder.path / "part-00001.parquet").unlink()
    with pytest.raises(StoreError, match="part-00001"):
        open_any(folder, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    folder, _ = written(tmp_path / "store", SPECS[0])
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot write"):
        open_any(folder, tmp_path / "cache")


def _sum(path: Path, cache: Path) -> float:
    view = open_any(OutputFolder(path, "features"), cache)
    return float(sum(view[row].astype(np.float64).sum() for row in range(len(view))))


def test_two_processes_decode_at_once(tmp_path: Path) -> None:
    folder, values = written(tmp_path / "store", SPECS[0])
    expected = sum(v.astype(np.float64).sum() for v in values.values() if isinstance(v, np.ndarray))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for attempt in range(2):
            futures = [pool.submit(_sum, folder.path, tmp_path / "cache") for _ in range(2)]
            assert [future.result() for future in futures] == pytest.approx([expected] * 2), attempt
            shutil.rmtree(tmp_path / "cache")
    assert not list(tmp_path.rglob("*.tmp"))
