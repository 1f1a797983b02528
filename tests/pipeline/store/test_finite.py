from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.feature_stores import FAILED, sample_row, some_values, write_feature, write_table

from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store import finite
from affectflow.pipeline.store.finite import nonfinite_rows
from affectflow.pipeline.store.reader import OutputFolder
from affectflow.pipeline.store.whole import open_any

KEYS = [f"k{i}" for i in range(30)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(9,), (None, 4)])
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("block", [40, 1 << 22])
def test_rows_are_found(
    tmp_path: Path, dtype: str, shape: tuple[int | None, ...], compression: str, block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(finite, "_BLOCK_BYTES", block)
    spec = FeatureSpec("x", "text", shape, dtype, compression=compression)  # type: ignore[arg-type]
    values = some_values(spec, KEYS, {"k3": FAILED})
    for key, bad in (("k0", [np.nan]), ("k7", [np.inf, -np.inf]), ("k29", [-np.inf])):
        row = np.full([3 if size is None else size for size in shape], -1, dtype)
        row.reshape(-1)[-len(bad) :] = bad
        values[key] = row
    largest = np.finfo(dtype)
    values["k1"] = np.full([2 if size is None else size for size in shape], largest.max, dtype)
    values["k2"] = np.full([2 if size is None else size for size in shape], largest.min, dtype)
    table = write_table(tmp_path, [sample_row(key) for key in KEYS], 8)
    view = open_any(OutputFolder(write_feature(table, spec, values).folder, "features"), tmp_path)
    expected = {"k0": 1, "k7": 2, "k29": 1}
    assert nonfinite_rows(view, tmp_path / "cache") == expected
    monkeypatch.setattr(finite, "_scan", None)
    assert nonfinite_rows(view, tmp_path / "cache") == expected


def test_whole_numbers_are_finite(tmp_path: Path) -> None:
    spec = FeatureSpec("x", "text", (2,), "int32")
    table = write_table(tmp_path, [sample_row(key) for key in KEYS])
    written = write_feature(table, spec, some_values(spec, KEYS, {}))
    view = open_any(OutputFolder(written.folder, "features"), tmp_path)
    assert nonfinite_rows(view, tmp_path / "cache") == {}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    spec = FeatureSpec("x", "text", (2,), "float32")
    table = write_table(tmp_path / "store", [sample_row(key) for key in KEYS])
    values = {**some_values(spec, KEYS, {}), "k4": np.array([np.nan, 0], np.float32)}
    view = open_any(OutputFolder(write_feature(table, spec, values).folder, "features"), tmp_path)
    (tmp_path / "cache").write_text("a file")
    assert nonfinite_rows(view, tmp_path / "cache") == {"k4": 1}
