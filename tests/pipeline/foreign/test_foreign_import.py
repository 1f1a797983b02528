"""Importing: once, whole, resumable; and what is refused."""

from __future__ import annotations

import pickle
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import start
from support.foreign_files import mmsa, mult, write
from support.foreign_imports import assert_same, imported, opened, values
from support.stores import commit_inodes, leftovers, part_digests

from affectflow.pipeline.errors import DatasetError, StoreError, UsageError
from affectflow.pipeline.ingest import foreign_features
from affectflow.pipeline.store.layout import StoreLayout
from affectflow.pipeline.store.verify import verify_all


class Hostile:
    """Runs a command when it is unpickled by an ordinary unpickler."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.path}",)


def test_what_is_written_is_sound(tmp_path: Path) -> None:
    data, _ = mmsa()
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "s", shard_rows=4)
    report = verify_all(StoreLayout(tmp_path / "s"))
    assert report.sound, report.problems
    assert (report.outputs, report.parts, report.rows) == (4, 12, 40)
    assert leftovers(tmp_path / "s") == []
    infos = opened(tmp_path / "s").features("d")
    assert {info.fingerprint for info in infos} == {done.fingerprint}
    assert all(info.complete for info in infos)


def test_importing_again_does_nothing(tmp_path: Path) -> None:
    data, _ = mmsa()
    path = write(tmp_path / "x.pkl", data)
    first = imported(path, "mmsa", tmp_path / "s")
    before = commit_inodes(tmp_path / "s")
    renamed = path.rename(tmp_path / "y.pkl")
    second = imported(renamed, "mmsa", tmp_path / "s")
    assert (first.written, second.written) == (4, 0)
    assert second.facts == first.facts
    assert commit_inodes(tmp_path / "s") == before


def test_another_file_has_another_fingerprint_and_shares_samples(tmp_path: Path) -> None:
    data, _ = mmsa()
    first = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "s")
    data["train"]["audio"][0, 0, 0] += 1
    second = imported(write(tmp_path / "y.pkl", data), "mmsa", tmp_path / "s")
    assert first.samples == second.samples
    assert first.fingerprint != second.fingerprint


def test_other_samples_under_the_same_name_are_refused(tmp_path: Path) -> None:
    data, _ = mmsa()
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "s")
    before = part_digests(tmp_path / "s")
    data["train"]["id"][0] = "somebody$_$else"
    with pytest.raises(StoreError, match="the store has other samples of 'd'"):
        imported(write(tmp_path / "y.pkl", data), "mmsa", tmp_path / "s")
    assert part_digests(tmp_path / "s") == before
    assert len(list((tmp_path / "s" / "samples").iterdir())) == 1
    assert not list((tmp_path / "s" / "cache" / "import").iterdir())


def test_an_interrupted_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, truth = mmsa()
    path = write(tmp_path / "x.pkl", data)
    whole = imported(path, "mmsa", tmp_path / "whole", shard_rows=4)
    calls = 0
    write_shard = foreign_features.FeatureWriter._write

    def dies(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        write_shard(*arguments)

    monkeypatch.setattr(foreign_features.FeatureWriter, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        imported(path, "mmsa", tmp_path / "s", shard_rows=4)
    before = commit_inodes(tmp_path / "s")
    assert len(before) == 5
    monkeypatch.undo()
    done = imported(path, "mmsa", tmp_path / "s", shard_rows=4)
    assert done.written == 7
    after = commit_inodes(tmp_path / "s")
    assert {name: after[name] for name in before} == before
    assert part_digests(tmp_path / "s") == part_digests(tmp_path / "whole")
    assert done.fingerprint == whole.fingerprint
    assert_same(values(tmp_path / "s", "audio"), truth["audio"])


def test_a_damaged_part_is_written_again(tmp_path: Path) -> None:
    data, truth = mmsa()
    path = write(tmp_path / "x.pkl", data)
    imported(path, "mmsa", tmp_path / "s")
    part = next((tmp_path / "s" / "features" / "d" / "audio").glob("*/part-00000.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    assert imported(path, "mmsa", tmp_path / "s").written == 1
    assert_same(values(tmp_path / "s", "audio"), truth["audio"])


@pytest.mark.slow
def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    size = 3000
    part = {
        "id": [f"k{i}" for i in range(size)],
        "regression_labels": generator.uniform(-3, 3, size).astype(np.float32),
        "audio": generator.standard_normal((size, 60, 40)).astype(np.float32),
        "vision": generator.standard_normal((size, 60, 40)).astype(np.float32),
    }
    path = write(tmp_path / "x.pkl", {"train": part})
    store = tmp_path / "s"
    arguments = ("features", "import", path, "--as", "mmsa", "--dataset", "d", "--store", store)
    process = start(*arguments, log=tmp_path / "log")
    deadline = time.monotonic() + 120
    while not commit_inodes(store) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = commit_inodes(store)
    assert 0 < len(before) < 24
    done = imported(path, "mmsa", store)
    assert done.written == 24 - len(before)
    after = commit_inodes(store)
    assert {name: after[name] for name in before} == before
    whole = imported(path, "mmsa", tmp_path / "whole")
    assert whole.fingerprint == done.fingerprint
    assert part_digests(store) == part_digests(tmp_path / "whole")


def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data, _ = mmsa()
    data["train"]["text"] = Hostile(mark)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(data))
    for form in ("mmsa", "mult", "multibench"):
        with pytest.raises(DatasetError, match=r"refused, it refers to '(posix|nt|os)\.system'"):
            imported(path, form, tmp_path / "s")
    assert not mark.exists()
    assert not (tmp_path / "s" / "features").exists()


@pytest.mark.parametrize("form", ["mult", "multibench"])
def test_the_wrong_format_says_the_right_one(tmp_path: Path, form: str) -> None:
    data, _ = mmsa()
    with pytest.raises(DatasetError, match="it looks like --as mmsa"):
        imported(write(tmp_path / "x.pkl", data), form, tmp_path / "s")
    data, _ = mult()
    with pytest.raises(DatasetError, match="it looks like --as mult"):
        imported(write(tmp_path / "y.pkl", data), "mmsa", tmp_path / "s")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2, 3], "it is a list"),
        ({"a1": {"text": 1}, "b2": 3}, "it is a dict of 2 with keys 'a1', 'b2'"),
        ({"train": [1]}, "split 'train' is a list"),
        ({"train": {"id": 3, "regression_labels": 1}}, "'id' is a int, expected an array"),
    ],
)
def test_other_pickles_are_described(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "s")


def test_torn_and_foreign_files_are_refused(tmp_path: Path) -> None:
    data, _ = mmsa()
    path = write(tmp_path / "x.pkl", data)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="not a readable pickle") as caught:
        imported(path, "mmsa", tmp_path / "s")
    # No option of the command.
    assert caught.value.hint == "obtain the file again"
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(DatasetError, match="it is a zip archive"):
        imported(path, "mmsa", tmp_path / "s")
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match="not a readable pickle"):
        imported(path, "mmsa", tmp_path / "s")


def test_usage_errors(tmp_path: Path) -> None:
    data, _ = mmsa()
    path = write(tmp_path / "x.pkl", data)
    with pytest.raises(UsageError, match="did you mean mmsa"):
        imported(path, "mmssa", tmp_path / "s")
    with pytest.raises(UsageError, match="cannot name a dataset"):
        imported(path, "mmsa", tmp_path / "s", dataset="../up")
    with pytest.raises(UsageError, match="'mmsa' has its own"):
        imported(path, "mmsa", tmp_path / "s", folds={"train": ["a"]})
    with pytest.raises(DatasetError, match=r"there is no .*nowhere"):
        imported(tmp_path / "nowhere.pkl", "mmsa", tmp_path / "s")


def test_an_empty_file_of_splits_is_refused(tmp_path: Path) -> None:
    empty = {"id": [], "regression_labels": [], "text": np.zeros((0, 3, 2), np.float32)}
    with pytest.raises(DatasetError, match="none of its splits holds a sample"):
        imported(write(tmp_path / "x.pkl", {"train": empty}), "mmsa", tmp_path / "s")
