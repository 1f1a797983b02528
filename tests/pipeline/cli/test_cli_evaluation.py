from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from support.evaluated_runs import labelled_store, trained_run
from support.toy_training import one_thread
from typer.testing import CliRunner

from affectflow.pipeline.cli import evaluate, predict, report, sweep
from affectflow.pipeline.cli.run_folders import find_run
from affectflow.pipeline.cli.show_evaluation import print_comparison
from affectflow.pipeline.errors import ConfigError, UsageError
from affectflow.pipeline.evaluation.access import test_accesses as accesses
from affectflow.pipeline.evaluation.against import Comparison
from affectflow.pipeline.evaluation.bootstrap import Difference, Interval

app = typer.Typer()
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("sweep")(sweep.sweep)
app.command("report")(report.report)


def call(*arguments: str | Path, code: int = 0) -> str:
    with one_thread():
        result = CliRunner().invoke(app, [str(item) for item in arguments], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    trained_run(labelled_store(folder / "store"), folder / "runs")
    return folder


def run_of(made: Path) -> Path:
    return next((made / "runs" / "mini").glob("text_tokens-*"))


def test_evaluate_prints_the_majority_beside_every_metric(made: Path) -> None:
    run = run_of(made)
    text = call("evaluate", run, "--resamples", "20")
    for words in ("majority", "guessing", "95 % interval", "above majority", "mood", "macro F1 %"):
        assert words in text
    assert "each sample on its own" in text
    assert len(accesses(run)) == 1


def test_evaluate_speaks_json_and_compares(made: Path) -> None:
    run = run_of(made)
    call("evaluate", run, "--split", "val", "--resamples", "5")
    text = call("evaluate", run, "--split", "val", "--against", run, "--resamples", "5", "--json")
    found = json.loads(text)
    assert found["split"] == "val"
    assert found["against"]["differences"]["mood"]["accuracy"]["samples"]["value"] == 0
    assert found["against"]["decided"] == ["checkpoint best"] * 2
    shown = call("evaluate", run, "--split", "val", "--against", run, "--resamples", "5")
    assert "0 excluded" in shown
    assert f"{run.name}: checkpoint best" in shown


def test_differences_of_regressions_are_shown_in_their_own_unit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    around = Interval(0.0123, 0.004, 0.02, 0.003, 0)
    error = Difference(around, None, None, {"1": 0.0123}, 0.0)
    below = replace(error, samples=Interval(-0.0042, -0.0061, -0.002, 0.001, 0))
    differences = {"strength": {"mae": below, "corr": error}, "mood": {"accuracy": error}}
    print_comparison(Comparison("a", "b", "val", ("1",), 40, differences))
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert ["strength", "MAE", "-0.0042", "-0.0061 … -0.0020", "–", "–", "yes"] in rows
    assert ["strength", "Corr", "+0.0123", "+0.0040 … +0.0200", "–", "–", "yes"] in rows
    assert ["mood", "accuracy", "+1.23", "+0.40 … +2.00", "–", "–", "yes"] in rows


def test_a_run_is_found_by_the_beginning_of_its_name(made: Path) -> None:
    assert find_run("text_tokens-", made / "runs") == run_of(made)
    with pytest.raises(UsageError, match="did you mean text_tokens"):
        find_run(run_of(made).name.replace("text", "txet"), made / "runs")
    shutil.copytree(run_of(made), made / "more" / "mini" / "text_tokens-a")
    shutil.copytree(run_of(made), made / "more" / "mini" / "text_tokens-b")
    with pytest.raises(UsageError, match="several runs: text_tokens-a, text_tokens-b"):
        find_run("text", made / "more")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--checkpoint", "bets"), ("--device", "tpu"), ("--tune-thresholds", "f1"), ("--split", "x")],
)
def test_a_misspelt_choice_is_a_usage_error(made: Path, option: str, value: str) -> None:
    with pytest.raises(UsageError, match="unknown"):
        call("evaluate", run_of(made), option, value)


def test_predict_writes_a_file_and_says_what_it_did(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    arguments = ("predict", run_of(made), "--store", made / "store", "--out", out)
    assert json.loads(call(*arguments, "--json"))["samples"] == 60
    assert out.is_file()
    assert "each sample on its own" in call(*arguments, "--split", "test")


def test_label_strings_need_the_tasks_of_memotion(made: Path, tmp_path: Path) -> None:
    arguments = ("predict", run_of(made), "--store", made / "store", "--out", tmp_path / "p")
    with pytest.raises(ConfigError, match="sentiment, humour_scale"):
        call(*arguments, "--submission", tmp_path / "answer.txt")
    assert not (tmp_path / "answer.txt").exists()
    assert not (tmp_path / "p").exists()


def test_sweep_ranks_on_val_and_fails_with_a_code(made: Path, tmp_path: Path) -> None:
    fixed = ["trainer.epochs=1", "trainer.tensorboard=false", "model.hidden=[4]"]
    base = ["sweep", "text_tokens", "--dataset", "mini", "--store", made / "store"]
    base += ["--runs", tmp_path, *(word for item in fixed for word in ("--set", item))]
    found = json.loads(
        call(*base, "--random", "optimizer.lr=loguniform(1e-4,1e-1)", "--trials", "2", "--json")
    )
    means = [trial["mean"] for trial in found["trials"]]
    assert found["split"] == "val"
    assert means == sorted(means, reverse=True)
    assert all(0 < value < 1 for value in found["baselines"].values())
    grid = ("data.scale.tokens=1,0.5", "data.standardize=[],[tokens]")
    text = call(*base, *(word for item in grid for word in ("--grid", item)), code=4)
    for words in ("majority class of train", "guessing by class shares", "failed"):
        assert words in text
    assert "the test split was not opened" in text
    assert not list(tmp_path.glob("*/*/test-access.jsonl"))


def test_sweep_says_which_trials_had_other_data(tmp_path: Path) -> None:
    store = tmp_path / "store"
    labelled_store(store)
    fixed = ["trainer.epochs=1", "trainer.tensorboard=false", "model.hidden=[4]"]
    command = ["sweep", "text_tokens", "--dataset", "mini", "--store", store, "--runs", tmp_path]
    command += [word for item in fixed for word in ("--set", item)]
    command += ["--grid", "loader.batch_size=8"]
    again = "trial 1 of 1: loader.batch_size=8: done before, but the data have changed since"
    with one_thread():
        results = [CliRunner().invoke(app, [str(word) for word in command]) for _ in range(2)]
        shutil.rmtree(store)
        labelled_store(store, 50)
        results.append(CliRunner().invoke(app, [str(word) for word in command]))
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert [again in result.stderr for result in results] == [False, False, True]


def test_report_of_a_training_lies_with_it(made: Path, tmp_path: Path) -> None:
    run = run_of(made)
    path = Path(call("report", run).strip())
    assert path == run / "report.html"
    out = tmp_path / "page.html"
    assert call("report", run, "--out", out, "--samples-per-class", "0").strip() == str(out)
    assert "text_tokens on mini" in out.read_text("utf-8")
