"""A run on standardized features: evaluation and prediction use the numbers of its training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.evaluated_runs import labelled_store, trained_run
from support.feature_stores import some_values, write_feature, write_table
from support.toy_training import one_thread, silent
from support.training_stores import TOKENS, opened, rows_of

from affectflow.models.batch import FeatureBatch, FusionBatch
from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.evaluation.access import test_accesses as accesses
from affectflow.pipeline.evaluation.evaluate import evaluate_run
from affectflow.pipeline.evaluation.predict import predict
from affectflow.pipeline.evaluation.trained import TrainedRun
from affectflow.pipeline.training import standardization
from affectflow.pipeline.training.experiment import train
from affectflow.pipeline.training.settings import resolve

TEXT = {"tokens": "bert"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_store(tmp_path_factory.mktemp("labelled") / "store")


@pytest.fixture
def run(store: Path, tmp_path: Path) -> TrainedRun:
    return TrainedRun(trained_run(store, tmp_path / "runs", standardize=("tokens",)))


def logits_by_hand(run: TrainedRun, seed: str, features: FeatureBatch, keys: Any) -> np.ndarray:
    """Return what the model says of raw features that are standardized here."""
    pieces = list(opened_store(run).split("train").entries("tokens"))
    entries = np.concatenate(pieces).astype(np.float64)
    mean, deviation = entries.mean(0), entries.std(0)
    values = ((features.values.double().numpy() - mean) / deviation).astype(np.float32)
    values[~features.mask.numpy()] = 0
    given = FeatureBatch(torch.from_numpy(values), features.lengths, "padded")
    model = run.load(seed).model
    with torch.no_grad():
        said: torch.Tensor = model(FusionBatch(tuple(keys), {"tokens": given})).logits["mood"]
    return said.numpy()


def opened_store(run: TrainedRun, *splits: str) -> Any:
    root = Path(run.settings["data"]["stores"][0])
    return opened(root, *splits, roles=TEXT)


def test_test_is_standardized_with_the_numbers_of_train(run: TrainedRun) -> None:
    scores = evaluate_run(run, resamples=5).seeds["1"].predictions
    raw = opened_store(run, "test").split("test")
    features = raw.batch(range(len(raw))).features["tokens"]
    wanted = logits_by_hand(run, "1", features, raw.keys)
    np.testing.assert_allclose(scores.logits["mood"], wanted, rtol=1e-4, atol=1e-5)
    said = predict(run, [], splits=["test"], seed="1").predictions
    assert np.array_equal(said.logits["mood"], scores.logits["mood"])


def test_new_data_are_standardized_with_the_numbers_of_the_training(
    run: TrainedRun, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "new", [{**row, "split": "test"} for row in rows_of(9)], 4)
    keys = [sample.key for shard in range(len(table.shards)) for sample in table.samples(shard)]
    # Of another size and place than what it was trained on.
    values = {
        key: (value * 3 + 40).astype(np.float16)
        for key, value in some_values(TOKENS, keys, {}, seed=5).items()
        if isinstance(value, np.ndarray)
    }
    write_feature(table, TOKENS, values, "9" * 16)
    said = predict(run, [tmp_path / "new"], seed="2").predictions
    found = opened(tmp_path / "new", "test", roles=TEXT).split("test")
    features = found.batch(range(9)).features["tokens"]
    wanted = logits_by_hand(run, "2", features, found.keys)
    order = [said.keys.tolist().index(key) for key in found.keys]
    np.testing.assert_allclose(said.logits["mood"][order], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("content", [None, b"torn"])
def test_without_its_numbers_a_run_is_not_read(
    run: TrainedRun, store: Path, tmp_path: Path, content: bytes | None
) -> None:
    before = evaluate_run(run, "val", resamples=5).seeds["1"].predictions.logits["mood"]
    path = run.folder / standardization.FILE_NAME
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for read in (lambda: evaluate_run(run, resamples=5), lambda: predict(run, [])):
        with pytest.raises(StoreError, match=r"standardization\.safetensors' cannot be read"):
            read()
    assert not accesses(run.folder)
    # The same command finds everything done, and the numbers again.
    assert trained_run(store, tmp_path / "runs", standardize=("tokens",)) == run.folder
    after = evaluate_run(run, "val", resamples=5).seeds["1"].predictions.logits["mood"]
    assert np.array_equal(before, after)


def test_settings_of_a_role_that_nothing_plays_are_no_obstacle(store: Path, tmp_path: Path) -> None:
    overrides: dict[str, dict[str, Any]] = {
        "data": {
            "features": {"text": "bert"},
            "scale": {"vision": 0.5},
            "max_length": {"vision": 3},
            "standardize": ("text", "audio"),
        },
        "model": {"width": 4, "heads": 1, "levels": 1, "min_self_levels": 1},
        "trainer": {"epochs": 1, "tensorboard": False, "device": "cpu"},
    }
    with one_thread():
        settings = resolve("mult", "mini", [store], None, overrides)
        run = TrainedRun(train(settings, (1,), tmp_path / "runs", silent).folder)
    assert set(run.statistics()) == {"text"}
    assert len(evaluate_run(run, resamples=5).seeds["1"].predictions) == 12


def test_a_run_from_before_these_settings_is_read(store: Path, tmp_path: Path) -> None:
    run = TrainedRun(trained_run(store, tmp_path / "runs"))
    before = evaluate_run(run, "val", resamples=5).seeds["1"].predictions.logits["mood"]
    path = run.folder / "run.json"
    record = json.loads(path.read_text("utf-8"))
    for name in ("scale", "standardize", "max_length"):
        del record["settings"]["data"][name]
    path.write_text(json.dumps(record), "utf-8")
    run = TrainedRun(run.folder)
    after = evaluate_run(run, "val", resamples=5).seeds["1"].predictions.logits["mood"]
    assert np.array_equal(before, after)
    assert len(predict(run, []).predictions) == 60
