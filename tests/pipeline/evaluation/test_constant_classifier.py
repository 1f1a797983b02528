"""The constant classifier's row, and flags on models that equal it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.metric_records import Task

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.evaluation.baselines import (
    constant_predictions,
    constant_results,
    constant_values,
)
from affectflow.pipeline.evaluation.flags import flags
from affectflow.pipeline.training.metrics import compute_predictions

SENTIMENT = Task("sentiment", classes=("negative", "neutral", "positive"))
MOSI = Task("strength", "regression", (), -3.0, 3.0)
SIMS = Task("strength", "regression", (), -1.0, 1.0)


def counts(*numbers: int) -> np.ndarray:
    return np.repeat(np.arange(len(numbers)), numbers)


def signs(negative: int, neutral: int, positive: int, size: float = 0.5) -> np.ndarray:
    return np.repeat(np.array([-size, 0.0, size], np.float32), [negative, neutral, positive])


def test_majority_comes_from_the_training_labels() -> None:
    train, test = counts(10, 2, 3), counts(1, 0, 9)
    found = constant_results([SENTIMENT], {"sentiment": train}, {"sentiment": test})["sentiment"]
    assert constant_values([SENTIMENT], {"sentiment": train}) == {"sentiment": 0}
    assert found["accuracy"] == pytest.approx(0.1)
    assert found["weighted_f1"] == pytest.approx(2 * 0.1**2 / 1.1)
    assert found["macro_f1"] == pytest.approx(2 * 0.1 / (1.1 * 3))


def test_missing_training_labels_do_not_vote() -> None:
    train = np.array([-1] * 20 + [2])
    assert constant_values([SENTIMENT], {"sentiment": train}) == {"sentiment": 2}
    with pytest.raises(InvalidInput, match="no label in the training split"):
        constant_values([SENTIMENT], {"sentiment": np.array([-1])})


# Counts of negative, neutral and positive labels in the training and test parts of the published
# files, and accuracy and F1 in % of always saying the more frequent class *of the test part*.
MOSI_COUNTS = ((552, 53, 679), (379, 30, 277))
MOSEI_COUNTS = ((4738, 3540, 8048), (1350, 1025, 2284))
SIMS_COUNTS = ((742, 207, 419), (248, 69, 140))
PUBLISHED = [
    (MOSI, MOSI_COUNTS, {"has0_acc2": 55.25, "has0_f1": 39.32}),
    (MOSI, MOSI_COUNTS, {"non0_acc2": 57.77, "non0_f1": 42.31}),
    (MOSI, MOSEI_COUNTS, {"has0_acc2": 71.02, "has0_f1": 58.99}),
    (MOSI, MOSEI_COUNTS, {"non0_acc2": 62.85, "non0_f1": 48.51}),
    (SIMS, SIMS_COUNTS, {"acc2": 69.37, "f1": 56.82, "acc3": 54.27}),
]


@pytest.mark.parametrize(("task", "split", "expected"), PUBLISHED)
def test_constants_of_published_splits(task: Task, split: tuple, expected: dict) -> None:
    test = {"strength": signs(*split[1])}
    found = constant_results([task], test, test)["strength"]
    for name, value in expected.items():
        assert 100 * found[name] == pytest.approx(value, abs=0.006), name


def test_mosi_majority_of_train_is_the_minority_of_test() -> None:
    train, test = (signs(*part) for part in MOSI_COUNTS)
    found = constant_results([MOSI], {"strength": train}, {"strength": test})["strength"]
    assert found["has0_acc2"] == pytest.approx(307 / 686)
    assert found["non0_acc2"] == pytest.approx(277 / 656)


def test_sims_majority_of_train_is_the_published_constant() -> None:
    train, test = (signs(*part) for part in SIMS_COUNTS)
    found = constant_results([SIMS], {"strength": train}, {"strength": test})["strength"]
    assert 100 * found["acc2"] == pytest.approx(69.37, abs=0.006)
    assert 100 * found["f1"] == pytest.approx(56.82, abs=0.006)


def test_regression_says_the_median() -> None:
    train = np.array([-3.0, 1.0, 2.0, np.nan], np.float32)
    test = np.array([0.0, 1.0], np.float32)
    found = constant_results([MOSI], {"strength": train}, {"strength": test})["strength"]
    assert found["mae"] == pytest.approx(0.5)
    assert math.isnan(found["corr"])
    assert found["corr_undefined"] == 1
    guess = constant_predictions([MOSI], {"strength": train}, 2)["strength"]
    np.testing.assert_array_equal(guess, np.array([1, 1], np.float32))


def test_multilabel_majority_per_class() -> None:
    task = Task("topics", "multilabel", ("a", "b"))
    train = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    guess = constant_predictions([task], {"topics": train}, 4)["topics"]
    np.testing.assert_array_equal(guess, [[1, 0]] * 4)
    found = constant_results([task], {"topics": train}, {"topics": train})
    assert found["topics"]["accuracy"] == pytest.approx(2 / 3)


def test_form_is_that_of_compute() -> None:
    labels = {"sentiment": counts(4, 3, 2), "strength": signs(3, 3, 3)}
    tasks = [SENTIMENT, MOSI]
    mine = constant_results(tasks, labels, labels)
    theirs = compute_predictions(tasks, labels, constant_predictions(tasks, labels, 9))
    assert {t: set(of) for t, of in mine.items()} == {t: set(of) for t, of in theirs.items()}


class TestFlags:
    def test_a_constant_model_is_flagged_twice(self) -> None:
        truth = counts(30, 10, 60)
        found = flags([SENTIMENT], {"sentiment": truth}, {"sentiment": np.full(100, 2)})
        assert [flag.kind for flag in found] == ["constant_prediction", "equals_constant"]
        assert "'positive'" in found[1].message

    def test_a_constant_of_another_class_is_flagged(self) -> None:
        found = flags([SENTIMENT], {"sentiment": counts(30, 10, 60)}, {"sentiment": np.ones(100)})
        assert {flag.kind for flag in found} == {"constant_prediction", "equals_constant"}

    def test_a_nearly_constant_model_is_flagged(self) -> None:
        truth = counts(5000, 5000, 0)
        guess = np.zeros(10000, int)
        guess[:3] = 2
        found = flags([SENTIMENT], {"sentiment": truth}, {"sentiment": guess})
        assert [flag.kind for flag in found] == ["equals_constant"]

    def test_a_model_that_learnt_something_is_not(self) -> None:
        truth = counts(30, 10, 60)
        guess = truth.copy()
        guess[::3] = 1
        assert not flags([SENTIMENT], {"sentiment": truth}, {"sentiment": guess})

    def test_a_half_point_above_the_constant_is_not_equal(self) -> None:
        truth = counts(300, 100, 600)
        guess = np.full(1000, 2)
        guess[:5] = 0
        assert not flags([SENTIMENT], {"sentiment": truth}, {"sentiment": guess})

    def test_a_small_spread_of_numbers_is_flagged(self) -> None:
        generator = np.random.default_rng(0)
        truth = generator.uniform(-3, 3, 50).astype(np.float32)
        guess = (0.4 + 1e-4 * generator.normal(size=50)).astype(np.float32)
        found = flags([MOSI], {"strength": truth}, {"strength": guess})
        assert found[0].kind == "constant_prediction"
        assert {flag.view for flag in found[1:]} == {"has0", "non0"}

    def test_one_sample_is_not_judged(self) -> None:
        assert not flags([SENTIMENT], {"sentiment": np.array([0])}, {"sentiment": np.array([0])})
