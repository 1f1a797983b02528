from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.feature_stores import FAILED, sample_row, some_values, write_feature, write_table

from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store import whole
from affectflow.pipeline.store.reader import OutputFolder

SPEC = FeatureSpec("plain", "image", (7, 3))
KEYS = [f"k{i}" for i in range(10)]


def written(root: Path, spec: FeatureSpec = SPEC) -> tuple[OutputFolder, dict[str, object]]:
    table = write_table(root, [sample_row(key) for key in KEYS])
    values = some_values(spec, KEYS, {"k2": FAILED, "k9": FAILED})
    return OutputFolder(write_feature(table, spec, values).folder, "features"), dict(values)


def files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_one_file_holds_the_rows_of_all_shards(tmp_path: Path) -> None:
    folder, values = written(tmp_path / "store")
    view = whole.open_any(folder, tmp_path / "cache")
    assert len(folder.commits) > 1
    (path,) = files(tmp_path / "cache")
    assert list(view.keys) == [key for key in KEYS if key not in {"k2", "k9"}]
    content = np.fromfile(path, "<f2").reshape(-1, 7, 3)
    assert np.array_equal(content, np.stack([values[key] for key in view.keys]))
    assert np.array_equal(view.take(range(8)), content)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_it_is_made_once(tmp_path: Path, compression: str) -> None:
    spec = FeatureSpec("plain", "image", (7, 3), compression=compression)
    folder, _ = written(tmp_path / "store", spec)
    whole.open_any(folder, tmp_path / "cache")
    (path,) = files(tmp_path / "cache")
    before = path.stat().st_mtime_ns
    whole.open_any(folder, tmp_path / "cache")
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("why", ["large", "no room", "a file in the way"])
def test_an_uncompressed_feature_is_read_where_it_lies(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, values = written(tmp_path / "store")
    cache = tmp_path / "cache"
    if why == "large":
        monkeypatch.setattr(whole, "MAPPED_BYTES", 8 * 42 - 1)
    elif why == "no room":
        usage = shutil.disk_usage(tmp_path)
        full = type(usage)(usage.total, usage.total - 600, 600)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    else:
        cache.write_text("")
    view = whole.open_any(folder, cache)
    assert not view.files
    assert all(np.array_equal(view[row], values[key]) for row, key in enumerate(view.keys))
    assert why == "a file in the way" or not files(cache)


def test_a_damaged_part_is_an_error_not_a_slower_way(tmp_path: Path) -> None:
    folder, _ = written(tmp_path / "store")
    (folder.path / "part-00001.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match="part-00001"):
        whole.open_any(folder, tmp_path / "cache")
    assert not files(tmp_path / "cache")


def test_a_feature_without_a_value(tmp_path: Path) -> None:
    table = write_table(tmp_path / "store", [sample_row(key) for key in KEYS])
    found = write_feature(table, SPEC, dict.fromkeys(KEYS, FAILED))
    view = whole.open_any(OutputFolder(found.folder, "features"), tmp_path / "cache")
    assert len(view) == 0
    assert not files(tmp_path / "cache")
