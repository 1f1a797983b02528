"""What is fitted on the validation split: saved, used by evaluation, never in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.toy_training import losses, one_thread, silent
from support.training_stores import make_store, rows_of

from affectflow.pipeline.evaluation.access import test_accesses as accesses
from affectflow.pipeline.evaluation.evaluate import evaluate_run
from affectflow.pipeline.evaluation.predict import predict
from affectflow.pipeline.evaluation.trained import TrainedRun
from affectflow.pipeline.training.checkpoint import load_run
from affectflow.pipeline.training.experiment import train
from affectflow.pipeline.training.settings import Settings, resolve

SEED = 3


def settings_of(store: Path, weights: str = "equal", **data: Any) -> Settings:
    overrides = {
        "model": {"hidden": [8], "weights": weights},
        "loader": {"batch_size": 7},
        "optimizer": {"lr": 0.02},
        "trainer": {"epochs": 3, "patience": 0, "tensorboard": False, "device": "cpu"},
        "data": data,
    }
    return resolve("decision_fusion", "mini", [store], None, overrides)


def trained(settings: Settings, runs: Path) -> Path:
    with one_thread():
        return train(settings, (SEED,), runs, silent).folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    make_store(folder / "store", rows_of(60))
    return folder / "store"


@pytest.fixture(scope="module")
def runs(store: Path) -> dict[str, Path]:
    """Return a run with equal weights and one with fitted ones."""
    kinds = ("equal", "fitted")
    return {kind: trained(settings_of(store, kind), store.parent / "runs") for kind in kinds}


def test_both_checkpoints_hold_shares_and_training_is_untouched(runs: dict[str, Path]) -> None:
    assert runs["equal"] != runs["fitted"]
    plain, fitted = (runs[kind] / f"seed-{SEED}" for kind in ("equal", "fitted"))
    assert losses(fitted) == losses(plain)
    for which in ("best", "last"):
        shares = load_run(fitted, which).model.weights
        torch.testing.assert_close(shares.sum(1), torch.ones(3))
        assert (shares - 0.5).abs().min() > 1e-3
        assert (load_run(plain, which).model.weights == 0.5).all()
    ours, theirs = (dict(load_run(folder, "last").model.state_dict()) for folder in (plain, fitted))
    for name in set(ours) - {"raw_weights"}:
        assert torch.equal(ours[name], theirs[name])
    end = [json.loads(line) for line in (fitted / "log.jsonl").read_text().splitlines()]
    last = [entry for entry in end if entry["kind"] == "epoch"][-1]
    share = load_run(fitted, "last").model.weights[0, 0]
    assert last["val"]["means"]["weight/mood/tokens"] == pytest.approx(float(share), abs=1e-6)
    assert last["train"]["weight/mood/tokens"] == 0.5


def test_evaluation_and_prediction_use_the_shares_as_they_are(runs: dict[str, Path]) -> None:
    run = TrainedRun(runs["fitted"])
    recorded = json.loads((run.folder / f"seed-{SEED}" / "val.json").read_text())["metrics"]
    evaluated = evaluate_run(run, "val", resamples=5)
    scores = evaluated.seeds[str(SEED)]
    for task, name in (("mood", "macro_f1"), ("mood", "accuracy"), ("strength", "mae")):
        assert scores.results[task][name] == pytest.approx(recorded[task][name])
    assert not accesses(run.folder)
    on_test = evaluate_run(run, "test", resamples=5).seeds[str(SEED)].predictions
    said = predict(run, [], splits=["test"], seed=str(SEED)).predictions
    # With the shares of training, whatever the labels of the test split.
    loaded = run.load(str(SEED))
    before = loaded.model.weights.clone()
    output = run.apply(str(SEED), loaded, run.open(("test",)), "test")
    assert torch.equal(loaded.model.weights, before)
    assert np.array_equal(on_test.logits["mood"], output.logits["mood"])
    assert np.array_equal(said.logits["mood"], output.logits["mood"])


def test_equal_weights_stay_the_default(store: Path) -> None:
    default = resolve("decision_fusion", "mini", [store], None, {})
    assert default.model.model_dump(mode="json") == {
        "hidden": [512],
        "dropout": 0.2,
        "mean": "probabilities",
        "weights": "equal",
    }
    named = resolve("decision_fusion", "mini", [store], "fitted_weights", {})
    assert named.model.model_dump()["weights"] == "fitted"
