"""Whole runs over audio: every file a row, damage accounted for, any number of workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

from support.command import run
from support.extractor_rows import write_sound
from support.shared import SHARED, needs_shared
from support.spoken import wave_bytes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings named as in FSDD, one broken, one silent, one far too short."""
    folder = tmp_path_factory.mktemp("digits")
    for number in range(8):
        write_sound(folder / f"{number}_anna_{number}.wav", number, 0.7, 8000)
    (folder / "1_bert_0.wav").write_bytes(b"RIFF0000WAVEfmt broken")
    (folder / "2_bert_0.wav").write_bytes(wave_bytes(np.zeros(8000)))
    (folder / "3_bert_0.wav").write_bytes(wave_bytes(np.full(40, 0.1)))
    return folder


def extract(root: Path, store: Path, *flags: str) -> dict[str, Any]:
    done = run(
        "run", "extract", "--dataset", "fsdd", "--root", root, "--store", store,
        "--features", "covarep", "--set", "engine.shard_rows=3", "--set", "engine.max_failed=0.5",
        "--json", *flags,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def values(store: Path) -> dict[str, bytes]:
    """Return the value files of a store by their place in it."""
    folder = store / "features"
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("part-*.parquet")
    }


def test_rows_are_files_and_a_second_run_does_nothing(root: Path, tmp_path: Path) -> None:
    summary = extract(root, tmp_path, "--cluster", "inline")
    assert summary["samples"] == 11
    for output in summary["outputs"]:
        assert (output["ok"], output["absent"], output["failed"]) == (10, 0, 1)
    listed = json.loads(run("quarantine", "list", "--store", tmp_path, "--json").stdout)
    assert {row["key"] for row in listed} == {"1_bert_0.wav"}
    assert all(row["class"] == "decode_error" for row in listed)
    again = extract(root, tmp_path, "--cluster", "inline")
    assert again["cells"]["done"] == 0


def test_the_same_bytes_from_one_and_from_four_workers(root: Path, tmp_path: Path) -> None:
    extract(root, tmp_path / "one", "--cluster", "inline")
    extract(root, tmp_path / "four", "--cluster", "local", "--workers", "4")
    one, four = values(tmp_path / "one"), values(tmp_path / "four")
    assert len(one) >= 3 * 4
    assert one == four


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "folder", "place"),
    [
        pytest.param("emodb", "emodb_2s", "wav", marks=needs_shared("data/emodb_2s")),
        pytest.param("fsdd", "fsdd", "recordings", marks=needs_shared("data/fsdd")),
    ],
)
def test_real_recordings_among_broken_and_silent_ones(
    tmp_path: Path, name: str, folder: str, place: str
) -> None:
    """Nine real files, and three more: cut in the header, silent, empty."""
    target = tmp_path / "root" / place
    target.mkdir(parents=True)
    real = sorted((SHARED / "data" / folder / place).glob("*.wav"))[::25][:9]
    for path in real:
        (target / path.name).write_bytes(path.read_bytes())
    spare = sorted((SHARED / "data" / folder / place).glob("*.wav"))[1:4]
    (target / spare[0].name).write_bytes(spare[0].read_bytes()[:30])
    (target / spare[1].name).write_bytes(wave_bytes(np.zeros(16_000)))
    (target / spare[2].name).write_bytes(b"")
    flags = (
        "run", "extract", "--dataset", name, "--root", tmp_path / "root", "--store",
        tmp_path / "store", "--features", "covarep", "--cluster", "inline",
        "--set", "engine.max_failed=0.5", "--json",
    )  # fmt: skip
    summary = json.loads(run(*flags).stdout)
    assert summary["samples"] == len(real) + 3
    assert [(out["ok"], out["failed"]) for out in summary["outputs"]] == [(len(real) + 1, 2)] * 3
    listed = json.loads(run("quarantine", "list", "--store", tmp_path / "store", "--json").stdout)
    classes = {row["key"]: row["class"] for row in listed}
    assert classes == {spare[0].name: "decode_error", spare[2].name: "empty_file"}
    assert json.loads(run(*flags).stdout)["cells"]["done"] == 0
