"""Parts, commits and layout: what a hindered writer leaves, and what readers see of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.feature_stores import FAILED, sample_row, some_values, write_feature, write_table
from support.stores import leftovers

from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.records import Failure, FeatureSpec, TableSpec
from affectflow.pipeline.store import layout as layouts
from affectflow.pipeline.store.layout import StoreLayout, read_json, write_json, written_whole
from affectflow.pipeline.store.quarantine import quarantine_rows
from affectflow.pipeline.store.reader import OutputFolder, list_outputs
from affectflow.pipeline.store.tensor import check_value
from affectflow.pipeline.store.writer import ShardWriter, as_value, file_sha256, write_quarantine

SPEC = FeatureSpec("clip", "image", (3,), "float16")
KEYS = ["a", "b", "c"]
VALUES = {key: np.full(3, index, np.float16) for index, key in enumerate(KEYS)}


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def append_all(writer: ShardWriter) -> None:
    for key, value in VALUES.items():
        writer.append(key, value)


def test_a_part_without_its_commit_is_invisible(tmp_path: Path) -> None:
    table = write_table(tmp_path, [sample_row(key) for key in KEYS], shard_rows=2)
    written = write_feature(table, SPEC, some_values(SPEC, KEYS, {}), shards=[0])
    with ShardWriter(written.folder, 1, SPEC) as writer:
        writer.append("c", VALUES["c"])
    # Killed here: the part is in place, its commit is not.
    assert (written.folder / "part-00001.parquet").exists()
    [folder] = list_outputs(StoreLayout(tmp_path), "features")
    assert list(folder.commits) == [0]
    assert folder.counts() == {"ok": 2, "absent": 0, "failed": 0}
    with pytest.raises(StoreError, match="shard 1 is not committed"):
        folder.table(1)


def test_a_torn_commit_is_no_commit(tmp_path: Path) -> None:
    table = write_table(tmp_path, [sample_row(key) for key in KEYS], shard_rows=2)
    written = write_feature(table, SPEC, some_values(SPEC, KEYS, {}))
    (written.folder / "part-00000.commit.json").write_text('{"cell": "x", "ro')
    assert list(OutputFolder(written.folder, "features").commits) == [1]


def test_an_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    def killed() -> None:
        with ShardWriter(tmp_path / "x", 0, SPEC) as writer:
            append_all(writer)
            raise KeyError("killed")

    with pytest.raises(KeyError):
        killed()
    assert list((tmp_path / "x").iterdir()) == []


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with ShardWriter(tmp_path / name, 0, SPEC) as writer:
            append_all(writer)
        result = writer.result
    parts = [tmp_path / name / "part-00000.parquet" for name in ("one", "two")]
    assert parts[0].read_bytes() == parts[1].read_bytes()
    assert result["sha256"] == file_sha256(parts[0])
    assert (result["bytes"], result["rows"]["ok"]) == (parts[0].stat().st_size, 3)


@pytest.mark.parametrize("moment", ["write_table", "close"])
def test_a_full_disk_is_one_readable_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def write() -> None:
        with ShardWriter(tmp_path, 0, SPEC) as writer:
            append_all(writer)
            monkeypatch.setattr(writer._writer, moment, full_disk)

    with pytest.raises(StoreError, match="No space left on device") as error:
        write()
    assert "--store" in error.value.hint
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "part-00000.parquet").exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_on_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(layouts.os, call, full_disk)
    with pytest.raises(StoreError, match=r"cannot write 'run.json' in .*: No space left"):
        write_json(tmp_path / "run.json", {"a": 1})
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions do not bind the superuser, as whom tests may run.
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match="Permission denied"):
        write_json(tmp_path / "sub" / "run.json", {})
    with pytest.raises(StoreError, match="Permission denied"):
        ShardWriter(tmp_path / "sub", 0, SPEC).__enter__()


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot write"):
        write_json(tmp_path / "store" / "runs" / "run.json", {})
    with pytest.raises(StoreError, match="cannot write"):
        ShardWriter(tmp_path / "store" / "features", 0, SPEC).__enter__()


def test_writing_whole_replaces_only_on_success(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_json(path, {"old": True})

    def fail() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fail()
    assert read_json(path) == {"old": True}
    assert [item.name for item in tmp_path.iterdir()] == ["facts.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff\xfe", "null"])
def test_json_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, "latin-1")
    assert read_json(path) is None
    assert read_json(path / "below") is None
    assert read_json(tmp_path / "absent.json") is None


@pytest.mark.parametrize(
    ("value", "message", "code"),
    [
        (np.zeros(4), "got shape \\(4,\\), declared \\(3,\\)", "contract"),
        (np.zeros((3, 1)), "got shape", "contract"),
        (np.array([0, np.nan, np.inf]), "2 of 3 values are NaN or infinite", "not_finite"),
        (np.array([0, 1e5, 0]), "beyond the range of float16", "not_finite"),
    ],
)
def test_values_that_break_the_contract(value: np.ndarray, message: str, code: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_value(value, SPEC)
    failure = as_value(value, SPEC)
    assert isinstance(failure, Failure)
    assert failure.code == code


def test_tables_refuse_undeclared_columns(tmp_path: Path) -> None:
    spec = TableSpec("clean_text", pa.schema([("text", pa.string())]))
    with ShardWriter(tmp_path, 0, spec) as writer:
        writer.append("a", {"text": "clean"})
        writer.append("b", FAILED)
        with pytest.raises(ValueError, match="undeclared columns \\['extra'\\]"):
            writer.append("c", {"text": "x", "extra": 1})
    assert writer.result["rows"] == {"ok": 1, "absent": 0, "failed": 1}
    assert writer.result["reasons"] == {"decode_error": 1}


def test_quarantine_is_read_by_shard_and_emptied(tmp_path: Path) -> None:
    def row(key: str) -> dict[str, Any]:
        return {"key": key, "output": "clip", "class": "x", "message": "m", "hint": "h"}

    write_quarantine(tmp_path, 0, [row("a")])
    write_quarantine(tmp_path, 2, [row("b"), row("c")])
    assert [(item["key"], item["shard"]) for item in quarantine_rows(tmp_path)] == [
        ("a", 0),
        ("b", 2),
        ("c", 2),
    ]
    assert [item["key"] for item in quarantine_rows(tmp_path, [2])] == ["b", "c"]
    write_quarantine(tmp_path, 2, [])
    assert [item["key"] for item in quarantine_rows(tmp_path)] == ["a"]
