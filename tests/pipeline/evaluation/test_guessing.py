"""Guessing by class shares: expectations against every guess there is, and its row in tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from support.metric_records import Task

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.evaluation.aggregate import aggregate
from affectflow.pipeline.evaluation.baselines import constant_results, guessing_results
from affectflow.pipeline.evaluation.tables import GUESSING, MAJORITY, Row, results_table
from affectflow.pipeline.training.metrics import compute_predictions

MOOD = Task("mood", classes=("low", "high"))
SENTIMENT = Task("sentiment", classes=("negative", "neutral", "positive"))
TOPICS = Task("topics", "multilabel", ("a", "b"))
STRENGTH = Task("strength", "regression", (), -3.0, 3.0)


def brute_force(task: Task, shares: list[float], truth: np.ndarray) -> dict[str, float]:
    """Return the mean of every metric over all guesses, weighted by how likely each is."""
    found: dict[str, float] = {}
    for guess in itertools.product(range(len(task.classes)), repeat=len(truth)):
        chance = math.prod(shares[code] for code in guess)
        scored = compute_predictions([task], {task.name: truth}, {task.name: np.array(guess)})
        for name, value in scored[task.name].items():
            found[name] = found.get(name, 0.0) + chance * value
    return found


def test_two_classes_by_hand() -> None:
    # Half of train is of each class; of two samples one is of each. Guesses 00, 01, 10, 11 hit
    # 1, 2, 0, 1 samples and have macro-F1 1/3, 1, 0, 1/3.
    labels = {"mood": np.array([0, 1])}
    found = guessing_results([MOOD], labels, labels)["mood"]
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["macro_f1"] == pytest.approx((1 / 3 + 1 + 0 + 1 / 3) / 4)
    assert found["weighted_f1"] == found["macro_f1"]
    assert found["n"] == 2


def test_shares_are_those_of_train() -> None:
    train = {"mood": np.array([0, 1, 1, 1, -1])}
    found = guessing_results([MOOD], train, {"mood": np.array([0, 0, 1, -1])})["mood"]
    assert found["accuracy"] == pytest.approx(0.25 * 2 / 3 + 0.75 * 1 / 3)
    assert found["n"] == 3


@pytest.mark.parametrize("truth", [[0, 0, 1, 2, 2], [1, 1, 1], [2], [0, 2, 2, 2, 2, 2]])
def test_expectations_equal_the_mean_over_all_guesses(truth: list[int]) -> None:
    labels = {"sentiment": np.array(truth)}
    train = np.repeat([0, 1, 2], [5, 2, 3])
    found = guessing_results([SENTIMENT], {"sentiment": train}, labels)["sentiment"]
    expected = brute_force(SENTIMENT, [0.5, 0.2, 0.3], labels["sentiment"])
    assert found == pytest.approx({name: expected[name] for name in found})
    assert {"accuracy", "macro_f1", "weighted_f1", "macro_precision", "macro_recall"} <= set(found)


def test_a_class_that_train_lacks_is_never_guessed() -> None:
    labels = {"sentiment": np.array([0, 1, 2])}
    found = guessing_results([SENTIMENT], {"sentiment": np.array([1])}, labels)["sentiment"]
    always = compute_predictions([SENTIMENT], labels, {"sentiment": np.array([1, 1, 1])})
    assert found == pytest.approx({name: always["sentiment"][name] for name in found})


def test_many_samples_are_as_many_numbers_as_few() -> None:
    labels = {"mood": np.repeat([0, 1], [4000, 16000])}
    found = guessing_results([MOOD], labels, labels)["mood"]
    assert found["macro_f1"] == pytest.approx(0.5, abs=1e-3)
    assert found["accuracy"] == pytest.approx(0.2**2 + 0.8**2)
    # The constant classifier is far below on macro-F1 although neither looks at a sample.
    assert constant_results([MOOD], labels, labels)["mood"]["macro_f1"] < 0.45


@pytest.mark.parametrize("family", ["auto", "iemocap"])
def test_classes_of_a_multilabel_task_are_guessed_apart(family: str) -> None:
    train = np.array([[1, 0], [1, 0], [0, 0], [1, 1]], np.float32)
    truth = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    found = guessing_results([TOPICS], {"topics": train}, {"topics": truth}, family)["topics"]
    expected: dict[str, float] = {}
    for flat in itertools.product((0, 1), repeat=6):
        guess = np.array(flat).reshape(3, 2)
        chance = math.prod(np.where(guess == 1, [0.75, 0.25], [0.25, 0.75]).ravel().tolist())
        scored = compute_predictions([TOPICS], {"topics": truth}, {"topics": guess}, family)
        for name, value in scored["topics"].items():
            expected[name] = expected.get(name, 0.0) + chance * value
    assert found == pytest.approx({name: expected[name] for name in found})
    assert {"accuracy", "macro_f1", "weighted_f1", "a/macro_f1", "b/accuracy"} <= set(found)


def test_regressions_are_not_guessed() -> None:
    labels = {"strength": np.array([0.5, -1.0], np.float32), "mood": np.array([0, 1])}
    assert guessing_results([STRENGTH], labels, labels) == {}
    found = guessing_results([STRENGTH, MOOD], labels, labels)
    assert set(found) == {"mood", "mean"}
    assert found["mean"]["macro_f1"] == found["mood"]["macro_f1"]


def test_no_training_label_and_no_evaluated_label() -> None:
    some, none = {"mood": np.array([0, 1])}, {"mood": np.array([-1, -1])}
    with pytest.raises(InvalidInput, match="no label in the training split"):
        guessing_results([MOOD], none, some)
    found = guessing_results([MOOD], some, none)["mood"]
    assert found["n"] == 0
    assert math.isnan(found["accuracy"])
    assert math.isnan(found["macro_f1"])
    topics = {"topics": np.array([[1, 0]], np.float32)}
    unknown = {"topics": np.full((2, 2), np.nan, np.float32)}
    assert math.isnan(guessing_results([TOPICS], topics, unknown)["topics"]["macro_f1"])


def test_guessing_is_the_second_row() -> None:
    labels = {"strength": np.array([0.5, -1.0, 2.0], np.float32), "mood": np.array([0, 1, 1])}
    tasks = [STRENGTH, MOOD]
    majority = constant_results(tasks, labels, labels)
    guessing = guessing_results(tasks, labels, labels)
    model = Row("ours", aggregate({1: majority}))
    table = results_table("Numbers", "test", majority, [model], guessing=guessing)
    assert [row.name for row in table.rows] == [MAJORITY, GUESSING, "ours"]
    assert [row.kind for row in table.rows] == ["baseline", "guess", "model"]
    line = next(line for line in table.markdown().splitlines() if GUESSING in line)
    assert f"{100 * guessing['mood']['macro_f1']:.2f}" in line
    # The regression's cells.
    assert "–" in line
    assert "±" not in line
    told = table.to_json()["rows"][1]["results"]["mood"]["accuracy"]
    assert told["mean"] == pytest.approx(5 / 9)
    assert told["values"] == {"expectation": told["mean"]}
    assert any(note.startswith("Guessing:") for note in table.notes)
    alone = results_table("Numbers", "test", majority, [model], guessing={})
    assert len(alone.rows) == 2
