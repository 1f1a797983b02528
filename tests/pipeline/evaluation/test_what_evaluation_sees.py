from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.evaluated_runs import labelled_store, trained_run
from support.fusion_batches import small_config
from support.toy_training import one_thread, silent
from support.training_stores import ABSENT, TOKENS, make_store, rows_of, write_children

from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.evaluation.against import compare_runs
from affectflow.pipeline.evaluation.evaluate import evaluate_run
from affectflow.pipeline.evaluation.trained import TrainedRun
from affectflow.pipeline.training.experiment import train
from affectflow.pipeline.training.settings import resolve


def run_of(
    folder: Path, name: str, preset: str, changes: dict[str, Any], features: dict[str, str]
) -> TrainedRun:
    """Train a small model for one epoch on a new store."""
    store = folder / "store"
    if not store.exists():
        labelled_store(store)
    overrides = {
        "model": small_config(name, preset, changes).model_dump(mode="json"),
        "data": {"features": features},
        "loader": {"batch_size": 5, "bucket": True},
        "trainer": {"epochs": 1, "tensorboard": False, "device": "cpu"},
    }
    with one_thread():
        settings = resolve(name, "mini", [store], preset, overrides)
        return TrainedRun(train(settings, (1,), folder / "runs", silent).folder)


def test_the_samples_are_those_of_the_training(tmp_path: Path) -> None:
    store = tmp_path / "store"
    table, _ = make_store(store, rows_of(60))
    run = TrainedRun(trained_run(store, tmp_path / "runs"))
    before = evaluate_run(run, resamples=5)
    # The same samples with other splits: what was trained on is now called test.
    swapped = {"train": "test", "test": "train", "val": "val"}
    rows = [{**row, "split": swapped[row["split"]]} for row in rows_of(60)]
    other, _ = make_store(store, rows)
    assert other.content == table.content
    assert other.digest != table.digest
    after = evaluate_run(run, resamples=5)
    for seed, scores in before.seeds.items():
        found = after.seeds[seed].predictions
        assert found.keys.tolist() == scores.predictions.keys.tolist()
        np.testing.assert_array_equal(found.logits["mood"], scores.predictions.logits["mood"])
    for path in table.path.iterdir():
        path.unlink()
    table.path.rmdir()
    with pytest.raises(StoreError, match=table.digest):
        evaluate_run(run, resamples=5)


def test_the_graph_of_a_whole_split_is_the_one_evaluated(tmp_path: Path) -> None:
    linked = {"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), 0.0)}
    run = run_of(
        tmp_path,
        "mm_orient",
        "paper_figure",
        {"cmrl": linked, "eval": {"graph": "dataset"}},
        {"e_txt": "clip_image"},
    )
    data, loaded = run.open(("train", "test")), run.load("1")
    found = run.apply("1", loaded, data, "test").logits["mood"]
    rows = np.arange(len(data.split("test")))
    assert len(rows) > 2 * 5
    assert "neighbours from the whole split" in run.batch_policy(loaded.model)
    loaded.model.observe_split(None)
    with torch.inference_mode():
        whole = loaded.model(data.split("test").batch(rows)).logits["mood"].numpy()
        piece = loaded.model(data.split("test").batch(rows[:5])).logits["mood"].numpy()
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[:5], piece, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["running", "single"])
def test_neighbours_of_a_bank_are_said(tmp_path: Path, policy: str) -> None:
    changes = {"cmrl": {"scope": "bank", "bank_size": 8}, "eval": {"batch_policy": policy}}
    run = run_of(tmp_path, "mm_orient", "paper_figure", changes, {"e_txt": "clip_image"})
    words = run.batch_policy(run.load("1").model)
    assert words.startswith(f"eval.batch_policy={policy}, batches of 5")
    assert words.endswith("neighbours from the training bank") == (policy == "running")


def test_attention_is_among_the_counted_operations(tmp_path: Path) -> None:
    widths = {"width": 4, "heads": 2, "levels": 1, "min_self_levels": 1, "layout": "padded"}
    run = run_of(
        tmp_path,
        "mult",
        "unpadded",
        widths,
        {"text": "bert", "audio": "", "vision": ""},
    )
    data, loaded = run.open(("val",)), run.load("1")
    batch = data.split("val").batch(np.arange(5))
    steps = batch.features["text"].values.shape[1]
    outputs = loaded.model.out_layer.out_features
    # Convolution 6 x 4, in 4 x 12, out 4 x 4, feed-forward 2 x 4 x 16; two maps and the head.
    each_step = 6 * 4 + 4 * 12 + 4 * 4 + 2 * 4 * 16
    attention = 2 * steps * steps * 4
    expected = 2 * (steps * each_step + attention + 2 * 4 * 4 + 4 * outputs)
    assert run.forward_flops(loaded, data, "val") == expected


def test_samples_without_a_modality_are_scored_apart(tmp_path: Path) -> None:
    rows = rows_of(60)
    lacking = [row["key"] for row in rows if row["split"] == "test"][:4]
    store = tmp_path / "store"
    make_store(store, rows, {"bert": dict.fromkeys(lacking, ABSENT)})
    run = TrainedRun(trained_run(store, tmp_path / "runs"))
    found = evaluate_run(run, resamples=5)
    parts = {subset.name: subset for subset in found.subsets}
    assert {name: part.samples for name, part in parts.items()} == {
        "complete": 8,
        "without tokens": 4,
    }
    said = found.seeds["1"].predictions
    chosen = np.isin(said.keys.astype(str), lacking)
    right = (said.decisions["mood"] == said.labels["mood"])[chosen]
    assert parts["without tokens"].seeds["1"]["mood"]["accuracy"] == pytest.approx(right.mean())
    assert "without tokens: 4 samples, mean macro_f1" in found.table.markdown()
    assert set(found.to_json()["subsets"]) == set(parts)
    assert not evaluate_run(run, "val", resamples=5).subsets


def test_near_duplicates_are_drawn_together_in_comparisons(tmp_path: Path) -> None:
    rows = rows_of(60)
    for row in rows:
        row["group"] = "same" if row["split"] == "test" else row["key"]
    make_store(tmp_path / "store", rows)
    runs = [
        TrainedRun(trained_run(tmp_path / "store", tmp_path / "runs", hidden=size))
        for size in (4, 5)
    ]
    for run in runs:
        evaluate_run(run, resamples=5)
    first, second = (run.folder for run in runs)
    groups = runs[0].groups
    found = compare_runs(first, second, "test", "auto", resamples=20, groups_of=groups)
    around = found.differences["mood"]["accuracy"].samples
    assert around.low == around.high == pytest.approx(around.value)


def test_val_reads_alike_in_training_and_evaluation(tmp_path: Path) -> None:
    rows = rows_of(60)
    for row in rows[2:40:5]:
        row["label.mood"] = 0
    table, values = make_store(tmp_path / "store", rows)
    # Copies of one class alone: they are no majority.
    copied = [row["key"] for row in rows if row["split"] == "train" and row["label.mood"] == 1]
    copies = {f"{key}~p{index}": values["bert"][key] for key in copied for index in range(3)}
    write_children(table, TOKENS, copies)
    linked = {"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), 0.0)}
    features = {"e_txt": "clip_image"}
    run = run_of(tmp_path, "mm_orient", "paper_figure", {"cmrl": linked}, features)
    assert run.record["data"]["counts"]["splits"]["train"]["augmented"] == len(copies)
    found = evaluate_run(run, "val", resamples=5)
    trained = json.loads((run.folder / "seed-1" / "val.json").read_text())["metrics"]
    for task, metrics in found.seeds["1"].results.items():
        for name, value in metrics.items():
            assert trained[task][name] == pytest.approx(value, rel=1e-6, nan_ok=True)
    first = json.loads((run.folder / "table.json").read_text())["rows"][0]["results"]
    assert first["mood"]["accuracy"]["mean"] == pytest.approx(found.majority["mood"]["accuracy"])
    assert first["mood"]["macro_f1"]["mean"] == pytest.approx(found.majority["mood"]["macro_f1"])
