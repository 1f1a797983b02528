from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.training.sweep.space import make_space
from affectflow.pipeline.training.sweep.table import ranked
from affectflow.pipeline.training.sweep.trials import (
    TABLE_NAME,
    Finding,
    Sweep,
    Sweeping,
    Trial,
    read_trials,
)


class Runner:
    """Pretends to train: the value is the learning rate; some rates cannot be trained."""

    def __init__(self, broken: Mapping[float, BaseException] | None = None) -> None:
        self.broken = dict(broken or {})
        self.asked: list[float] = []

    def __call__(self, overrides: Mapping[str, Mapping[str, Any]]) -> Finding:
        rate = overrides["optimizer"]["lr"]
        assert overrides["model"] == {"width": 8}
        self.asked.append(rate)
        if rate in self.broken:
            raise self.broken[rate]
        return Finding(f"toy-{rate}", {"1": rate, "2": rate * 3}, "val/mean/macro_f1", True)


def same(overrides: Mapping[str, Mapping[str, Any]]) -> str:
    return "d1"


def sweep(*rates: float) -> Sweep:
    space = make_space([f"optimizer.lr={','.join(map(str, rates))}"], [], None)
    return Sweep("toy", "mini", space, base=("model.width=8",), seeds=(1, 2))


def test_trials_are_ranked_by_their_mean_on_val(tmp_path: Path) -> None:
    trials = Sweeping(sweep(0.1, 0.3, 0.2), tmp_path, Runner(), same).finish()
    assert [trial.settings["optimizer.lr"] for trial in trials] == [0.1, 0.3, 0.2]
    assert [trial.number for trial in ranked(trials)] == [1, 2, 0]
    assert ranked(trials)[0].mean == pytest.approx(0.6)


def test_a_failed_trial_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    broken = {
        0.2: InvalidInput("the loss is nan", "lower it"),
        0.3: RuntimeError("shapes\n differ"),
    }
    trials = Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, Runner(broken), same).finish()
    assert [trial.status for trial in trials] == ["done", "failed", "failed", "done"]
    assert "loss is nan" in trials[1].error
    assert trials[2].error == "RuntimeError: shapes differ"
    text = (sweep(0.1, 0.2, 0.3, 0.4).folder(tmp_path) / TABLE_NAME).read_text("utf-8")
    assert "failed: the loss is nan" in text
    assert text.index("| 4 | 0.4") < text.index("| 1 | 0.1") < text.index("failed")


def test_running_again_runs_only_what_is_missing(tmp_path: Path) -> None:
    stop = Runner({0.3: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, stop, same).finish()
    again = Runner({0.4: InvalidInput("no")})
    Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, again, same).finish()
    assert again.asked == [0.3, 0.4]
    last = Runner()
    assert Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, last, same).finish()[3].status == "failed"
    assert last.asked == []
    Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, last, same, retry=True).finish()
    assert last.asked == [0.4]
    found = read_trials(sweep(0.1, 0.2, 0.3, 0.4).folder(tmp_path))
    assert [trial.status for trial in found] == ["done"] * 4


def test_trials_on_other_data_run_again_and_say_so(tmp_path: Path) -> None:
    wanted = sweep(0.1, 0.2, 0.3)
    digests = {0.1: "a", 0.2: "a", 0.3: "a"}
    told: list[tuple[int, str, str]] = []

    def digest_of(overrides: Mapping[str, Mapping[str, Any]]) -> str:
        return digests[overrides["optimizer"]["lr"]]

    def finish(runner: Runner) -> list[float]:
        told.clear()

        def stale(trial: Trial, count: int) -> None:
            told.append((trial.number, trial.status, trial.data))

        Sweeping(wanted, tmp_path, runner, digest_of, stale=stale).finish()
        return runner.asked

    assert finish(Runner({0.3: InvalidInput("no")})) == [0.1, 0.2, 0.3]
    assert told == []
    assert finish(Runner()) == []
    digests |= {0.2: "b", 0.3: "b"}
    assert finish(Runner()) == [0.2, 0.3]
    assert told == [(1, "done", "a"), (2, "failed", "a")]
    found = read_trials(wanted.folder(tmp_path))
    assert [(trial.data, trial.status) for trial in found] == [
        ("a", "done"),
        ("b", "done"),
        ("b", "done"),
    ]
    assert finish(Runner()) == []


def test_trials_without_a_digest_on_record_run_again(tmp_path: Path) -> None:
    Sweeping(sweep(0.1), tmp_path, Runner(), same).finish()
    path = sweep(0.1).folder(tmp_path) / "trials.json"
    known = json.loads(path.read_text("utf-8"))
    del known["trials"][0]["data"]
    path.write_text(json.dumps(known), "utf-8")
    again = Runner()
    Sweeping(sweep(0.1), tmp_path, again, same).finish()
    assert again.asked == [0.1]


def test_trials_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    Sweeping(sweep(0.1), tmp_path, Runner(), same).finish()
    folder = sweep(0.1).folder(tmp_path)
    # As it was written before trials noted their data; the run has no table.
    finding = {"run": "toy-0.1", "values": {"1": 0.1}, "monitor": "val/loss", "maximise": False}
    old = {"number": 0, "settings": {"optimizer.lr": 0.1}, "status": "done", "error": ""}
    trials = {"trials": [{**old, "finding": finding, "seconds": 1.0}]}
    (folder / "trials.json").write_text(json.dumps(trials), "utf-8")
    (found,) = read_trials(folder)
    assert (found.mean, found.std, found.data) == (0.1, None, "")


def test_the_spread_is_that_of_a_sample(tmp_path: Path) -> None:
    (trial,) = Sweeping(sweep(0.1), tmp_path, Runner(), same).finish()
    # 0.1 and 0.3: each 0.1 from the mean, over one degree of freedom.
    assert trial.std == pytest.approx(0.02**0.5)


def test_more_draws_are_the_same_sweep(tmp_path: Path) -> None:
    def drawn(trials: int) -> Sweep:
        space = make_space([], ["optimizer.lr=uniform(0,1)"], trials)
        return Sweep("toy", "mini", space, base=("model.width=8",), seeds=(1, 2))

    first, second = Runner(), Runner()
    Sweeping(drawn(2), tmp_path, first, same).finish()
    trials = Sweeping(drawn(5), tmp_path, second, same).finish()
    assert (len(first.asked), len(second.asked), len(trials)) == (2, 3, 5)
    assert drawn(2).folder(tmp_path) == drawn(5).folder(tmp_path)


def test_another_seed_or_base_is_another_sweep(tmp_path: Path) -> None:
    base = sweep(0.1)
    other = Sweep("toy", "mini", base.space, base=("model.width=9",), seeds=(1, 2))
    seeds = Sweep("toy", "mini", base.space, base=base.base, seeds=(1,))
    assert len({found.folder(tmp_path) for found in (base, other, seeds)}) == 3


def test_files_are_plain_json_and_name_no_path(tmp_path: Path) -> None:
    Sweeping(sweep(0.1), tmp_path, Runner(), same).finish()
    folder = sweep(0.1).folder(tmp_path)
    for name in ("sweep.json", "trials.json"):
        text = (folder / name).read_text("utf-8")
        json.loads(text)
        assert str(tmp_path) not in text
    assert "the test split was not opened" in (folder / "table.md").read_text("utf-8")
