from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from support.training_run import write_run
from typer.testing import CliRunner

from affectflow.pipeline.cli import report
from affectflow.pipeline.errors import UsageError

app = typer.Typer()
app.command("report")(report.report)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "mm_orient-abc")
    record = json.loads((folder / "run.json").read_text())
    tasks = [{"name": name} for name in ("sentiment", "sarcasm")]
    (folder / "run.json").write_text(json.dumps({**record, "tasks": tasks}))
    return folder


@pytest.mark.parametrize("more", [[], ["--samples-per-class", "0"]])
def test_an_unknown_task_is_refused_with_the_known_ones(run: Path, more: list[str]) -> None:
    result = CliRunner().invoke(app, [str(run), "--task", "nope", *more])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "unknown task 'nope'; known: sarcasm, sentiment"
    assert not (run / "report.html").exists()


def test_a_known_task_is_taken(run: Path) -> None:
    arguments = [str(run), "--task", "sarcasm", "--samples-per-class", "0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert Path(result.stdout.strip()) == run / "report.html"
