from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.toy_training import one_thread, silent
from support.training_stores import FAILED, make_store, rows_of

from affectflow.pipeline.errors import AffectflowError, ConfigError, StoreError, UsageError
from affectflow.pipeline.evaluation.access import test_accesses as accesses
from affectflow.pipeline.training import experiment
from affectflow.pipeline.training.opening import open_data
from affectflow.pipeline.training.sweep.run import data_digests, trial_runner
from affectflow.pipeline.training.sweep.space import make_space
from affectflow.pipeline.training.sweep.table import read_baselines
from affectflow.pipeline.training.sweep.trials import Sweep, Sweeping, Trial

BASE = (
    "trainer.epochs=1",
    "trainer.tensorboard=false",
    "trainer.device=cpu",
    "model.hidden=[4]",
    "loader.batch_size=8",
)


def swept(store: Path, runs: Path, *grid: str) -> list[Trial]:
    return swept_with("trainer.epochs=1", store, runs, *grid)


def swept_with(base: str, store: Path, runs: Path, *grid: str) -> list[Trial]:
    space = make_space(grid or ["optimizer.lr=1e-3,1e-2"], [], None)
    wanted = Sweep("text_tokens", "mini", space, (*BASE, base), seeds=(1,))
    with one_thread():
        run = trial_runner(wanted, [store], runs, silent)
        return Sweeping(wanted, runs, run, data_digests(wanted, [store])).finish()


def relabelled(row: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return another label for the first sample of a split, nothing for the others."""
    other = row["split"] == split and row["key"] in ("k000", "k004")
    return {"label.mood": 1 - row["label.mood"]} if other else {}


def test_trials_are_runs_with_values_on_val(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    trials = swept(tmp_path / "store", tmp_path / "runs")
    assert [trial.status for trial in trials] == ["done", "done"]
    for trial in trials:
        assert trial.finding is not None
        assert trial.finding.monitor.startswith("val/")
        folder = tmp_path / "runs" / "mini" / trial.finding.run
        record = json.loads((folder / "run.json").read_text("utf-8"))
        assert record["settings"]["optimizer"]["lr"] == trial.settings["optimizer.lr"]
        assert record["seeds"]["1"]["best"] == trial.finding.values["1"]


def test_only_train_and_val_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "store", rows_of(40))
    asked: list[Sequence[str]] = []

    def watched(*arguments: Any, splits: Sequence[str], **more: Any) -> Any:
        asked.append(splits)
        data = open_data(*arguments, splits=splits, **more)
        with pytest.raises(StoreError, match="'test' was not opened"):
            data.split("test")
        return data

    monkeypatch.setattr(experiment, "open_data", watched)
    trials = swept(tmp_path / "store", tmp_path / "runs")
    # Once to name the data of both trials, and once for each.
    assert asked == [("train", "val")] * 3
    for trial in trials:
        assert trial.finding is not None
        assert not accesses(tmp_path / "runs" / "mini" / trial.finding.run)


def test_labels_of_test_change_nothing(tmp_path: Path) -> None:
    rows = rows_of(40)
    make_store(tmp_path / "one", rows)
    # Codes that no task knows: whoever reads them fails.
    wrong = [{**row, **({"label.mood": 77} if row["split"] == "test" else {})} for row in rows]
    make_store(tmp_path / "other", wrong)
    found = [swept(tmp_path / name, tmp_path / f"runs-{name}") for name in ("one", "other")]
    values = [[trial.finding and trial.finding.values for trial in trials] for trials in found]
    assert values[0] == values[1]
    from support.training_stores import opened

    with pytest.raises(StoreError, match=r"77|mood"):
        opened(tmp_path / "other", "train", "test")


def test_trials_follow_the_data(tmp_path: Path) -> None:
    store, runs = tmp_path / "store", tmp_path / "runs"
    rows = rows_of(40)
    make_store(store, rows)
    before = swept(store, runs)
    assert swept(store, runs) == before
    # Labels of test are not among the data of a trial.
    shutil.rmtree(store)
    make_store(store, [{**row, **relabelled(row, "test")} for row in rows])
    assert swept(store, runs) == before
    shutil.rmtree(store)
    make_store(store, [{**row, **relabelled(row, "train")} for row in rows])
    after = swept(store, runs)
    for old, new in zip(before, after, strict=True):
        assert old.finding is not None
        assert new.finding is not None
        assert new.data != old.data
        assert new.finding.run != old.finding.run
        record = json.loads((runs / "mini" / new.finding.run / "run.json").read_text("utf-8"))
        assert record["data"]["digest"] == new.data


def test_data_that_are_gone_are_said_and_nothing_is_lost(tmp_path: Path) -> None:
    store, runs = tmp_path / "store", tmp_path / "runs"
    make_store(store, rows_of(40))
    before = swept(store, runs)
    (store / "features").rename(tmp_path / "away")
    with pytest.raises(StoreError, match="tokens"):
        swept(store, runs)
    (tmp_path / "away").rename(store / "features")
    assert swept(store, runs) == before


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("foo.bar=1,2", "unknown owner 'foo'"),
        ("model.hiden=[4],[5]", "did you mean hidden"),
        ("loader.batch_sise=8", "unknown key 'batch_sise'"),
        ("loader.batch_size=8,0", "'batch_size' = 0"),
        ("optimizer.kind=adamw,adamm", "'kind' = 'adamm'"),
        ("data.features.tokens=bert,brt", "'brt'; did you mean bert"),
        ("data.features.tokns=bert", "unknown role 'tokns'"),
        ("trainer.monitor=val/mood/macrof1", "macrof1"),
    ],
)
def test_what_no_trial_could_take_leaves_nothing(tmp_path: Path, grid: str, words: str) -> None:
    make_store(tmp_path / "store")
    with pytest.raises(AffectflowError, match=words) as caught:
        swept(tmp_path / "store", tmp_path / "runs", grid)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_an_unknown_dataset_leaves_nothing(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    wanted = Sweep("text_tokens", "miny", make_space(["loader.batch_size=4,8"], [], None))
    run = trial_runner(wanted, [tmp_path / "store"], tmp_path / "runs", silent)
    digest_of = data_digests(wanted, [tmp_path / "store"])
    with pytest.raises(StoreError, match="did you mean mini"):
        Sweeping(wanted, tmp_path / "runs", run, digest_of).finish()
    assert not (tmp_path / "runs").exists()


def test_settings_that_do_not_go_together_are_a_failed_trial(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    grid = ("data.scale.tokens=1,0.5", "data.standardize=[],[tokens]")
    trials = swept(tmp_path / "store", tmp_path / "runs", *grid)
    assert [trial.status for trial in trials] == ["done", "done", "done", "failed"]
    assert "both name 'tokens'" in trials[3].error


def test_the_table_has_the_baselines_of_training(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    trials = swept(tmp_path / "store", tmp_path / "runs")
    (folder,) = (tmp_path / "runs" / "mini").glob("sweep-*")
    found = read_baselines(folder, trials)
    assert trials[0].finding is not None
    run = folder.parent / trials[0].finding.run
    rows = json.loads((run / "table.json").read_text("utf-8"))["rows"]
    expected = {row["name"]: row["results"]["mean"]["macro_f1"]["mean"] for row in rows[:2]}
    assert found == expected
    assert list(found) == ["majority class of train", "guessing by class shares of train"]
    lines = (folder / "table.md").read_text("utf-8").splitlines()
    for line, (name, value) in zip(lines[2:4], expected.items(), strict=True):
        assert line.startswith(f"| {name} |")
        assert f" {value:.4f} " in line


def test_a_model_that_there_is_not_is_said_at_once(tmp_path: Path) -> None:
    wanted = Sweep("text_tokns", "mini", make_space(["loader.batch_size=4,8"], [], None))
    run = trial_runner(wanted, [tmp_path], tmp_path / "runs", silent)
    with pytest.raises(UsageError, match="did you mean text_tokens"):
        Sweeping(wanted, tmp_path / "runs", run, data_digests(wanted, [tmp_path])).finish()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("base", "grid", "words"),
    [
        ("data.tasks=[strength]", "loss.regression=l1,mse", "ranked by val/loss, each by another"),
        ("trainer.monitor=val/loss", "loss.class_weights=none,balanced", "each by another loss"),
        ("data.missing=drop", "data.features.tokens=bert,regions", "different samples of val"),
        ("data.tasks=[mood]", "data.missing=keep,drop", "cannot search data.missing"),
    ],
)
def test_trials_that_cannot_be_compared_are_refused(
    tmp_path: Path, base: str, grid: str, words: str
) -> None:
    make_store(tmp_path / "store", rows_of(40), {"bert": {"k002": FAILED}})
    with pytest.raises(ConfigError, match=words):
        swept_with(base, tmp_path / "store", tmp_path / "runs", grid)
    assert not (tmp_path / "runs").exists()


def test_another_loss_under_a_metric_is_compared(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    grid = "loss.class_weights=none,balanced"
    trials = swept_with(
        "trainer.monitor=val/mood/accuracy", tmp_path / "store", tmp_path / "runs", grid
    )
    assert [trial.status for trial in trials] == ["done", "done"]
