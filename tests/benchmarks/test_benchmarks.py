"""The benchmarks run, in sizes that take seconds; their numbers are not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("datasets", reason="the comparison with Hugging Face datasets needs it")
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks.run", "startup", "store", "loader", "--quick"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, "--results", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["startup", "store", "loader"])
def test_a_result_says_what_it_was_measured_on(results: Path, name: str) -> None:
    value = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    assert value["quick"]
    assert value["hardware"]["cores"] >= 1
    assert value["versions"]["affectflow"]
    assert value["runs"]
    assert all(len(row) == len(value["columns"]) for row in value["rows"])


@pytest.mark.slow
def test_every_format_of_the_store_was_compared(results: Path) -> None:
    value = json.loads((results / "store.json").read_text(encoding="utf-8"))
    formats = {run["format"] for run in value["runs"] if run["set"] == "regions"}
    assert len(formats) == 6
    assert all(run["random_gbs"] > 0 and run["write_gbs"] > 0 for run in value["runs"])


@pytest.mark.slow
def test_ways_to_load_were_compared_or_skipped_with_a_reason(results: Path) -> None:
    value = json.loads((results / "loader.json").read_text(encoding="utf-8"))
    measured = {run["way"] for run in value["runs"] if run["set"] == "regions"}
    assert {"affectflow", "NumPy memmap", "Hugging Face datasets"} <= measured
    assert len(measured) - 2 + len(value["skipped"]) == 8
    assert all(value["skipped"].values())


@pytest.mark.slow
def test_results_name_no_machine_and_no_path(results: Path) -> None:
    for path in results.iterdir():
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text
        assert str(Path.home()) not in text
        assert os.uname().nodename not in text.split()


def test_an_unknown_name_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks.run", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "startup" in done.stderr
