from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.evaluated_runs import labelled_store, trained_run
from support.feature_stores import ABSENT, some_values, write_feature, write_table
from support.training_stores import TOKENS, make_store, rows_of

from affectflow.pipeline.errors import StoreError, UsageError
from affectflow.pipeline.evaluation.evaluate import evaluate_run
from affectflow.pipeline.evaluation.predict import best_seed, compare_recipes, predict
from affectflow.pipeline.evaluation.trained import TrainedRun
from affectflow.pipeline.records import FeatureSpec

BLANK = {"label.mood": None, "label.themes": None, "label.strength": None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("trained")
    return TrainedRun(trained_run(labelled_store(folder / "store"), folder / "runs"))


def new_store(
    folder: Path, spec: FeatureSpec = TOKENS, recipe: dict[str, Any] | None = None
) -> Path:
    """Write unlabelled samples with one feature of a fingerprint of their own."""
    rows = [{**row, **BLANK, "split": "test"} for row in rows_of(9)]
    table = write_table(folder, rows, 4)
    keys = [sample.key for shard in range(len(table.shards)) for sample in table.samples(shard)]
    values = some_values(spec, keys, {keys[0]: ABSENT}, seed=5)
    write_feature(table, spec, values, "9" * 16, recipe)
    return folder


def test_new_data_need_no_labels(run: TrainedRun, tmp_path: Path) -> None:
    said = predict(run, [new_store(tmp_path / "new")])
    found = said.predictions
    assert len(found) == 9
    assert (found.labels["mood"] == -1).all()
    assert np.isnan(found.labels["strength"]).all()
    assert np.isfinite(found.logits["mood"]).all()
    assert said.missing == {"tokens": 1}
    assert said.seed in ("1", "2")


def test_predictions_equal_those_of_evaluation(run: TrainedRun, tmp_path: Path) -> None:
    evaluated = evaluate_run(run, "val", resamples=5)
    for seed, scores in evaluated.seeds.items():
        said = predict(run, [], splits=["val"], seed=seed)
        assert said.predictions.keys.tolist() == scores.predictions.keys.tolist()
        assert np.array_equal(said.predictions.logits["mood"], scores.predictions.logits["mood"])
        assert (said.predictions.labels["mood"] == -1).all()


def test_all_splits_are_predicted_by_default(run: TrainedRun) -> None:
    assert len(predict(run, []).predictions) == 60
    with pytest.raises(UsageError, match="unknown split"):
        predict(run, [], splits=["dev"])
    with pytest.raises(UsageError, match="unknown seed"):
        predict(run, [], seed="77")


def test_the_best_seed_on_val_speaks(run: TrainedRun) -> None:
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    best = {seed: facts["best"] for seed, facts in record["seeds"].items()}
    expected = (max if record["monitor"] != "val/loss" else min)(best, key=lambda seed: best[seed])
    assert best_seed(run) == expected


@pytest.mark.parametrize(
    ("spec", "recipe", "words"),
    [
        (FeatureSpec("bert", "text", (None, 7)), None, "trained on shape"),
        (TOKENS, {"stage": "fake", "parameters": {"layer": 3}}, "parameters was None, is"),
        (TOKENS, {"stage": "other"}, "'tokens' .feature bert. was made differently: stage"),
        (FeatureSpec("bort", "text", (None, 6)), None, "did you mean bort|unknown feature"),
    ],
)
def test_features_that_do_not_fit_are_one_readable_line(
    run: TrainedRun, tmp_path: Path, spec: FeatureSpec, recipe: dict[str, Any] | None, words: str
) -> None:
    store = new_store(tmp_path / "new", spec, recipe)
    with pytest.raises(StoreError, match=words) as caught:
        predict(run, [store])
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_other_library_versions_are_a_warning(run: TrainedRun, tmp_path: Path) -> None:
    recipe = {"stage": "fake", "libraries": {"torch": "9.9"}}
    said = predict(run, [new_store(tmp_path / "new", recipe=recipe)])
    assert any("library versions" in text for text in said.warnings)


def test_a_store_without_the_dataset_is_said(run: TrainedRun, tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    with pytest.raises(StoreError, match="minni"):
        predict(run, [tmp_path / "store"], dataset="minni")


def test_tuned_thresholds_decide_where_there_are_some(tmp_path: Path) -> None:
    run = TrainedRun(trained_run(labelled_store(tmp_path / "store"), tmp_path / "runs"))
    with pytest.raises(UsageError, match="no thresholds were tuned for seed 1"):
        predict(run, [], seed="1", tuned=True)
    evaluated = evaluate_run(run, tune="macro_f1", resamples=5)
    for seed, scores in evaluated.seeds.items():
        said = predict(run, [], splits=["test"], seed=seed, tuned=True)
        for task in ("mood", "themes"):
            decided = said.predictions.decisions[task]
            assert np.array_equal(decided, scores.predictions.decisions[task])


def test_new_data_of_an_import_come_from_new_files(tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    table, written = make_store(folder / "store", rows_of(60))
    recipe = {
        "stage": "import.mmsa",
        "version": [1, 2],
        "parameters": {"folds": {"train": ["a"]}},
        "identity": {"sources": ["aa"], "shard_rows": 256},
    }
    write_feature(table, TOKENS, written["bert"], recipe=recipe)
    run = TrainedRun(trained_run(folder / "store", folder / "runs"))
    other = {
        **recipe,
        "parameters": {"folds": {}},
        "identity": {"sources": ["bb"], "shard_rows": 64},
    }
    said = predict(run, [new_store(tmp_path / "new", recipe=other)])
    assert len(said.predictions) == 9
    assert [text for text in said.warnings if text.startswith("tokens: imported from other files")]
    for wrong in ({**other, "version": [1, 3]}, {**other, "stage": "import.mult"}):
        with pytest.raises(StoreError, match="was made differently"):
            predict(run, [new_store(tmp_path / str(wrong["stage"]) / "x", recipe=wrong)])
    # What is no import has no such excuse.
    assert (
        list(
            compare_recipes(
                {"x": {"fingerprint": "a", "feature": "f", "recipe": recipe}},
                {"x": {"fingerprint": "b", "recipe": {**recipe, "parameters": {"folds": {}}}}},
            )
        )
        == []
    )
    extracted = {**recipe, "stage": "bert"}
    with pytest.raises(StoreError, match=r"identity\.sources was"):
        list(
            compare_recipes(
                {"x": {"fingerprint": "a", "feature": "f", "recipe": extracted}},
                {
                    "x": {
                        "fingerprint": "b",
                        "recipe": {**extracted, "identity": {"sources": ["bb"]}},
                    }
                },
            )
        )
