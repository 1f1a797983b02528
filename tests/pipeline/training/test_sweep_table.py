from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from affectflow.pipeline.training.sweep.table import markdown, read_baselines, table
from affectflow.pipeline.training.sweep.trials import Finding, Trial

MAJORITY, GUESSING = "majority class of train", "guessing by class shares of train"


def trial(number: int, values: Mapping[str, float], monitor: str = "val/mood/macro_f1") -> Trial:
    finding = Finding(f"toy-{number}", values, monitor, monitor != "val/loss")
    return Trial(number, {"optimizer.lr": number}, "done", finding=finding)


def write_run(folder: Path, name: str, *kinds: str, score: float | None = 0.25) -> None:
    """Write the table of a run: rows of these kinds, ever a tenth better."""
    rows = [
        {"kind": kind, "results": {"mood": {"macro_f1": {"mean": score and score + place / 10}}}}
        for place, kind in enumerate(kinds)
    ]
    (folder.parent / name).mkdir(parents=True)
    (folder.parent / name / "table.json").write_text(json.dumps({"rows": rows}), "utf-8")


def test_baselines_stand_first_and_trials_follow_by_their_mean() -> None:
    trials = [trial(0, {"1": 0.2}), trial(1, {"1": 0.5, "2": 0.7}), Trial(2, {}, "failed", "no")]
    heads, rows = table(trials, {MAJORITY: 0.33333, GUESSING: 0.5})
    assert heads == ["trial", "optimizer.lr", "val/mood/macro_f1", "seeds", "status", "run"]
    assert rows[0] == [MAJORITY, "", "0.3333", "", "", ""]
    assert rows[1] == [GUESSING, "", "0.5000", "", "", ""]
    # What is shown counts from 1, as "trial 1 of 3" does.
    assert [row[0] for row in rows[2:]] == ["2", "1", "3"]
    # Sample deviation over several seeds, none of one.
    assert [row[2] for row in rows[2:]] == ["0.6000 ± 0.1414", "0.2000", "–"]
    assert rows[2][3] == "0.5000, 0.7000"


def test_markdown_says_what_stands_after_the_mean() -> None:
    text = markdown([trial(0, {"1": 0.2, "2": 0.2})], {MAJORITY: None})
    assert f"| {MAJORITY} |  | n/a |" in text
    assert "0.2000 ± 0.0000" in text
    assert "mean ± sample std" in text


def test_baselines_are_those_of_a_finished_run(tmp_path: Path) -> None:
    folder = tmp_path / "mini" / "sweep-toy"
    write_run(folder, "toy-1", "baseline", "guess", "model")
    # The best trial's run has gone.
    trials = [Trial(2, {}), trial(0, {"1": 0.9}), trial(1, {"1": 0.2})]
    assert read_baselines(folder, trials) == {MAJORITY: 0.25, GUESSING: pytest.approx(0.35)}


@pytest.mark.parametrize("monitor", ["val/loss", "val/mood/macro_f1"])
def test_what_is_not_defined_is_not_known(tmp_path: Path, monitor: str) -> None:
    folder = tmp_path / "mini" / "sweep-toy"
    unknown = {MAJORITY: None, GUESSING: None}
    assert read_baselines(folder, [trial(0, {"1": 0.9}, monitor)]) == unknown
    # Undefined in the run's table, and without the row of guessing.
    write_run(folder, "toy-0", "baseline", "model", score=None)
    assert read_baselines(folder, [trial(0, {"1": 0.9}, monitor)]) == unknown
    assert read_baselines(folder, [Trial(0, {})]) == unknown
