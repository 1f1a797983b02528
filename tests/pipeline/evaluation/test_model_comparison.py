"""Comparing two models by key."""

from __future__ import annotations

import numpy as np
import pytest
from support.metric_records import one_hot

from affectflow.models.batch import Task
from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.evaluation.comparison import compare, comparison_markdown
from affectflow.pipeline.evaluation.predictions import Predictions

TASK = Task("task", classes=("a", "b"))
VALUE = Task("value", "regression", (), -3.0, 3.0)
TRUTH = np.random.default_rng(0).integers(0, 2, 200)


def run(right: float, seed: int, *, split: str = "test", order: np.ndarray | None = None):
    generator = np.random.default_rng(seed)
    guess = np.where(generator.random(200) < right, TRUTH, 1 - TRUTH)
    keys = np.array([f"k{row}" for row in range(200)], object)
    values = TRUTH.astype(np.float32)
    values[0] = np.nan
    labels = {"task": TRUTH, "value": values}
    logits = {"task": one_hot(guess, 2), "value": guess[:, None].astype(np.float32)}
    made = Predictions(split, keys, (TASK, VALUE), labels, logits)
    return made if order is None else made.take(order)


def test_rows_are_matched_by_key() -> None:
    order = np.random.default_rng(1).permutation(200)
    first = {str(seed): run(0.9, seed) for seed in range(3)}
    straight = {str(seed): run(0.6, seed + 9) for seed in range(3)}
    shuffled = {str(seed): run(0.6, seed + 9, order=order) for seed in range(3)}
    found = compare(first, straight, resamples=100)
    assert found == compare(first, shuffled, resamples=100)
    assert found["task"]["accuracy"].samples.low > 0.1
    text = comparison_markdown(found, "ours", "theirs", ("accuracy", "mae"))
    assert "| task | accuracy | +" in text
    assert "| value | MAE | -" in text


def test_other_data_are_refused() -> None:
    first = {"1": run(0.9, 1)}
    with pytest.raises(InvalidInput, match="expected 'test'"):
        compare(first, {"1": run(0.9, 1, split="val")})
    with pytest.raises(InvalidInput, match="cover other samples"):
        compare(first, {"1": run(0.9, 1).take(np.arange(199))})
    with pytest.raises(InvalidInput, match="seeds of the two models differ"):
        compare(first, {"2": run(0.9, 1)})
    with pytest.raises(InvalidInput, match="without predictions"):
        compare(first, {})
    other = run(0.9, 1)
    labels = {**other.labels, "task": 1 - TRUTH}
    changed = Predictions("test", other.keys, other.tasks, labels, other.logits)
    with pytest.raises(InvalidInput, match="labels of task 'task' differ"):
        compare(first, {"1": changed})


def test_a_score_that_one_run_lacks_is_left_out() -> None:
    """Task C of Memotion needs all four scales; the other run predicts the sentiment alone."""
    generator = np.random.default_rng(3)
    sizes = {"sentiment": 3, "humour_scale": 4, "sarcasm_scale": 4, "offensive_scale": 4}
    sizes |= {"motivational": 2}
    tasks = [Task(name, classes=tuple("abcd"[:size])) for name, size in sizes.items()]
    keys = np.array([f"k{row}" for row in range(40)], object)
    labels = {name: generator.integers(0, size, 40) for name, size in sizes.items()}
    logits = {
        name: generator.normal(size=(40, size)).astype(np.float32) for name, size in sizes.items()
    }
    every = Predictions("val", keys, tuple(tasks), labels, logits)
    one = {"sentiment": labels["sentiment"]}
    alone = Predictions("val", keys, (tasks[0],), one, {"sentiment": logits["sentiment"]})
    for first, second in ((every, alone), (alone, every)):
        found = compare({"1": first}, {"1": second}, "memotion", resamples=5)
        assert set(found["memotion"]) == {"task_a"}
        assert found["sentiment"]["accuracy"].samples.value == 0
