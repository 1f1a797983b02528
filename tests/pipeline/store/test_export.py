from __future__ import annotations

import csv
import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command import environment
from support.feature_stores import (
    ABSENT,
    FAILED,
    sample_row,
    some_values,
    write_feature,
    write_table,
)

import affectflow
from affectflow.pipeline.errors import StoreError, UsageError
from affectflow.pipeline.records import Failure, FeatureSpec
from affectflow.pipeline.store import export as exporting
from affectflow.pipeline.store.export import export_features
from affectflow.pipeline.store.export import webdataset as tars
from affectflow.pipeline.store.references import resolve

# Names as datasets have them: dots, slashes, blanks, percent signs, other scripts.
KEYS = ["a.b.png", "train/01.jpg", "ünï 100%.gif", "x__y", "%2E.png", "last"]
KEYS += [f"row-{index}" for index in range(140)]
HOLES = {KEYS[1]: FAILED, KEYS[4]: ABSENT}
SPECS = {
    "vector": FeatureSpec("vector", "image", (4,), "float16", columns=("w", "x", "y", "z")),
    "matrix": FeatureSpec("matrix", "image", (2, 3), "float32"),
    "codes": FeatureSpec("codes", "image", (5,), "uint8"),
    "tokens": FeatureSpec("tokens", "text", (None, 3), "float16"),
    "pitch": FeatureSpec("pitch", "audio", (None,), "float32"),
}
Rows = dict[str, tuple[str, Any]]


@pytest.fixture(params=SPECS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[affectflow.Store, FeatureSpec]:
    spec = SPECS[request.param]
    splits = ["train", "val", "test"]
    rows = [sample_row(key, splits[i % 3]) for i, key in enumerate(KEYS)]
    table = write_table(tmp_path / "store", rows, shard_rows=50)
    write_feature(table, spec, some_values(spec, KEYS, HOLES))
    return affectflow.open_store(tmp_path / "store"), spec


def export(store: affectflow.Store, spec: FeatureSpec, form: str, **options: Any) -> Path:
    out = store.path.parent / form
    [done] = export_features(store, [resolve(store, f"mini/{spec.name}")], form, out, **options)
    assert done["folder"] == f"mini/{spec.name}"
    return out / done["folder"]


def check(rows: Rows, spec: FeatureSpec, split: str | None = None) -> None:
    values = some_values(spec, KEYS, HOLES)
    order = ["train", "val", "test"]
    wanted = [key for i, key in enumerate(KEYS) if split in (None, order[i % 3])]
    assert list(rows) == wanted
    for key, (status, value) in rows.items():
        hole = values[key]
        if isinstance(hole, Failure):
            assert (status, value) == (hole.status, None)
        else:
            assert status == "ok"
            shape = [-1 if size is None else size for size in spec.shape]
            np.testing.assert_array_equal(np.asarray(value, spec.dtype).reshape(shape), hole)


def parquet_rows(folder: Path, module: str) -> Rows:
    path = folder / "values.parquet"
    if module == "polars":
        frame = pytest.importorskip("polars").read_parquet(path)
        return {row["key"]: (row["status"], row["value"]) for row in frame.to_dicts()}
    if module == "duckdb":
        with pytest.importorskip("duckdb").connect() as connection:
            query = "select key, status, value from read_parquet(?)"
            found = connection.execute(query, [str(path)]).fetchall()
        return {key: (status, value) for key, status, value in found}
    table = pq.read_table(path)
    return {row["key"]: (row["status"], row["value"]) for row in table.to_pylist()}


@pytest.mark.parametrize("module", ["pyarrow", "polars", "duckdb"])
def test_lists_load_elsewhere(case: tuple[affectflow.Store, FeatureSpec], module: str) -> None:
    store, spec = case
    check(parquet_rows(export(store, spec, "lists"), module), spec)


def npy_rows(folder: Path) -> Rows:
    values = np.load(folder / "values.npy", allow_pickle=False)
    keys = json.loads((folder / "keys.json").read_text("utf-8"))
    if (folder / "lengths.npy").exists():
        ends = np.cumsum(np.load(folder / "lengths.npy"))
        assert ends[-1] == len(values)
        values = np.split(values, ends[:-1])
    assert len(values) == len(keys)
    found = dict(zip(keys, values, strict=True))
    with open(folder / "status.csv", newline="", encoding="utf-8") as file:
        return {row["key"]: (row["status"], found.get(row["key"])) for row in csv.DictReader(file)}


@pytest.mark.parametrize("split", [None, "val"])
def test_npy_loads_elsewhere(case: tuple[affectflow.Store, FeatureSpec], split: str | None) -> None:
    store, spec = case
    folder = export(store, spec, "npy", split=split)
    check(npy_rows(folder), spec, split)
    assert np.load(folder / "values.npy").dtype == spec.dtype


def test_csv_loads_elsewhere(case: tuple[affectflow.Store, FeatureSpec]) -> None:
    store, spec = case
    folder = export(store, spec, "csv")
    rows: Rows = {}
    with open(folder / "values.csv", newline="", encoding="utf-8") as file:
        table = csv.reader(file)
        names = next(table)
        for cells in table:
            value: Any = [float(cell) for cell in cells[6:] if cell] if names[6] != "value" else ""
            value = json.loads(cells[6]) if value == "" and cells[6] else value
            rows[cells[0]] = (cells[1], value if cells[1] == "ok" else None)
    check(rows, spec)
    if spec.columns:
        assert tuple(names[6:]) == spec.columns


def test_hugging_face_loads_elsewhere(case: tuple[affectflow.Store, FeatureSpec]) -> None:
    datasets = pytest.importorskip("datasets")
    store, spec = case
    dataset = datasets.load_from_disk(str(export(store, spec, "hf") / "dataset"))
    check({row["key"]: (row["status"], row["value"]) for row in dataset}, spec)
    leaf = dataset.features["value"]
    while hasattr(leaf, "feature"):
        leaf = leaf.feature
    assert leaf.dtype == spec.dtype
    assert len(dataset.filter(lambda row: row["split"] == "val", keep_in_memory=True)) == 49


def test_webdataset_loads_elsewhere(
    case: tuple[affectflow.Store, FeatureSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("webdataset")
    monkeypatch.setattr(tars, "MAX_SHARD_BYTES", 4000)
    store, spec = case
    shards = sorted(map(str, export(store, spec, "webdataset").glob("shard-*.tar")))
    assert len(shards) > 1
    rows: Rows = {}
    for sample in library.WebDataset(shards, shardshuffle=False).decode():
        assert tars.key_of(sample["__key__"]) == sample["json"]["key"]
        rows[sample["json"]["key"]] = (sample["json"]["status"], sample.get("npy"))
    check(rows, spec)


def test_the_same_rows_give_the_same_tar(case: tuple[affectflow.Store, FeatureSpec]) -> None:
    store, spec = case
    first = (export(store, spec, "webdataset") / "shard-000000.tar").read_bytes()
    again = export(store, spec, "webdataset", force=True) / "shard-000000.tar"
    assert again.read_bytes() == first


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_member_names_are_safe_and_reversible(key: str) -> None:
    name = tars.safe_name(key)
    assert not set(name) & set("./\\")
    assert tars.key_of(name) == key


@pytest.fixture
def small(tmp_path: Path) -> tuple[affectflow.Store, FeatureSpec]:
    spec = SPECS["vector"]
    table = write_table(tmp_path / "store", [sample_row(key) for key in KEYS[:5]])
    write_feature(table, spec, some_values(spec, KEYS[:5], HOLES))
    return affectflow.open_store(tmp_path / "store"), spec


def test_every_export_says_what_it_is(small: tuple[affectflow.Store, FeatureSpec]) -> None:
    store, spec = small
    folder = export(store, spec, "npy")
    marker = json.loads((folder.parents[1] / "_export.json").read_text())
    assert marker["features"][0] == {
        "feature": "mini/vector/0123456789abcdef",
        "folder": "mini/vector",
        "rows": 5,
        "ok": 3,
    }
    assert json.loads((folder / "spec.json").read_text())["recipe"] == {"stage": "fake"}
    samples = pq.read_table(folder.parent / "samples.parquet")
    assert samples["key"].to_pylist() == KEYS[:5]
    assert "label.mood" in samples.column_names


def test_an_earlier_export_is_replaced_only_when_asked(
    small: tuple[affectflow.Store, FeatureSpec],
) -> None:
    store, spec = small
    export(store, spec, "npy")
    with pytest.raises(StoreError, match="earlier export") as error:
        export(store, spec, "npy")
    assert "--force" in error.value.hint
    export(store, spec, "npy", force=True)


def test_a_folder_of_somebody_else_is_never_replaced(
    small: tuple[affectflow.Store, FeatureSpec],
) -> None:
    store, spec = small
    mine = store.path.parent / "npy" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(StoreError, match="left as it is"):
        export(store, spec, "npy", force=True)
    assert mine.read_text() == "years of work"


def test_a_failing_export_leaves_what_was_there(
    small: tuple[affectflow.Store, FeatureSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spec = small
    before = export(store, spec, "lists")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_write_samples", full)
    with pytest.raises(StoreError, match="No space left on device"):
        export(store, spec, "lists", force=True)
    assert (before / "values.parquet").exists()
    assert [path.name for path in store.path.parent.iterdir() if ".tmp" in path.name] == []


def test_mistakes_are_readable(small: tuple[affectflow.Store, FeatureSpec]) -> None:
    store, spec = small
    with pytest.raises(UsageError, match="unknown format 'parket'"):
        export(store, spec, "parket")
    with pytest.raises(UsageError, match="unknown split"):
        export(store, spec, "npy", split="dev")
    with pytest.raises(UsageError, match="no feature to export"):
        export_features(store, [], "npy", store.path.parent / "out")
    folder = resolve(store, "mini/vector")
    table = store.samples("mini").source
    write_feature(table, spec, some_values(spec, KEYS[:5], {}), "ffff")
    both = [folder, resolve(store, "ffff")]
    with pytest.raises(UsageError, match="would lie in one folder"):
        export_features(store, both, "npy", store.path.parent / "out")


@pytest.mark.slow
def test_hugging_face_export_opens_no_connection(
    small: tuple[affectflow.Store, FeatureSpec],
) -> None:
    pytest.importorskip("datasets")
    store, _ = small
    code = (
        "import socket, sys, pathlib\n"
        "def refuse(*a, **k): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "import affectflow\n"
        "from affectflow.pipeline.store.export import export_features\n"
        "from affectflow.pipeline.store.references import resolve\n"
        "store = affectflow.open_store(sys.argv[1])\n"
        "out = pathlib.Path(sys.argv[2])\n"
        "export_features(store, [resolve(store, 'mini/vector')], 'hf', out)\n"
    )
    home = store.path.parent / "home"
    out = store.path.parent / "offline"
    found = subprocess.run(
        [sys.executable, "-c", code, store.path, out],
        env={**environment(), "HOME": str(home), "HF_HOME": str(home / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert (out / "mini" / "vector" / "dataset" / "state.json").exists()
    # Nothing is cached in the user's home either.
    assert [path for path in home.rglob("*") if path.is_file()] == []
