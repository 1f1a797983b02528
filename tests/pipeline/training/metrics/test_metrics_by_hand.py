"""Values computed by hand, edge rules, and errors of `compute`."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
from support.metric_records import Task, one_hot

from affectflow.pipeline.errors import ConfigError, InvalidInput
from affectflow.pipeline.training.metrics import (
    compute,
    compute_predictions,
    is_maximised,
    predictions_of,
    selection_value,
)
from affectflow.pipeline.training.metrics.calibration import expected_calibration_error
from affectflow.pipeline.training.metrics.classification import confusion, ones, scores
from affectflow.pipeline.training.metrics.names import METRICS
from affectflow.pipeline.training.metrics.replication import mult_sentiment, mustard

SENTIMENT = Task("sentiment", classes=("negative", "neutral", "positive"))
MOSI = Task("strength", "regression", (), -3.0, 3.0)
SIMS = Task("strength", "regression", (), -1.0, 1.0)
PLAIN = Task("strength", "regression")
TOPICS = Task("topics", "multilabel", ("a", "b"))


def of_numbers(task: Task, truth: list[float], guess: list[float], family: str = "auto") -> dict:
    labels = {task.name: np.array(truth, np.float32)}
    return compute([task], labels, {task.name: np.array(guess, np.float32)[:, None]}, family)[
        task.name
    ]


def test_classification() -> None:
    truth, guess = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    found = compute([SENTIMENT], {"sentiment": truth}, {"sentiment": one_hot(guess, 3)})
    of_task = found["sentiment"]
    assert of_task["n"] == 4
    assert of_task["accuracy"] == pytest.approx(1 / 2)
    # F1: 2/3 for class 0, 2/4 for class 1, 0 for class 2.
    assert of_task["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert of_task["weighted_f1"] == pytest.approx((2 * 2 / 3 + 1 / 2) / 4)
    assert of_task["macro_precision"] == pytest.approx((1 + 1 / 3) / 3)
    assert of_task["macro_recall"] == pytest.approx((1 / 2 + 1) / 3)
    assert found["mean"]["macro_f1"] == of_task["macro_f1"]
    assert found["mean"]["num_tasks"] == 1


def test_a_class_absent_everywhere_counts_only_where_labels_are_fixed() -> None:
    matrix = confusion(np.array([0, 1]), np.array([0, 1]), 3, ones(2))
    assert scores(matrix, "fixed")["macro_f1"][0] == pytest.approx(2 / 3)
    assert scores(matrix, "present")["macro_f1"][0] == 1.0
    assert scores(matrix, "fixed")["weighted_f1"][0] == 1.0


def test_missing_labels_are_masked_and_counted() -> None:
    other = Task("other", classes=("no", "yes"))
    labels = {"sentiment": np.array([0, -1, 2]), "other": np.array([-1, -1, -1])}
    logits = {"sentiment": one_hot(np.array([0, 1, 2]), 3), "other": np.zeros((3, 2))}
    found = compute([SENTIMENT, other], labels, logits)
    assert found["sentiment"]["n"] == 2
    assert found["sentiment"]["accuracy"] == 1.0
    assert found["other"]["n"] == 0
    assert math.isnan(found["other"]["macro_f1"])
    assert found["mean"]["num_tasks"] == 1
    assert found["mean"]["accuracy"] == 1.0


def test_mean_is_unweighted_and_over_tasks_that_have_the_metric() -> None:
    labels = {"sentiment": np.array([0, 1, 2, 2]), "strength": np.array([1, 1, np.nan, np.nan])}
    logits = {"sentiment": one_hot(np.zeros(4), 3), "strength": np.full((4, 1), 2.0)}
    found = compute([SENTIMENT, PLAIN], labels, logits)
    assert found["mean"]["accuracy"] == found["sentiment"]["accuracy"] == 0.25
    assert found["mean"]["mae"] == 1.0
    assert "n" not in found["mean"]


def test_has0_and_non0_differ_by_the_zeros() -> None:
    found = of_numbers(MOSI, [0.0, -0.0, 1.0, -1.0, 2.0], [-0.5, -0.0, 0.5, -2.0, 0.0])
    # Has0: y ≥ 0 is 1 1 1 0 1 and p ≥ 0 is 0 1 1 0 1; Non0: y > 0 is 1 0 1, p > 0 is 1 0 0.
    assert found["has0_acc2"] == pytest.approx(4 / 5)
    assert found["non0_acc2"] == pytest.approx(2 / 3)
    assert found["non0_n"] == 3
    assert found["has0_f1"] == pytest.approx((4 * 6 / 7 + 2 / 3) / 5)
    assert found["mae"] == pytest.approx((0.5 + 0 + 0.5 + 1 + 2) / 5)


def test_accuracies_round_halves_to_even() -> None:
    found = of_numbers(MOSI, [0.0, 2.0, 2.0, 3.0, -3.0], [0.5, 1.5, 2.5, 9.0, -2.5])
    # 0.5 → 0, 1.5 → 2, 2.5 → 2, 9 → 3, -2.5 → -2.
    assert found["acc7"] == pytest.approx(4 / 5)
    assert found["acc5"] == 1.0
    assert found["acc3"] == 1.0


def test_sims_bins_are_closed_on_the_right_in_float32() -> None:
    found = of_numbers(SIMS, [-0.1, 0.1, 0.0, 0.7, -0.7], [-0.05, 0.05, -0.5, 0.75, -0.9])
    # Acc-2: 0 is negative. Acc-3: -0.1 is negative and 0.1 neutral. Acc-5: 0.7 weakly positive.
    assert found["acc2"] == 1.0
    assert found["acc3"] == pytest.approx(3 / 5)
    assert found["acc5"] == pytest.approx(2 / 5)
    assert of_numbers(SIMS, [1.0], [5.0])["mae"] == 0.0


def test_correlation_of_a_constant_is_nan_and_flagged() -> None:
    for guess in ([0.1] * 7, [1.1] * 7, [0.0] * 7):
        found = of_numbers(MOSI, [1, 2, 3, -1, -2, 0.3, 0.7], guess)
        assert math.isnan(found["corr"])
        assert found["corr_undefined"] == 1.0
    found = of_numbers(MOSI, [1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found["corr"] == pytest.approx(1.0)
    assert found["corr_undefined"] == 0.0


def test_no_sample_off_zero() -> None:
    found = of_numbers(MOSI, [0.0, 0.0], [1.0, -1.0])
    assert math.isnan(found["non0_acc2"])
    assert math.isnan(found["non0_f1"])
    assert found["non0_n"] == 0
    assert found["has0_acc2"] == 0.5


def test_family_follows_the_range() -> None:
    assert "has0_acc2" in of_numbers(MOSI, [1.0], [1.0])
    assert "acc2" in of_numbers(SIMS, [1.0], [1.0])
    assert set(of_numbers(PLAIN, [1.0], [1.0])) == {"n", "mae", "rmse", "corr", "corr_undefined"}
    assert "has0_acc2" in of_numbers(PLAIN, [1.0], [1.0], "mosi")
    with pytest.raises(ConfigError, match="did you mean mosi"):
        of_numbers(MOSI, [1.0], [1.0], "mosei")


def test_swapped_f1_differs_from_the_right_one() -> None:
    truth, guess = np.array([1, 1, 1, -1], np.float32), np.array([1, -1, -1, -1], np.float32)
    # F1 of negative 1/2 and of positive 1/2 are equal only here, so take another case too.
    assert mult_sentiment(truth, guess)["acc2"] == 0.5
    truth, guess = np.array([1, 1, 1, 1, -1], np.float32), np.array([1, 1, 1, -1, -1], np.float32)
    right = of_numbers(MOSI, truth.tolist(), guess.tolist())["non0_f1"]
    assert right == pytest.approx((4 * 6 / 7 + 1 * 2 / 3) / 5)
    assert mult_sentiment(truth, guess)["f1"] == pytest.approx((3 * 6 / 7 + 2 * 2 / 3) / 5)


def test_multilabel() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0], [np.nan, np.nan]], np.float32)
    logits = np.array([[1, 1], [1, 1], [-1, -1], [9, 9]], np.float32)
    found = compute([TOPICS], {"topics": truth}, {"topics": logits})["topics"]
    assert found["n"] == 3
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["micro_f1"] == pytest.approx(6 / 7)
    assert found["weighted_f1"] == pytest.approx((2 * 1 + 1 * 2 / 3) / 3)
    per_emotion = compute([TOPICS], {"topics": truth}, {"topics": logits}, "iemocap")["topics"]
    assert per_emotion["b/accuracy"] == pytest.approx(2 / 3)
    assert per_emotion["weighted_f1"] == pytest.approx(
        (per_emotion["a/weighted_f1"] + per_emotion["b/weighted_f1"]) / 2
    )


def test_one_row_keeps_its_shape() -> None:
    tasks = [SENTIMENT, MOSI, TOPICS]
    logits = {
        "sentiment": np.array([[0.1, 0.2, 0.3]]),
        "strength": np.array([[0.5]]),
        "topics": np.array([[1.0, -1.0]]),
    }
    guess = predictions_of(tasks, logits)
    assert guess["sentiment"].shape == (1,)
    assert guess["strength"].shape == (1,)
    assert guess["topics"].shape == (1, 2)
    labels = {
        "sentiment": np.array([2]),
        "strength": np.array([0.5], np.float32),
        "topics": np.array([[1.0, 0.0]], np.float32),
    }
    found = compute(tasks, labels, logits)
    assert found["sentiment"]["accuracy"] == found["topics"]["exact_match"] == 1.0
    assert found["strength"]["mae"] == 0.0
    with pytest.raises(InvalidInput, match=r"shape \(1,\), expected \(N, 1\)"):
        compute([MOSI], labels, {"strength": np.array([0.5])})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_predictions_that_are_not_finite_name_their_samples(bad: float) -> None:
    logits = np.zeros((30, 3))
    logits[3, 1] = logits[7, 2] = bad
    labels = {"sentiment": np.zeros(30, int)}
    keys = [f"meme-{row}" for row in range(30)]
    with pytest.raises(InvalidInput, match=r"2 of 30 samples.*meme-3, meme-7"):
        compute([SENTIMENT], labels, {"sentiment": logits}, keys=keys)
    logits[:] = bad
    with pytest.raises(InvalidInput, match="row 9 and 20 more"):
        compute([SENTIMENT], labels, {"sentiment": logits})


def test_labels_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(InvalidInput, match="1 labels are not in 0 to 2, samples b"):
        compute(
            [SENTIMENT],
            {"sentiment": np.array([0, 3])},
            {"sentiment": np.zeros((2, 3))},
            keys=["a", "b"],
        )
    with pytest.raises(InvalidInput, match="labels of task 'sentiment': got nothing"):
        compute([SENTIMENT], {}, {"sentiment": np.zeros((0, 3))})


def test_memotion_scores_are_added() -> None:
    names = ("humour", "sarcasm", "offensive", "motivational")
    binary = [Task(name, classes=("no", "yes")) for name in names]
    truth = np.array([0, 1, 1, 0])
    labels = {"sentiment": np.array([0, 2, 2, 0]), **dict.fromkeys(names, truth)}
    guess = {"sentiment": np.array([0, 2, 2, 2]), **dict.fromkeys(names, truth)}
    found = compute_predictions([SENTIMENT, *binary], labels, guess, "memotion")
    # Neutral occurs nowhere and does not count: macro over negative 2/3 and positive 4/5.
    assert found["memotion"] == {"task_a": pytest.approx((2 / 3 + 4 / 5) / 2), "task_b": 1.0}
    second = compute_predictions([SENTIMENT, *binary], labels, guess, "memotion2")
    assert second["memotion"]["task_a"] == pytest.approx((2 * 2 / 3 + 2 * 4 / 5) / 4)
    assert "task_a" not in found["mean"]


def test_mustard_is_a_mean_over_folds() -> None:
    right, wrong = np.array([0, 1]), np.array([1, 0])
    assert mustard([(right, right), (right, wrong)])["weighted_f1"] == 0.5


def test_calibration_error() -> None:
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    truth = np.array([0, 1, 1, 1])
    # Two answers at 0.9 of which one is right, two at 0.6 of which both are.
    assert expected_calibration_error(chances, truth) == pytest.approx((0.4 + 0.4) / 2)
    assert math.isnan(expected_calibration_error(chances[:0], truth[:0]))


class TestSelection:
    RESULTS: ClassVar = {
        "sentiment": {"macro_f1": 0.4, "n": 10.0},
        "mean": {"macro_f1": 0.5, "mae": 0.7, "loss": 1.2, "corr": math.nan},
    }

    @pytest.mark.parametrize(
        ("name", "value", "maximise"),
        [
            ("mean/macro_f1", 0.5, True),
            ("val/mean/macro_f1", 0.5, True),
            ("macro_f1", 0.5, True),
            ("sentiment/macro_f1", 0.4, True),
            ("mean/mae", 0.7, False),
            ("val/loss", 1.2, False),
        ],
    )
    def test_value_and_direction(self, name: str, value: float, maximise: bool) -> None:
        assert selection_value(self.RESULTS, name) == (value, maximise)

    def test_undefined_stays_nan(self) -> None:
        value, maximise = selection_value(self.RESULTS, "mean/corr")
        assert math.isnan(value)
        assert maximise

    def test_unknown_names_answer_with_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match="did you mean mean/macro_f1"):
            selection_value(self.RESULTS, "mean/makro_f1")
        with pytest.raises(ConfigError, match="sentiment/macro_f1"):
            selection_value(self.RESULTS, "sentimnt/macro_f1")

    def test_the_test_split_selects_nothing(self) -> None:
        with pytest.raises(ConfigError, match="names the test split"):
            selection_value(self.RESULTS, "test/mean/macro_f1")

    def test_a_count_selects_nothing(self) -> None:
        with pytest.raises(ConfigError, match="selects nothing"):
            selection_value(self.RESULTS, "sentiment/n")

    def test_directions(self) -> None:
        lower = {"mae", "rmse", "ece", "loss"}
        for name, metric in METRICS.items():
            if metric.maximise is not None:
                assert is_maximised(name) == (name not in lower)
