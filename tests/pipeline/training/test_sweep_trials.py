from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.training.sweep.space import make_space
from affectflow.pipeline.training.sweep.trials import (
    Finding,
    Sweep,
    Sweeping,
    markdown,
    ranked,
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


def sweep(*rates: float) -> Sweep:
    space = make_space([f"optimizer.lr={','.join(map(str, rates))}"], [], None)
    return Sweep("toy", "mini", space, base=("model.width=8",), seeds=(1, 2))


def test_trials_are_ranked_by_their_mean_on_val(tmp_path: Path) -> None:
    trials = Sweeping(sweep(0.1, 0.3, 0.2), tmp_path, Runner()).finish()
    assert [trial.settings["optimizer.lr"] for trial in trials] == [0.1, 0.3, 0.2]
    assert [trial.number for trial in ranked(trials)] == [1, 2, 0]
    assert ranked(trials)[0].mean == pytest.approx(0.6)


def test_a_failed_trial_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    broken = {
        0.2: InvalidInput("the loss is nan", "lower it"),
        0.3: RuntimeError("shapes\n differ"),
    }
    trials = Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, Runner(broken)).finish()
    assert [trial.status for trial in trials] == ["done", "failed", "failed", "done"]
    assert "loss is nan" in trials[1].error
    assert trials[2].error == "RuntimeError: shapes differ"
    text = markdown(trials)
    assert "failed: the loss is nan" in text
    assert text.index("0.4") < text.index("0.1") < text.index("failed")


def test_running_again_runs_only_what_is_missing(tmp_path: Path) -> None:
    stop = Runner({0.3: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, stop).finish()
    again = Runner({0.4: InvalidInput("no")})
    Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, again).finish()
    assert again.asked == [0.3, 0.4]
    last = Runner()
    assert Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, last).finish()[3].status == "failed"
    assert last.asked == []
    Sweeping(sweep(0.1, 0.2, 0.3, 0.4), tmp_path, last, retry=True).finish()
    assert last.asked == [0.4]
    found = read_trials(sweep(0.1, 0.2, 0.3, 0.4).folder(tmp_path))
    assert [trial.status for trial in found] == ["done"] * 4


def test_more_draws_are_the_same_sweep(tmp_path: Path) -> None:
    def drawn(trials: int) -> Sweep:
        space = make_space([], ["optimizer.lr=uniform(0,1)"], trials)
        return Sweep("toy", "mini", space, base=("model.width=8",), seeds=(1, 2))

    first, second = Runner(), Runner()
    Sweeping(drawn(2), tmp_path, first).finish()
    trials = Sweeping(drawn(5), tmp_path, second).finish()
    assert (len(first.asked), len(second.asked), len(trials)) == (2, 3, 5)
    assert drawn(2).folder(tmp_path) == drawn(5).folder(tmp_path)


def test_another_seed_or_base_is_another_sweep(tmp_path: Path) -> None:
    base = sweep(0.1)
    other = Sweep("toy", "mini", base.space, base=("model.width=9",), seeds=(1, 2))
    seeds = Sweep("toy", "mini", base.space, base=base.base, seeds=(1,))
    assert len({found.folder(tmp_path) for found in (base, other, seeds)}) == 3


def test_files_are_plain_json_and_name_no_path(tmp_path: Path) -> None:
    Sweeping(sweep(0.1), tmp_path, Runner()).finish()
    folder = sweep(0.1).folder(tmp_path)
    for name in ("sweep.json", "trials.json"):
        text = (folder / name).read_text("utf-8")
        json.loads(text)
        assert str(tmp_path) not in text
    assert "the test split was not opened" in (folder / "table.md").read_text("utf-8")
