from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command import environment
from support.feature_stores import (
    ABSENT,
    FAILED,
    sample_row,
    some_values,
    write_feature,
    write_run,
    write_table,
)

import affectflow
from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.records import Failure, FeatureSpec
from affectflow.pipeline.store.row_groups import iter_row_groups

FIXED = FeatureSpec("clip", "image", (3,), "float32")
RAGGED = FeatureSpec("bert", "text", (None, 2), "float16")
KEYS = [f"meme.{index}.png" for index in range(10)]
HOLES = {KEYS[1]: FAILED, KEYS[5]: ABSENT, KEYS[9]: FAILED}


@pytest.fixture
def store(tmp_path: Path) -> affectflow.Store:
    splits = ["train", "val", "train", "test", "train"] * 2
    labels = [{"label.mood": i % 2 if i else None, "label.themes": [0, 2]} for i in range(10)]
    labels[3] = {"label.mood": 1, "label.themes": None}
    rows = [sample_row(*pair, **more) for *pair, more in zip(KEYS, splits, labels, strict=True)]
    table = write_table(tmp_path, rows)
    write_feature(table, FIXED, some_values(FIXED, KEYS, HOLES))
    write_feature(table, RAGGED, some_values(RAGGED, KEYS, HOLES), "fedcba98")
    return affectflow.open_store(tmp_path)


def test_importing_and_listing_names_loads_nothing_heavy() -> None:
    code = "import sys, affectflow; dir(affectflow); print(sorted({'torch', 'pyarrow', 'numpy'} & "
    code += "set(sys.modules)), affectflow.open_store.__name__)"
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[] open_store"


def test_every_public_name_exists_and_is_documented() -> None:
    for name in affectflow.__all__:
        value = getattr(affectflow, name)
        assert name.startswith("__") or value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'open_shop'"):
        affectflow.open_shop  # noqa: B018


def test_listing(store: affectflow.Store) -> None:
    assert store.datasets() == ["mini"]
    bert, clip = store.features()
    assert (bert.name, bert.shape, bert.dtype) == ("bert", (None, 2), "float16")
    assert clip.counts == {"ok": 7, "absent": 1, "failed": 2}
    assert (clip.rows, clip.shards, clip.complete, clip.latest) == (10, 3, True, False)
    assert clip.bytes > 0
    assert store.features("other") == []


def test_fixed_rows_by_split_and_key(store: affectflow.Store) -> None:
    values = some_values(FIXED, KEYS, HOLES)
    feature = store.feature("mini", "clip")
    for split, wanted in {"train": [0, 2, 4, 7], "val": [6], "test": [3, 8]}.items():
        keys, array = feature.read(split=split)
        assert list(keys) == [KEYS[i] for i in wanted]
        np.testing.assert_array_equal(array, np.stack([values[KEYS[i]] for i in wanted]))
    asked = [KEYS[8], KEYS[1], KEYS[0]]
    keys, array = feature.read(keys=asked)
    assert list(keys) == [KEYS[8], KEYS[0]]
    np.testing.assert_array_equal(array, np.stack([values[KEYS[8]], values[KEYS[0]]]))
    assert list(feature.read(split="test", keys=asked).keys) == [KEYS[8]]


def test_ragged_rows_padded(store: affectflow.Store) -> None:
    values = some_values(RAGGED, KEYS, HOLES)
    found = store.feature("mini", "bert").read()
    assert len(found) == 7
    padded, mask = found.padded()
    assert padded.dtype == np.float16
    assert padded.shape == (7, found.lengths.max(), 2)
    for key, row, valid in zip(found.keys, padded, mask, strict=True):
        np.testing.assert_array_equal(row[valid], values[key])
        assert not row[~valid].any()
    cut, mask = found.padded(1)
    assert cut.shape == (7, 1, 2)
    assert list(mask[:, 0]) == list(found.lengths > 0)


def test_fixed_rows_cannot_be_padded(store: affectflow.Store) -> None:
    with pytest.raises(StoreError, match="fixed shape"):
        store.feature("mini", "clip").read().padded()


def test_torch(store: affectflow.Store) -> None:
    torch = pytest.importorskip("torch")
    keys, tensor, mask = store.feature("mini", "clip").torch("train")
    assert (tensor.dtype, tuple(tensor.shape), mask) == (torch.float32, (4, 3), None)
    keys, tensor, mask = store.feature("mini", "bert").torch()
    assert (len(keys), tensor.dtype, mask.dtype) == (7, torch.float16, torch.bool)
    values = some_values(RAGGED, KEYS, HOLES)
    assert [int(row.sum()) for row in mask] == [len(values[key]) for key in keys]


def test_one_row_group_is_a_view_and_torch_copies_it(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    table = write_table(tmp_path, [sample_row(key) for key in KEYS], shard_rows=20)
    write_feature(table, FIXED, some_values(FIXED, KEYS, {}))
    feature = affectflow.open_store(tmp_path).feature("mini", "clip")
    assert not feature.read().values.flags.owndata
    feature.torch()[1][0] = 7.0
    assert not (feature.read().values[0] == 7.0).any()


def test_rows_show_every_status(store: affectflow.Store) -> None:
    rows = list(store.feature("mini", "clip").rows())
    assert [row.key for row in rows] == KEYS
    assert (rows[1].status, rows[1].reason, rows[1].value) == ("failed", "decode_error", None)
    assert (rows[5].status, rows[5].reason, rows[5].value) == ("absent", "no_image", None)
    assert (rows[0].status, rows[0].reason, rows[0].value.shape) == ("ok", None, (3,))


@pytest.mark.parametrize("name", ["clip", "bert"])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_are_the_rows_in_order(store: affectflow.Store, name: str, size: int) -> None:
    feature = store.feature("mini", name)
    batches = list(feature.iter_batches(size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    whole = feature.read()
    assert [key for batch in batches for key in batch.keys] == list(whole.keys)
    rows = [row for batch in batches for row in batch.values]
    assert all(np.array_equal(a, b) for a, b in zip(rows, whole.values, strict=True))
    assert sum(len(batch) for batch in feature.iter_batches(size, "train")) == 4


def test_join_by_key(tmp_path: Path) -> None:
    table = write_table(tmp_path, [sample_row(key) for key in KEYS])
    fixed = some_values(FIXED, KEYS, {KEYS[0]: FAILED})
    ragged = some_values(RAGGED, KEYS, {KEYS[3]: ABSENT})
    write_feature(table, FIXED, fixed)
    write_feature(table, RAGGED, ragged)
    joined = affectflow.open_store(tmp_path).join("mini", ["clip", "bert"])
    assert list(joined.keys) == KEYS
    assert list(joined.present["clip"]) == [key != KEYS[0] for key in KEYS]
    assert list(np.flatnonzero(~joined.complete)) == [0, 3]
    clip, bert = joined.values("clip"), joined.values("bert")
    assert not clip[0].any()
    assert bert[3].shape == (0, 2)
    for index in (1, 2, 4, 9):
        np.testing.assert_array_equal(clip[index], fixed[KEYS[index]])
        np.testing.assert_array_equal(bert[index], ragged[KEYS[index]])
    with pytest.raises(StoreError, match="did you mean bert"):
        joined.values("bart")


def test_samples_and_labels(store: affectflow.Store) -> None:
    samples = store.samples("mini")
    assert (len(samples), samples.tasks) == (10, ("mood", "themes", "strength"))
    assert list(samples.keys) == KEYS
    mood = samples.labels("mood")
    assert (list(mood.values[:4]), mood.classes) == ([-1, 1, 0, 1], ("sad", "glad"))
    assert list(mood.present) == [False] + [True] * 9
    themes = samples.labels("themes")
    assert (list(themes.values[0]), list(themes.values[3])) == ([1, 0, 1], [0, 0, 0])
    assert not themes.present[3]
    assert np.isnan(samples.labels("strength").values).all()
    assert samples.table(["key", "split"]).num_columns == 2
    assert list(samples.to_pandas(["key"])["key"]) == KEYS
    with pytest.raises(StoreError, match="unknown task 'moods'; did you mean mood"):
        samples.labels("moods")


def test_several_fingerprints_need_a_run_or_a_name(store: affectflow.Store) -> None:
    table = store.samples("mini").source
    other = write_feature(table, FIXED, some_values(FIXED, KEYS, {}, seed=1), "aaaa0000")
    with pytest.raises(StoreError, match="several fingerprints: 0123456789abcdef, aaaa0000"):
        store.feature("mini", "clip")
    assert store.feature("mini", "clip", "aaaa").folder.path == other.folder
    with pytest.raises(StoreError, match="no fingerprint bbbb"):
        store.feature("mini", "clip", "bbbb")
    write_run(table, {"clip": "0123456789abcdef"}, "run-1")
    write_run(table, {"clip": "aaaa0000"}, "run-2")
    write_run(table, {"bert": "fedcba98"}, "run-3")
    assert store.feature("mini", "clip").folder.path == other.folder


def test_several_samples_tables_need_a_run_or_a_digest(store: affectflow.Store) -> None:
    first = store.samples("mini").digest
    rows = [sample_row(key, "test") for key in KEYS]
    table = write_table(store.path, rows)
    with pytest.raises(StoreError, match="not one samples table; there are"):
        store.samples("mini")
    assert store.samples("mini", first[:6]).digest == first
    write_run(table, {"clip": "0123456789abcdef"})
    assert store.samples("mini").digest == table.digest
    # The splits are those of the latest run, the ones written with the feature where none names it.
    assert len(store.feature("mini", "clip").read(split="test")) == 7
    assert len(store.feature("mini", "bert").read(split="test")) == 2


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.feature("mini", "clap"), "did you mean clip"),
        (lambda s: s.feature("mino", "clip"), "unknown dataset 'mino'; did you mean mini"),
        (lambda s: s.feature("mini", "clip", augmented=True), "unknown augmented feature"),
        (lambda s: s.samples("memotion"), "unknown dataset"),
        (lambda s: s.feature("mini", "clip").read(split="dev"), "unknown split 'dev'"),
        (lambda s: s.feature("mini", "clip").read(keys=["nobody"]), "unknown keys"),
        (lambda s: list(s.feature("mini", "clip").iter_batches(0)), "expected at least 1"),
        (lambda s: s.join("mini", ["clip"], split="dev"), "unknown split"),
    ],
)
def test_mistakes_are_readable(store: affectflow.Store, ask: Any, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        ask(store)


def test_opening_what_is_no_store(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(StoreError, match="no feature store"):
            affectflow.open_store(path)


def test_a_damaged_part_is_one_readable_error(store: affectflow.Store) -> None:
    feature = store.feature("mini", "clip")
    part = feature.folder.path / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(StoreError, match=r"part-00001.parquet' cannot be read") as error:
        feature.read()
    assert "verify" in error.value.hint
    part.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        list(feature.rows())


DTYPES = st.sampled_from(["float16", "float32", "int32", "uint8"])
SHAPES = st.sampled_from([(), (1,), (4,), (2, 3), (None,), (None, 2), (None, 2, 2)])


@st.composite
def features(draw: st.DrawFn) -> tuple[FeatureSpec, list[np.ndarray | Failure], int]:
    compression = draw(st.sampled_from(["none", "zstd", "lz4"]))
    spec = FeatureSpec("any", "text", draw(SHAPES), draw(DTYPES), compression=compression)
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    holes = draw(st.lists(st.sampled_from([None, None, FAILED, ABSENT]), min_size=1, max_size=17))
    values: list[np.ndarray | Failure] = []
    for hole in holes:
        shape = [int(generator.integers(0, 4)) if size is None else size for size in spec.shape]
        array = (generator.standard_normal(shape) * 60).astype(spec.dtype)
        values.append(array if hole is None else hole)
    return spec, values, draw(st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(features())
def test_what_is_written_is_what_is_read(
    case: tuple[FeatureSpec, list[np.ndarray | Failure], int],
) -> None:
    spec, values, shard_rows = case
    keys = [f"k{index}" for index in range(len(values))]
    with tempfile.TemporaryDirectory() as folder:
        table = write_table(Path(folder), [sample_row(key) for key in keys], shard_rows)
        write_feature(table, spec, dict(zip(keys, values, strict=True)))
        feature = affectflow.open_store(folder).feature("mini", "any")
        found = feature.read()
        good = [i for i, value in enumerate(values) if not isinstance(value, Failure)]
        assert list(found.keys) == [keys[i] for i in good]
        assert len(found.values) == len(good)
        for row, index in zip(found.values, good, strict=True):
            assert np.asarray(row).dtype == values[index].dtype
            assert row.shape == values[index].shape
            np.testing.assert_array_equal(row, values[index])
        statuses = [v.status if isinstance(v, Failure) else "ok" for v in values]
        assert [row.status for row in feature.rows()] == statuses


@pytest.mark.parametrize("spec", [FIXED, RAGGED])
def test_no_committed_row_at_all(tmp_path: Path, spec: FeatureSpec) -> None:
    table = write_table(tmp_path, [sample_row(key) for key in KEYS])
    write_feature(table, spec, {}, shards=[])
    feature = affectflow.open_store(tmp_path).feature("mini", spec.name)
    found = feature.read()
    assert (len(found), len(found.values)) == (0, 0)
    assert list(feature.iter_batches()) == []
    if spec.ragged:
        assert found.padded()[0].shape == (0, 0, 2)
    else:
        assert found.values.shape == (0, 3)


def test_large_rows_are_read_one_row_group_at_a_time(tmp_path: Path) -> None:
    spec = FeatureSpec("big", "image", (512, 1024), "float32")
    keys = [f"k{index}" for index in range(20)]
    table = write_table(tmp_path, [sample_row(key) for key in keys], shard_rows=20)
    values = {key: np.full(spec.shape, index, np.float32) for index, key in enumerate(keys)}
    write_feature(table, spec, values)
    feature = affectflow.open_store(tmp_path).feature("mini", "big")
    sizes = [len(group.keys) for group in iter_row_groups(feature.folder)]
    # 2 MiB per row, 6 MiB per row group.
    assert max(sizes) <= 4
    assert sum(sizes) == 20
    assert [int(row[0, 0]) for row in feature.read().values] == list(range(20))
    assert list(feature.read(keys=["k7"]).values[:, 0, 0]) == [7.0]
