from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from support.report_run import write_dataset
from typer.testing import CliRunner

from affectflow.pipeline.cli import inspect, report
from affectflow.pipeline.cli import run as run_command
from affectflow.pipeline.errors import StoreError, UsageError

app = typer.Typer()
app.add_typer(run_command.run_app, name="run")
app.command("report")(report.report)
app.command("inspect")(inspect.inspect)


def call(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(item) for item in arguments], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    manifest = write_dataset(folder / "data")
    made = ["--set", "fake.fail_keys=[m2]", "--set", "engine.max_failed=0.5"]
    base = ["run", "extract", "--dataset", manifest, "--root", folder / "data"]
    call(
        *base,
        "--store",
        folder / "store",
        "--features",
        "fake",
        *made,
        "--cluster",
        "inline",
        code=4,
    )
    return folder / "store"


def test_the_page_lies_with_its_run(store: Path) -> None:
    path = Path(call("report", "--store", store).strip())
    assert path.parent.parent == store / "runs"
    assert path.name == "report.html"
    assert "exit code 4" in path.read_text(encoding="utf-8")


def test_the_page_can_lie_elsewhere_and_a_run_be_named(store: Path, tmp_path: Path) -> None:
    name = next((store / "runs").iterdir()).name
    out = tmp_path / "a" / "b.html"
    assert call("report", "--store", store, "--run", name, "--out", out).strip() == str(out)
    assert name in out.read_text(encoding="utf-8")
    with pytest.raises(StoreError, match="there is no run 'zzz'"):
        call("report", "--store", store, "--run", "zzz")


def test_a_folder_is_no_file_to_write(store: Path, tmp_path: Path) -> None:
    call("report", "--store", store, "--out", tmp_path, code=2)


def test_an_empty_store_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no run"):
        call("report", "--store", tmp_path)


def test_inspect_shows_labels_values_and_causes(store: Path) -> None:
    good = call("inspect", "m3", "--store", store)
    assert "angry & <loud>" in good
    assert "8 float16" in good
    failed = call("inspect", "m2", "--store", store)
    assert "asked_to_fail" in failed
    assert "what to do: nothing to do" in failed
    value = json.loads(call("inspect", "m2", "--store", store, "--json"))
    assert value["outputs"][0]["status"] == "failed"


def test_inspect_names_keys_near_an_unknown_one(store: Path) -> None:
    with pytest.raises(UsageError, match="did you mean m10"):
        call("inspect", "M10", "--store", store)
