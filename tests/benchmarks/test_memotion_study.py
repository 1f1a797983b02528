"""The Memotion study: what it concludes from evaluations, and what it prepares."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import memotion_study as study

KNOWN = {
    "split_seed": 2026,
    "samples": "0123456789abcdef",
    "test": 100,
    "opened_split_seed": 42,
    "test_opened_before": 15,
    "mean_length": {"tokens": 8.0, "regions": 40.0, "e_img": 1.0, "e_txt": 1.0},
    "scale": {"tokens": 1.0, "regions": 0.2, "e_img": 8.0, "e_txt": 8.0},
}


def scores(value: float) -> dict[str, Any]:
    cell = {"mean": value, "std": None, "values": {}}
    return {task: {"macro_f1": cell, "accuracy": cell} for task in study.TASKS}


def evaluation(low: dict[str, float]) -> dict[str, Any]:
    model = {
        "name": "model",
        "kind": "model",
        "results": scores(0.55),
        "intervals": {
            task: {"macro_f1": {"low": low.get(task, 0.45), "high": 0.65}} for task in study.TASKS
        },
    }
    return {
        "run": "model-abc",
        "rows": [
            {"name": "majority", "kind": "baseline", "results": scores(0.4), "intervals": {}},
            {"name": "guessing", "kind": "guess", "results": scores(0.5), "intervals": {}},
            model,
        ],
        "labelled": dict.fromkeys(study.TASKS, 100),
        "warnings": ["the test split has been read 2 times for this run"],
        "published": [{"title": "not ours"}],
    }


def studied(low: dict[str, float]) -> dict[str, Any]:
    other = {how: evaluation(dict.fromkeys(study.TASKS, 0.0)) for how in study.DECISIONS}
    found = dict.fromkeys(study.ENTRIES, other)
    found[study.JUDGED[0]] = {**other, study.JUDGED[1]: evaluation(low)}
    return study.result(found, KNOWN, "1,2,3")


def test_the_target_is_about_every_task_of_the_judged_line() -> None:
    assert studied({})["met"] is True
    assert studied({"sarcasm": 0.4})["met"] is False


def test_what_is_above_the_majority_need_not_be_above_guessing() -> None:
    found = studied({"humour": 0.51})
    assert "majority: +15.0 to +15.0 points of macro-F1, clear on 5 of 5" in found["headline"]
    assert "guessing: +5.0 to +5.0 points of macro-F1, clear on 1 of 5" in found["headline"]
    assert any("so on 1 of 5 tasks: humour." in note for note in found["notes"])


def test_every_training_has_a_line_for_each_way_to_decide() -> None:
    found = studied({})
    names = [row[0] for row in found["rows"]]
    assert names[:2] == ["majority", "guessing"]
    assert len(names) == 2 + 2 * len(study.ENTRIES)
    assert [name for name in names if "judged" in name] == [f"{', '.join(study.JUDGED)} (judged)"]
    assert all(len(row) == len(found["columns"]) for row in found["rows"])
    assert found["rows"][2][1] == "55.0 [0.0, 65.0]; 55.0"
    assert found["settings"]["feature_fusion"] == "data.scale.regions=0.2"
    assert any("15 of the 100 samples" in note for note in found["notes"])
    kept = found["evaluations"][study.JUDGED[0]][study.JUDGED[1]]
    assert set(kept["model"]["results"]["humour"]) == {"macro_f1", "accuracy"}
    assert kept["run"] == "model-abc"
    assert "published" not in kept
    json.dumps(found)


class FakeStore:
    """Two samples tables, one after the other, and features of known lengths."""

    def __init__(self, tests: list[set[str]]) -> None:
        self.tests = tests

    def samples(self, _: str) -> argparse.Namespace:
        test = self.tests.pop(0)
        splits = ["test" if key in test else "train" for key in "abcd"]
        return argparse.Namespace(keys=list("abcd"), splits=splits, digest="d" * 16)

    def feature(self, _: str, name: str) -> argparse.Namespace:
        vector = {"bert": [3.0, 4.0], "regions": [[6.0, 8.0], [0.0, 30.0]]}.get(name, [1.0])
        rows = [argparse.Namespace(value=np.array(vector)), argparse.Namespace(value=None)]
        return argparse.Namespace(rows=lambda: iter(rows))


def test_preparing_splits_afresh_and_counts_what_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    store = FakeStore([{"a", "b"}, {"b", "c"}])
    monkeypatch.setattr(study, "_pipeline", lambda *words: asked.append(words) or {})
    monkeypatch.setattr(study, "open_store", lambda _: store)
    options = argparse.Namespace(root="data", store=tmp_path, runs=tmp_path, split_seed=7)
    study.prepare(options)
    folder = tmp_path / "memotion_study" / "split-7"
    known = json.loads((folder / "prepared.json").read_text())
    assert (known["test"], known["test_opened_before"], known["opened_split_seed"]) == (2, 1, 42)
    assert known["mean_length"] == {"tokens": 5.0, "regions": 20.0, "e_img": 1.0, "e_txt": 1.0}
    assert known["scale"] == {"tokens": 1.0, "regions": 0.25, "e_img": 5.0, "e_txt": 5.0}
    assert [words[3] for words in asked] == ["memotion", str(folder / "memotion.yaml")]
    lines = (folder / "memotion.yaml").read_text().splitlines()
    assert "  seed: 7" in lines
    assert "name: memotion" in lines


def test_an_evaluation_is_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    answer = {**evaluation({}), "seeds": ["1"]}
    monkeypatch.setattr(study, "_pipeline", lambda *words: asked.append(words) or answer)
    options = argparse.Namespace(runs=tmp_path, split_seed=7, seeds="1")
    (tmp_path / "memotion_study" / "split-7").mkdir(parents=True)
    for how in ("argmax", "class shares of val", "argmax"):
        found = study._evaluated("text_tokens", "runs/model-abc", how, options)
        assert found["run"] == "model-abc"
    assert len(asked) == 2
    assert asked[1][-2:] == ("--tune-thresholds", "class_shares")
    # A training with other settings has another folder.
    study._evaluated("text_tokens", "runs/model-def", "argmax", options)
    assert len(asked) == 3
