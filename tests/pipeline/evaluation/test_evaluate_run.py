from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.evaluated_runs import labelled_store, trained_run
from support.feature_stores import write_feature
from support.training_stores import TOKENS, make_store, rows_of

from affectflow.models.batch import Task
from affectflow.pipeline.errors import ConfigError, InvalidInput, StoreError, UsageError
from affectflow.pipeline.evaluation import trained as trained_module
from affectflow.pipeline.evaluation.access import test_accesses as accesses
from affectflow.pipeline.evaluation.against import compare_runs
from affectflow.pipeline.evaluation.evaluate import Evaluation, evaluate_run
from affectflow.pipeline.evaluation.predict import predict
from affectflow.pipeline.evaluation.predictions import read_predictions
from affectflow.pipeline.evaluation.trained import TrainedRun
from affectflow.pipeline.training import opening
from affectflow.pipeline.training.metrics.memotion import fits
from affectflow.pipeline.training.opening import open_data
from affectflow.pipeline.training.run_folder import task_to_json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    labelled_store(folder / "store")
    return trained_run(folder / "store", folder / "runs")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))


@pytest.fixture(scope="module")
def evaluated(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("copy") / made.name
    shutil.copytree(made, folder)
    return evaluate_run(TrainedRun(folder), resamples=50)


def test_everything_is_written_into_the_run(evaluated: Evaluation) -> None:
    for seed in ("seed-1", "seed-2"):
        scores = json.loads((evaluated.run / seed / "test.json").read_text("utf-8"))
        assert scores["batch_policy"] == "each sample on its own"
        assert scores["results"]["mood"]["n"] == 12
        assert set(scores["majority"]["mood"]) <= set(scores["results"]["mood"])
        assert scores["guessing"]["mood"]["n"] == 12
        found = read_predictions(evaluated.run / seed / "predictions-test.parquet")
        assert found.split == "test"
        assert len(found) == 12
        assert scores["results"]["mood"]["accuracy"] == pytest.approx(
            float((found.decisions["mood"] == found.labels["mood"]).mean())
        )
    table = json.loads((evaluated.run / "table-test.json").read_text("utf-8"))
    assert [row["kind"] for row in table["rows"]] == ["baseline", "guess", "model"]
    assert list(table["confusions"]) == ["1", "2"]
    told = (evaluated.run / "table-test.md").read_text("utf-8")
    assert told.index("| majority class of train |") < told.index("| guessing by class shares")
    guess = table["rows"][1]["results"]["mood"]
    for metric in ("accuracy", "macro_f1", "weighted_f1"):
        assert guess[metric]["mean"] == pytest.approx(evaluated.guessing["mood"][metric])


def test_what_stands_beside_the_numbers(evaluated: Evaluation) -> None:
    facts = evaluated.table.rows[-1].facts
    # Two per product: three hidden layers 6 x 8, heads of 2, 3 and 1, and the mean over tokens,
    # of which the longest text of the first batch has 4.
    assert facts["forward FLOPs per sample"] == 2 * (3 * 6 * 8 + 8 * (2 + 3 + 1) + 4 * 6)
    assert facts["features"] == "tokens bert@01234567"
    assert facts["trainable"] == facts["parameters"] == 3 * 7 * 8 + 9 * (2 + 3 + 1)
    scores = next(iter(evaluated.seeds.values())).results
    assert 0 <= scores["mood"]["ece"] <= 1


def test_mean_and_interval_are_those_of_the_seeds(evaluated: Evaluation) -> None:
    row = evaluated.table.rows[-1]
    cell, around = row.results["mood"]["accuracy"], row.intervals["mood"]["accuracy"]
    each = [scores.results["mood"]["accuracy"] for scores in evaluated.seeds.values()]
    assert cell.mean == pytest.approx(np.mean(each))
    assert cell.std == pytest.approx(np.std(each, ddof=1))
    assert around.value == pytest.approx(cell.mean)
    assert around.low <= around.value <= around.high


def test_each_reading_of_test_is_written_down_before_it_happens(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **named: Any) -> Any:
        if "test" not in arguments[3]:
            assert not accesses(run)
            return open_data(*arguments, **named)
        assert len(accesses(run)) == 1
        raise StoreError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(trained_module, "open_data", broken)
        with pytest.raises(StoreError, match="disk is gone"):
            evaluate_run(TrainedRun(run), resamples=5)
    found = evaluate_run(TrainedRun(run), resamples=5)
    assert "the test split has been read 2 times for this run" in found.warnings
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert record["test_access"]["count"] == 2
    assert [entry["seeds"] for entry in accesses(run)] == [["1", "2"]] * 2
    assert [entry["decisions"] for entry in accesses(run)] == ["argmax"] * 2


def test_val_does_not_open_test(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []

    def watched(*arguments: Any, **named: Any) -> Any:
        asked.append(arguments[3])
        return open_data(*arguments, **named)

    monkeypatch.setattr(trained_module, "open_data", watched)
    evaluate_run(TrainedRun(run), "val", resamples=5)
    assert asked == [("train", "val")]
    assert not accesses(run)
    assert (run / "table-val.json").is_file()
    assert (run / "seed-1" / "evaluation-val.json").is_file()


@pytest.mark.parametrize("seed", ["seed-1", "seed-2"])
def test_a_run_that_cannot_be_loaded_does_not_cost_a_reading(run: Path, seed: str) -> None:
    (run / seed / "best" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InvalidInput):
        evaluate_run(TrainedRun(run), resamples=5)
    assert not accesses(run)


def test_a_store_or_feature_that_is_gone_does_not_cost_a_reading(
    run: Path, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError):
        evaluate_run(TrainedRun(run, stores=(tmp_path / "nowhere",)), resamples=5)
    store = Path(shutil.copytree(made.parents[2] / "store", tmp_path / "store"))
    shutil.rmtree(store / "features" / "mini" / "bert")
    with pytest.raises(StoreError, match="bert"):
        evaluate_run(TrainedRun(run, stores=(store,)), resamples=5)
    assert not accesses(run)
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert record["test_access"]["count"] == 0


def test_what_a_first_opening_reads_is_told(
    run: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "TOLD_BYTES", 0)
    told: list[str] = []
    for name in ("evaluate", "predict"):
        store = Path(shutil.copytree(made.parents[2] / "store", tmp_path / name))
        shutil.rmtree(store / "cache", ignore_errors=True)
        told.clear()
        again = TrainedRun(run, stores=(store,), tell=told.append)
        if name == "predict":
            predict(again, [])
        else:
            evaluate_run(again, "val", resamples=5)
        assert [line.partition(":")[0] for line in told] == ["preparing tokens"]


def test_training_again_keeps_the_count(made: Path, tmp_path: Path) -> None:
    store = made.parents[2] / "store"
    folder = trained_run(store, tmp_path / "runs")
    evaluate_run(TrainedRun(folder), resamples=5)
    assert trained_run(store, tmp_path / "runs", seeds=(3,)) == folder
    record = json.loads((folder / "run.json").read_text("utf-8"))
    assert record["test_access"]["count"] == 1


def test_thresholds_are_tuned_on_val_and_said(run: Path) -> None:
    found = evaluate_run(TrainedRun(run), tune="macro_f1", resamples=5)
    scores = json.loads((run / "seed-1" / "test.json").read_text("utf-8"))
    assert scores["thresholds"]["split"] == "val"
    assert set(scores["thresholds"]["values"]) == {"mood", "themes"}
    assert found.to_json()["thresholds"] == "macro_f1"
    assert [entry["decisions"] for entry in accesses(run)] == ["macro_f1"]
    said = "Binary decisions (mood, themes): by thresholds tuned on val for macro_f1, per seed."
    assert said in (run / "table-test.md").read_text("utf-8")
    with pytest.raises(ConfigError, match="say nothing"):
        evaluate_run(TrainedRun(run), "val", tune="macro_f1")


def test_the_features_of_the_training_are_asked_for(made: Path, tmp_path: Path) -> None:
    store, runs = tmp_path / "store", tmp_path / "runs"
    table, values = make_store(store, rows_of(60))
    folder = trained_run(store, runs)
    before = evaluate_run(TrainedRun(folder), "val", resamples=5)
    # A second fingerprint beside the first changes nothing.
    other = {key: np.asarray(value) * 0 + 9 for key, value in values["bert"].items()}
    write_feature(table, TOKENS, other, "f" * 16)
    after = evaluate_run(TrainedRun(folder), "val", resamples=5)
    assert after.to_json() == before.to_json()
    shutil.rmtree(store / "features" / "mini" / "bert" / "0123456789abcdef")
    with pytest.raises(StoreError, match="0123456789abcdef"):
        evaluate_run(TrainedRun(folder), "val", resamples=5)


def test_an_unlabelled_split_is_refused(tmp_path: Path) -> None:
    blank = {"label.mood": None, "label.themes": None, "label.strength": None}
    rows = [{**row, **(blank if row["split"] == "test" else {})} for row in rows_of(60)]
    make_store(tmp_path / "store", rows)
    folder = trained_run(tmp_path / "store", tmp_path / "runs")
    with pytest.raises(InvalidInput, match="no labels at all"):
        evaluate_run(TrainedRun(folder), resamples=5)


def test_unknown_splits_and_seedless_runs_are_errors(run: Path) -> None:
    with pytest.raises(UsageError, match="split"):
        evaluate_run(TrainedRun(run), "train")
    shutil.rmtree(run / "seed-1")
    shutil.rmtree(run / "seed-2")
    with pytest.raises(StoreError, match="no seed"):
        evaluate_run(TrainedRun(run), "val")


def test_two_runs_are_compared_on_what_they_wrote(made: Path, tmp_path: Path) -> None:
    store = made.parents[2] / "store"
    first = trained_run(store, tmp_path / "runs")
    second = trained_run(store, tmp_path / "runs", hidden=5)
    with pytest.raises(StoreError, match="not been evaluated"):
        compare_runs(first, second, "test", "auto", resamples=50)
    each = [evaluate_run(TrainedRun(folder), resamples=5) for folder in (first, second)]
    reads = len(accesses(first))
    found = compare_runs(first, second, "test", "auto", resamples=50)
    assert len(accesses(first)) == reads
    assert found.seeds == ("1", "2")
    gap = [one.table.rows[-1].results["mood"]["accuracy"].mean for one in each]
    assert found.differences["mood"]["accuracy"].samples.value == pytest.approx(gap[0] - gap[1])
    same = compare_runs(first, first, "test", "auto", resamples=50)
    assert same.differences["mood"]["accuracy"].samples.high == 0
    assert (first / f"against-{second.name}-test.json").is_file()


def test_runs_without_a_common_seed_are_not_compared(made: Path, tmp_path: Path) -> None:
    store = made.parents[2] / "store"
    first = trained_run(store, tmp_path / "runs", seeds=(1,))
    second = trained_run(store, tmp_path / "runs", hidden=5, seeds=(4,))
    for folder in (first, second):
        evaluate_run(TrainedRun(folder), "val", resamples=5)
    with pytest.raises(InvalidInput, match="no seed in common"):
        compare_runs(first, second, "val", "auto")


def test_near_duplicates_are_drawn_together(tmp_path: Path) -> None:
    rows = rows_of(60)
    for row in rows:
        # All samples of test are one picture: there is nothing to draw from.
        row["group"] = "same" if row["split"] == "test" else row["key"]
    make_store(tmp_path / "store", rows)
    run = TrainedRun(trained_run(tmp_path / "store", tmp_path / "runs"))
    assert run.groups(["k004", "k009", "k000"]).tolist() == [1, 1, 0]
    found = evaluate_run(run, resamples=20)
    around = found.table.rows[-1].intervals["mood"]["accuracy"]
    assert around.low == around.high == around.value
    assert "(11 samples beside another)" in found.table.notes[0]


def test_an_interrupted_seed_is_in_no_mean(run: Path) -> None:
    record = json.loads((run / "run.json").read_text("utf-8"))
    record["seeds"]["2"]["status"] = "running"
    (run / "run.json").write_text(json.dumps(record), "utf-8")
    found = evaluate_run(TrainedRun(run), "val", resamples=5)
    assert list(found.seeds) == ["1"]
    assert "not finished: seed 2, left out" in found.warnings
    # It still can speak for itself.
    assert predict(TrainedRun(run), [], splits=["val"], seed="2").seed == "2"
    assert predict(TrainedRun(run), [], splits=["val"]).seed == "1"
    record["seeds"]["1"]["status"] = "failed"
    (run / "run.json").write_text(json.dumps(record), "utf-8")
    found = evaluate_run(TrainedRun(run), "val", resamples=5)
    assert list(found.seeds) == ["1", "2"]
    assert "not finished: seed 1, 2, scored as they are" in found.warnings


def test_a_run_is_evaluated_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled_store(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    made = trained_run(Path("store"), tmp_path / "runs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(evaluate_run(TrainedRun(made), "val", resamples=5).seeds) == 2


def test_the_memotion_sets_are_scored_as_their_competitions_did(made: Path) -> None:
    class Other(TrainedRun):
        dataset = "memotion2"

    def tasks(*shapes: tuple[str, int]) -> list[Task]:
        return [Task(name, classes=tuple("abcdef"[:size])) for name, size in shapes]

    assert TrainedRun(made).family == "auto"
    assert Other(made).family == "memotion2"
    assert fits(tasks(("sentiment", 3), ("humour", 2), ("humour_scale", 4), ("mood", 5)))
    # Tables of one's own with that name.
    assert not fits(tasks(("sentiment", 5)))
    assert not fits(tasks(("sentiment", 3), ("offensive_scale", 3)))
    assert not fits([Task("sentiment", "regression", (), -1, 1)])
    own = replace_tasks(Other(made), [Task("sentiment", "multilabel", ("a", "b", "c"))])
    assert own.family == "auto"


def replace_tasks(run: TrainedRun, tasks: Sequence[Task]) -> TrainedRun:
    run.record["tasks"] = [task_to_json(task) for task in tasks]
    return run


def test_seeds_that_were_left_out_are_in_no_comparison_either(run: Path) -> None:
    evaluate_run(TrainedRun(run), "val", resamples=5)
    assert compare_runs(run, run, "val", "auto", resamples=5).seeds == ("1", "2")
    record = json.loads((run / "run.json").read_text("utf-8"))
    record["seeds"]["2"]["status"] = "running"
    (run / "run.json").write_text(json.dumps(record), "utf-8")
    evaluate_run(TrainedRun(run), "val", resamples=5)
    assert compare_runs(run, run, "val", "auto", resamples=5).seeds == ("1",)


def test_a_comparison_says_which_seed_decided_how(run: Path) -> None:
    evaluate_run(TrainedRun(run), "val", resamples=5)
    path = run / "seed-2" / "evaluation-val.json"
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**facts, "thresholds": {"criterion": "accuracy"}}), "utf-8")
    said = compare_runs(run, run, "val", "auto", resamples=5).decided[0]
    tuned = "checkpoint best, thresholds tuned on val for accuracy (seed 2)"
    assert said == f"checkpoint best (seed 1); {tuned}"
