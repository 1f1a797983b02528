from __future__ import annotations

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from support.feature_stores import write_feature
from support.training_stores import FAILED, Values, make_store, opened, rows_of

from affectflow.pipeline.errors import ConfigError, StoreError
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store import whole
from affectflow.pipeline.training import column, value_files
from affectflow.pipeline.training.buffers import BufferPool


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Values]]:
    root = tmp_path_factory.mktemp("store")
    return root, make_store(root, rows_of(60), {"bert": {"k005": FAILED}})[1]


@pytest.fixture(
    params=[
        "one file",
        "mapped parts",
        "mapped parts, rows large",
        "by position",
        "by position, one open file",
    ]
)
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "mapped" in request.param:
        monkeypatch.setattr(whole, "_made", lambda *_: False)
        monkeypatch.setattr(whole, "_room_for", lambda *_: False)
    if "large" in request.param:
        monkeypatch.setattr(column, "_LARGE_BYTES", 1)
    if "position" in request.param:
        monkeypatch.setattr(whole, "MAPPED_BYTES", 0)
    if "one" in request.param:
        monkeypatch.setattr(value_files, "_OPEN_FILES", 1)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("dtype", ["float32", "stored"])
@pytest.mark.parametrize("chunk", [32, 1 << 16])
def test_batches_hold_what_was_written(
    store: tuple[Path, dict[str, Values]], dtype: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column, "_CHUNK_BYTES", chunk)
    root, values = store
    train = opened(root, dtype=dtype).split("train")
    rows = [3, 0, 11, 3, 5]
    padded, packed = train.batch(rows), train.batch(rows, "packed")
    assert padded.keys == packed.keys == tuple(train.keys[row] for row in rows)
    written = [values["bert"][key] for key in padded.keys]
    arrays = [np.zeros((0, 6)) if value is FAILED else value for value in written]
    assert np.array_equal(packed.features["tokens"].values, np.concatenate(arrays))
    assert padded.features["tokens"].lengths.tolist() == [len(array) for array in arrays]
    assert torch.equal(packed.features["tokens"].padded().values, padded.features["tokens"].values)
    for role, name in (("regions", "regions"), ("e_img", "clip_image")):
        expected = np.stack([values[name][key] for key in padded.keys])
        assert np.array_equal(padded.features[role].values, expected)
    counts = [int(values["regions.num_valid"][key][0]) for key in padded.keys]
    assert padded.features["regions"].lengths.tolist() == counts
    wanted = torch.float32 if dtype == "float32" else torch.float16
    assert padded.features["tokens"].values.dtype == wanted
    assert padded.families.tolist() == train.families[rows].tolist()


def test_max_length(store: tuple[Path, dict[str, Values]]) -> None:
    root, values = store
    data = opened(root, max_length={"tokens": 2, "regions": 3})
    assert data.inputs["regions"].shape == (3, 3)
    batch = data.split("train").batch([0, 1, 2, 4, 5, 6])
    for row, key in enumerate(batch.keys):
        found = batch.features["tokens"].values[row][: batch.features["tokens"].lengths[row]]
        assert np.array_equal(found, values["bert"][key][:2])
        assert np.array_equal(batch.features["regions"].values[row], values["regions"][key][:3])
    assert int(batch.features["regions"].lengths.max()) == 3
    with pytest.raises(ConfigError, match="of a feature of shape"):
        opened(root, max_length={"e_img": 2})


def test_whole_numbers(tmp_path: Path) -> None:
    table, _ = make_store(tmp_path)
    ids = FeatureSpec("bert.ids", "text", (None,), "int32")
    written = {f"k{i:03d}": np.arange(i % 4 + 1, dtype=np.int32) for i in range(20)}
    write_feature(table, ids, written)
    train = opened(tmp_path, roles={"ids": "bert.ids"}).split("train")
    batch = train.batch([1, 2]).features["ids"]
    assert batch.values.dtype == torch.int64
    assert batch.values.tolist() == [[0, 1, 0, 0], [0, 1, 2, 3]]


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_no_rows_and_rows_without_anything(tmp_path: Path, layout: str) -> None:
    keys = {"k000": FAILED}
    make_store(tmp_path, holes={"bert": keys, "regions": keys, "clip_image": keys})
    train = opened(tmp_path).split("train")
    nobody = train.batch([], layout)
    assert len(nobody) == 0
    assert len(nobody.features["e_img"]) == 0
    nothing = train.batch([0], layout)
    assert not any(feature.present.any() for feature in nothing.features.values())
    assert not any(feature.values.any() for feature in nothing.features.values())


def test_another_process_gets_the_same(store: tuple[Path, dict[str, Values]]) -> None:
    train = opened(store[0]).split("train")
    train.batch([0])
    raw = pickle.dumps(train)
    # Keys, labels and places, never values.
    assert len(raw) < 6000 + 300 * len(train)
    found = pickle.loads(raw).batch([4, 2]).features["regions"].values
    assert torch.equal(found, train.batch([4, 2]).features["regions"].values)


def test_many_threads_read_the_same(
    store: tuple[Path, dict[str, Values]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "MAPPED_BYTES", 0)
    train = opened(store[0]).split("train")
    expected = [
        train.batch([row, 35 - row]).features["regions"].values.clone() for row in range(36)
    ]
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(train.batch, [row, 35 - row]) for row in range(36)]
        for future, wanted in zip(futures, expected, strict=True):
            assert torch.equal(future.result().features["regions"].values, wanted)


@pytest.mark.parametrize("large", [1, 1 << 14], ids=["copied by torch", "copied by Python"])
@pytest.mark.parametrize("dtype", ["float32", "stored"])
@pytest.mark.parametrize("left", [0, 10])
@pytest.mark.parametrize("one_file", [True, False])
def test_a_mapped_file_that_was_cut(
    tmp_path: Path,
    one_file: bool,
    left: int,
    dtype: str,
    large: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(column, "_LARGE_BYTES", large)
    if not one_file:
        monkeypatch.setattr(whole, "_made", lambda *_: False)
        monkeypatch.setattr(whole, "_room_for", lambda *_: False)
    make_store(tmp_path)
    train = opened(tmp_path, dtype=dtype).split("train")
    kind = "whole-*.bin" if one_file else "features/mini/*/*/part-00000.parquet"
    cut = [path for path in tmp_path.rglob("*") if path.match(kind)]
    assert cut
    for path in cut:
        path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(StoreError, match="shorter than it was"):
        train.batch([0])


def test_a_file_that_is_gone_or_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "MAPPED_BYTES", 0)
    make_store(tmp_path)
    train = opened(tmp_path).split("train")
    part = next((tmp_path / "features/mini/clip_image").glob("*/part-00000.parquet"))
    part.write_bytes(part.read_bytes()[:10])
    with pytest.raises(StoreError, match="shorter than it was"):
        train.batch([0])
    part.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        pickle.loads(pickle.dumps(train)).batch([0])
    with pytest.raises(StoreError, match="cannot be mapped"):
        opened(tmp_path)


def test_memory_of_a_batch_in_use_is_not_given_out_again() -> None:
    pool = BufferPool()
    first = torch.from_numpy(pool.take((1 << 18,), np.dtype(np.float32)))
    first.fill_(1)
    part = first[10:20]
    address = first.data_ptr()
    del first
    gc.collect()
    second = torch.from_numpy(pool.take((1 << 18,), np.dtype(np.float32)))
    second.fill_(2)
    assert second.data_ptr() != address
    assert (part == 1).all()
    del part
    gc.collect()
    third = pool.take((1 << 18,), np.dtype(np.float32))
    assert third.ctypes.data == address


def test_the_pool_keeps_no_more_than_it_may() -> None:
    pool = BufferPool(spare_bytes=3 << 20)
    arrays = [pool.take((1 << 20,), np.dtype(np.uint8)) for _ in range(8)]
    del arrays
    gc.collect()
    assert pool._kept_bytes <= 3 << 20
    assert sum(item.nbytes for free in pool._free.values() for item in free) == pool._kept_bytes


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_scale(store: tuple[Path, dict[str, Values]], layout: column.Layout) -> None:
    root, _ = store
    plain = opened(root).split("train")
    scaled = opened(root, scale={"tokens": 0.25, "regions": 2.0}).split("train")
    rows = range(len(plain))
    before, after = plain.batch(rows, layout).features, scaled.batch(rows, layout).features
    torch.testing.assert_close(after["tokens"].values, before["tokens"].values * 0.25)
    torch.testing.assert_close(after["regions"].values, before["regions"].values * 2)
    torch.testing.assert_close(after["e_img"].values, before["e_img"].values)
    with pytest.raises(ConfigError, match="role"):
        opened(root, scale={"nothing": 1.0})
