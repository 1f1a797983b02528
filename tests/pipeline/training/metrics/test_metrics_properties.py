"""Properties that hold for every prediction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.metric_records import Task, one_hot

from affectflow.pipeline.training.metrics import compute, compute_predictions, describe, resampled
from affectflow.pipeline.training.metrics.classification import confusion, ones, scores
from affectflow.pipeline.training.metrics.retrieval import (
    by_similarity,
    chance,
    per_query,
    ranking,
    retrieval,
)

NUMBERS = st.floats(-5, 5, width=32)
PAIRS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(NUMBERS, min_size=n, max_size=n), st.lists(NUMBERS, min_size=n, max_size=n)
    )
)
CODES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
    )
)
FOUR = Task("four", classes=("a", "b", "c", "d"))


def value_task(family: str) -> Task:
    return Task("value", "regression", (), *{"mosi": (-3.0, 3.0), "sims": (-1.0, 1.0)}[family])


def check_bounds(results: dict[str, dict[str, float]]) -> None:
    for of_task in results.values():
        for name, value in of_task.items():
            if math.isnan(value):
                continue
            if describe(name).kind == "share":
                assert -1e-12 <= value <= 1 + 1e-12, name
            assert name != "corr" or -1 <= value <= 1
            assert name not in ("mae", "rmse") or value >= 0


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from(["mosi", "sims"]), st.randoms(use_true_random=False))
def test_regression_bounds_and_order(pair: tuple, family: str, shuffler: object) -> None:
    truth, guess = (np.array(values, np.float32) for values in pair)
    task = value_task(family)
    found = compute_predictions([task], {"value": truth}, {"value": guess})
    check_bounds(found)
    order = list(range(len(truth)))
    shuffler.shuffle(order)
    again = compute_predictions([task], {"value": truth[order]}, {"value": guess[order]})
    for name, value in found["value"].items():
        if name != "corr_undefined" and name != "corr":
            assert again["value"][name] == pytest.approx(value, abs=1e-12, nan_ok=True), name
    perfect = compute_predictions([task], {"value": truth}, {"value": truth})["value"]
    assert perfect["mae"] == 0
    assert all(v == 1 for k, v in perfect.items() if k.startswith("acc"))


@settings(max_examples=60, deadline=None)
@given(CODES, st.permutations(range(4)))
def test_classification_bounds_and_renaming(pair: tuple, names: list[int]) -> None:
    truth, guess = (np.array(codes) for codes in pair)
    found = compute([FOUR], {"four": truth}, {"four": one_hot(guess, 4)})
    check_bounds(found)
    renamed = np.array(names)
    again = compute([FOUR], {"four": renamed[truth]}, {"four": one_hot(renamed[guess], 4)})
    for name, value in found["four"].items():
        assert again["four"][name] == pytest.approx(value, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(2, 20))
def test_constant_classifier_identities(mine: int, other: int, classes: int) -> None:
    truth = np.array([0] * mine + [1] * other)
    share = mine / len(truth)
    guess = np.zeros_like(truth)
    found = {k: v[0] for k, v in scores(confusion(truth, guess, classes, ones(len(truth)))).items()}
    assert found["accuracy"] == pytest.approx(share)
    assert found["weighted_f1"] == pytest.approx(2 * share**2 / (1 + share))
    assert found["macro_f1"] == pytest.approx(2 * share / ((1 + share) * classes))


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.integers(0, 2**31))
def test_weights_are_repetitions(pair: tuple, seed: int) -> None:
    truth, guess = (np.array(values, np.float32) for values in pair)
    counts = np.random.default_rng(seed).integers(0, 4, (3, len(truth)))
    counts[:, 0] += 1
    task = value_task("mosi")
    labels, guesses = {"value": truth}, {"value": guess}
    together = resampled([task], labels, guesses, counts.astype(float))["value"]
    for row, repeat in enumerate(counts):
        alone = compute_predictions(
            [task], {"value": np.repeat(truth, repeat)}, {"value": np.repeat(guess, repeat)}
        )["value"]
        for name, value in alone.items():
            assert together[name][row] == pytest.approx(value, abs=1e-7, nan_ok=True), name


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([0.0, 1.0, 2.0, math.nan]), min_size=n + 1, max_size=n + 1),
            min_size=1,
            max_size=5,
        )
    )
)
def test_retrieval_is_the_mean_over_all_orders_of_the_ties(rows: list[list[float]]) -> None:
    table = np.array(rows)
    found = per_query(ranking(table[:, 0], table[:, 1:]), (1, 3))
    for index, row in enumerate(rows):
        lowest = [-1.0 if math.isnan(score) else score for score in row]
        higher = sum(score > lowest[0] for score in lowest[1:])
        equal = sum(score == lowest[0] for score in lowest[1:])
        places = np.arange(higher + 1, higher + equal + 2)
        assert found["hit@1"][index] == pytest.approx((places <= 1).mean())
        assert found["hit@3"][index] == pytest.approx((places <= 3).mean())
        assert found["mrr"][index] == pytest.approx((1 / places).mean())
        assert found["rank"][index] == pytest.approx(places.mean())


def test_retrieval_of_equal_scores_is_chance() -> None:
    expected = chance(21)
    assert expected["hit@1"] == pytest.approx(1 / 21)
    assert expected["hit@5"] == pytest.approx(5 / 21)
    assert expected["mrr"] == pytest.approx(0.1736, abs=5e-5)
    assert expected["rank"] == 11
    assert chance(10, (3,))["hit@3"] == pytest.approx(0.3)
    assert chance(8, (3,))["hit@3"] == pytest.approx(0.375)
    assert chance(1)["hit@1"] == 1
    found = retrieval(np.ones(7), np.ones((7, 20)))
    assert found["n"] == 7
    assert found["hit@5"] == pytest.approx(5 / 21)


def test_retrieval_counts_nan() -> None:
    found = retrieval(np.array([np.nan, 1.0]), np.array([[0.0, -np.inf], [np.nan, 2.0]]))
    assert found["num_nan"] == 2
    # The NaN positive stands behind minus infinity; the other behind one of two.
    assert found["rank"] == pytest.approx((3 + 2) / 2)


def test_average_similarity_is_of_scores() -> None:
    generator = np.random.default_rng(3)
    four = {
        name: (generator.normal(size=5), generator.normal(size=(5, 4)))
        for name in ("TT", "II", "TI", "IT")
    }
    found = by_similarity(four)
    mean = [np.mean([four[name][part] for name in four], axis=0) for part in (0, 1)]
    assert found["AVG"] == retrieval(mean[0], mean[1])
    assert list(found) == ["TT", "II", "TI", "IT", "AVG"]
