"""Thresholds see the validation split only."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.metric_records import Task

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.evaluation.thresholds import apply_thresholds, tune_thresholds
from affectflow.pipeline.training.metrics import compute_predictions, predictions_of

BINARY = Task("binary", classes=("no", "yes"))
TOPICS = Task("topics", "multilabel", ("a", "b"))
THREE = Task("three", classes=("a", "b", "c"))


def two(margins: list[float]) -> np.ndarray:
    return np.array([[0.0, margin] for margin in margins])


@pytest.mark.parametrize("split", ["test", "train", "validation", "Test", ""])
def test_other_splits_are_refused(split: str) -> None:
    labels, logits = {"binary": np.array([0, 1])}, {"binary": two([0.0, 1.0])}
    with pytest.raises(InvalidInput, match="may not be tuned on"):
        tune_thresholds([BINARY], labels, logits, split)


def test_a_shifted_head_is_put_right() -> None:
    labels, logits = {"binary": np.array([0, 0, 1, 1])}, {"binary": two([2.0, 3.0, 4.0, 5.0])}
    found = tune_thresholds([BINARY], labels, logits, "val")
    assert found.values["binary"] == (3.5,)
    assert found.reached["binary"] == ((1.0, pytest.approx(1 / 3)),)
    decided = apply_thresholds([BINARY], logits, found)["binary"]
    np.testing.assert_array_equal(decided, [0, 0, 1, 1])
    assert json.loads(json.dumps(found.to_json()))["split"] == "val"


def test_multilabel_has_one_per_class_and_others_have_none() -> None:
    labels = {
        "topics": np.array([[0, 1], [1, 1], [np.nan, np.nan]], np.float32),
        "three": np.array([0, 1, 2]),
    }
    logits = {"topics": np.array([[1.0, -2], [2, -1], [50, 50]]), "three": np.eye(3)}
    found = tune_thresholds([TOPICS, THREE], labels, logits, "val")
    assert set(found.values) == {"topics"}
    assert found.values["topics"][0] == 1.5
    assert found.values["topics"][1] < -2
    decided = apply_thresholds([TOPICS, THREE], logits, found)
    np.testing.assert_array_equal(decided["topics"], [[0, 1], [1, 1], [1, 1]])
    np.testing.assert_array_equal(decided["three"], [0, 1, 2])


def test_without_labels_the_threshold_stays() -> None:
    logits = {"binary": two([1.0, -1.0])}
    found = tune_thresholds([BINARY], {"binary": np.array([-1, -1])}, logits, "val")
    assert found.values["binary"] == (0.0,)
    decided = apply_thresholds([BINARY], logits, found)["binary"]
    np.testing.assert_array_equal(decided, predictions_of([BINARY], logits)["binary"])


def test_decisions_as_often_as_labels() -> None:
    labels = {"binary": np.array([1, 0, 0, 1, 1, -1])}
    logits = {"binary": two([3.0, 2.0, 1.0, 0.5, 0.2, 9.0])}
    found = tune_thresholds([BINARY], labels, logits, "val", "class_shares")
    assert found.values["binary"] == (0.75,)
    assert found.reached["binary"] == ((1.0, pytest.approx(0.6)),)
    decided = apply_thresholds([BINARY], logits, found)["binary"]
    np.testing.assert_array_equal(decided, [1, 1, 1, 0, 0, 1])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=1, max_size=30),
    st.sampled_from(["macro_f1", "weighted_f1", "accuracy"]),
)
def test_best_of_all_thresholds(rows: list[tuple[bool, int]], criterion: str) -> None:
    labels = {"binary": np.array([int(truth) for truth, _ in rows])}
    logits = {"binary": two([float(margin) for _, margin in rows])}
    found = tune_thresholds([BINARY], labels, logits, "val", criterion)
    decided = apply_thresholds([BINARY], logits, found)
    reached = compute_predictions([BINARY], labels, decided)["binary"][criterion]
    assert reached == pytest.approx(found.reached["binary"][0][0])
    margins = logits["binary"][:, 1]
    for threshold in np.arange(-5, 5.5, 0.5):
        other = {"binary": (margins > threshold).astype(int)}
        value = compute_predictions([BINARY], labels, other)["binary"][criterion]
        assert value <= reached + 1e-12
