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


@pytest.mark.slow
def test_the_work_of_regions_is_counted_and_set_against_the_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    operators = pytest.importorskip("torchvision.ops", reason="needs torchvision")
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import regions

    class Convolution:
        def __init__(self, deformable: bool) -> None:
            self.deformable = deformable

        def compute(self, pictures: list[torch.Tensor]) -> None:
            weight, (picture,) = torch.ones(12, 4, 3, 3), pictures
            if self.deformable:
                operators.deform_conv2d(picture, torch.zeros(2, 18, 16, 16), weight, padding=1)
            else:
                torch.nn.functional.conv2d(picture, weight, padding=1, groups=2)

    picture = torch.ones(2, 8, 16, 16)
    for deformable in (False, True):
        work = regions.work_of(Convolution(deformable), [picture])
        assert work == 2 * (2 * 12 * 16 * 16) * (4 * 3 * 3)
    threads = torch.get_num_threads()
    try:
        found = regions.run(tmp_path, quick=True)
    finally:
        torch.set_num_threads(threads)
    for row in found["rows"]:
        facts = dict(zip(found["columns"], row, strict=True))
        assert facts["TFLOP/s"] > 0
        assert float(facts["of matrix peak"].removesuffix(" %")) >= 0
