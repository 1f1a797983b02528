"""Intervals and paired differences."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from support.metric_records import Task

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.evaluation.bootstrap import intervals, paired_difference
from affectflow.pipeline.training.metrics import compute_predictions

TASK = Task("task", classes=("a", "b", "c"))
VALUE = Task("value", "regression", (), -3.0, 3.0)


def drawn(number: int, right: float, seed: int = 0) -> tuple[dict, dict]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, number)
    guess = np.where(generator.random(number) < right, truth, (truth + 1) % 3)
    return {"task": truth}, {"task": guess}


def test_standard_error_of_an_accuracy() -> None:
    labels, guess = drawn(686, 0.8)
    found = intervals([TASK], labels, guess, resamples=1000)["task"]["accuracy"]
    expected = math.sqrt(found.value * (1 - found.value) / 686)
    assert expected == pytest.approx(0.015, abs=0.002)
    assert found.standard_error == pytest.approx(expected, rel=0.1)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(3.92 * expected, rel=0.12)


def test_value_is_the_metric_itself() -> None:
    labels, guess = drawn(50, 0.5)
    labels["value"] = np.linspace(-3, 3, 50, dtype=np.float32)
    guess["value"] = labels["value"][::-1].copy()
    tasks = [TASK, VALUE]
    whole = compute_predictions(tasks, labels, guess)
    found = intervals(tasks, labels, guess, resamples=20)
    for task, of_task in found.items():
        for metric, interval in of_task.items():
            assert interval.value == pytest.approx(whole[task][metric])
    assert "n" not in found["task"]


def test_resamples_equal_a_loop_over_drawn_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, guess = drawn(30, 0.6)
    found = intervals([TASK], labels, guess, resamples=50, seed=7)
    rows = np.random.default_rng(7).integers(0, 30, (50, 30))
    values = [
        compute_predictions([TASK], {"task": labels["task"][r]}, {"task": guess["task"][r]})
        for r in rows
    ]
    macro = [value["task"]["macro_f1"] for value in values]
    interval = found["task"]["macro_f1"]
    assert interval.low == pytest.approx(np.quantile(macro, 0.025))
    assert interval.high == pytest.approx(np.quantile(macro, 0.975))
    assert interval.standard_error == pytest.approx(np.std(macro, ddof=1))
    # Small pieces draw the same numbers.
    monkeypatch.setattr("affectflow.pipeline.evaluation.bootstrap._CHUNK_CELLS", 90)
    assert intervals([TASK], labels, guess, resamples=50, seed=7) == found


def test_groups_are_drawn_together() -> None:
    labels, guess = drawn(40, 0.5)
    groups = np.repeat(np.arange(4), 10)
    labels["task"][:], guess["task"][:] = 0, np.repeat([0, 1, 0, 1], 10)
    alone = intervals([TASK], labels, guess)["task"]["accuracy"]
    together = intervals([TASK], labels, guess, groups=groups)["task"]["accuracy"]
    assert together.standard_error > 2.5 * alone.standard_error


def test_undefined_resamples_are_counted() -> None:
    labels = {"value": np.array([0.0, 0.0, 1.0], np.float32)}
    guess = {"value": np.array([0.1, 0.2, 0.3], np.float32)}
    found = intervals([VALUE], labels, guess, resamples=400)["value"]
    # No draw off zero: (2/3)³ of the resamples.
    assert found["non0_acc2"].undefined / 400 == pytest.approx(8 / 27, abs=0.08)
    assert found["non0_acc2"].low == 1.0
    assert found["corr"].undefined > 0
    json.dumps(found["corr"].to_json(), allow_nan=False)


def test_one_sample_and_none() -> None:
    one = {"task": np.array([1])}
    found = intervals([TASK], one, one, resamples=10)["task"]["accuracy"]
    assert (found.low, found.high) == (1.0, 1.0)
    with pytest.raises(InvalidInput, match="no samples"):
        intervals([TASK], {"task": np.array([], int)}, {"task": np.array([], int)})


class TestPairs:
    def test_a_model_against_itself(self) -> None:
        labels, guess = drawn(60, 0.6)
        found = paired_difference([TASK], labels, {"1": guess}, {"1": guess}, resamples=50)
        accuracy = found["task"]["accuracy"]
        assert (accuracy.samples.low, accuracy.samples.high) == (0.0, 0.0)
        assert accuracy.share_not_above == 1.0
        assert accuracy.seeds is None
        assert accuracy.both is None

    def test_pairing_is_narrower_than_two_intervals(self) -> None:
        labels, guess = drawn(400, 0.7)
        better = {"task": guess["task"].copy()}
        wrong = np.flatnonzero(better["task"] != labels["task"])[:20]
        better["task"][wrong] = labels["task"][wrong]
        found = paired_difference([TASK], labels, {"1": better}, {"1": guess})["task"]["accuracy"]
        assert found.samples.value == pytest.approx(0.05)
        assert found.samples.low > 0
        assert found.share_not_above == 0.0
        alone = intervals([TASK], labels, guess)["task"]["accuracy"]
        assert found.samples.standard_error < 0.6 * alone.standard_error

    def test_seeds(self) -> None:
        labels, _ = drawn(300, 0.5)
        first = {str(seed): drawn_like(labels, 0.7, seed) for seed in range(5)}
        second = {str(seed): drawn_like(labels, 0.6, seed + 50) for seed in range(5)}
        found = paired_difference([TASK], labels, first, second, resamples=300)["task"]["accuracy"]
        assert found.samples.value == pytest.approx(np.mean(list(found.per_seed.values())))
        assert found.seeds is not None
        assert found.both is not None
        assert min(found.per_seed.values()) <= found.seeds.low <= found.seeds.high
        assert found.seeds.high <= max(found.per_seed.values())
        assert found.both.standard_error > found.seeds.standard_error
        assert found.both.standard_error > found.samples.standard_error
        json.dumps(found.to_json(), allow_nan=False)

    def test_seeds_must_be_the_same(self) -> None:
        labels, guess = drawn(5, 0.5)
        with pytest.raises(InvalidInput, match="seeds of the two models differ: 1 and 2"):
            paired_difference([TASK], labels, {"1": guess}, {"2": guess})


def drawn_like(labels: dict, right: float, seed: int) -> dict:
    generator = np.random.default_rng(seed)
    truth = labels["task"]
    return {"task": np.where(generator.random(len(truth)) < right, truth, (truth + 1) % 3)}
