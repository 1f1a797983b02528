from __future__ import annotations

import math

import numpy as np
import pytest

from affectflow.pipeline.errors import ConfigError
from affectflow.pipeline.training.sweep.space import as_text, make_space, overrides_of


def test_grid_has_every_combination_once() -> None:
    space = make_space(["optimizer.lr=1e-4,1e-3", "model.deep.on=true,false"], [], None)
    points = space.points()
    assert points == [
        {"optimizer.lr": 1e-4, "model.deep.on": True},
        {"optimizer.lr": 1e-4, "model.deep.on": False},
        {"optimizer.lr": 1e-3, "model.deep.on": True},
        {"optimizer.lr": 1e-3, "model.deep.on": False},
    ]


def test_values_may_be_lists_and_words() -> None:
    points = make_space(["model.sizes=[1, 2],[3]", "model.kind=mean,'last, first'"], [], None)
    found = {(tuple(p["model.sizes"]), p["model.kind"]) for p in points.points()}
    words = ("mean", "last, first")
    assert found == {(sizes, word) for sizes in ((1, 2), (3,)) for word in words}


def test_draws_stay_in_range_and_fill_it() -> None:
    random = [
        "optimizer.lr=loguniform(1e-6,1e-3)",
        "model.dropout=uniform(0,0.5)",
        "model.layers=integers(1,3)",
        "model.act=choice(gelu,relu)",
    ]
    points = make_space([], random, 300, seed=3).points()
    rates = np.array([point["optimizer.lr"] for point in points])
    assert 1e-6 <= rates.min() < 2e-6
    assert 5e-4 < rates.max() <= 1e-3
    # A logarithmic draw has its median in the middle of the powers.
    assert math.log10(np.median(rates)) == pytest.approx(-4.5, abs=0.3)
    assert {point["model.layers"] for point in points} == {1, 2, 3}
    assert {point["model.act"] for point in points} == {"gelu", "relu"}
    assert all(0 <= point["model.dropout"] <= 0.5 for point in points)


def test_more_trials_keep_those_that_there_are() -> None:
    grid, random = ["model.kind=a,b"], ["optimizer.lr=uniform(0,1)"]
    few = make_space(grid, random, 3).points()
    many = make_space(grid, random, 9).points()
    assert many[: len(few)] == few
    # Every corner of the grid is tried with the same draws.
    assert few[0]["optimizer.lr"] == few[1]["optimizer.lr"]
    assert few[0]["optimizer.lr"] != few[2]["optimizer.lr"]
    assert make_space(grid, random, 3, seed=1).points() != few


def test_the_order_of_options_does_not_change_a_draw() -> None:
    one, other = "a.x=uniform(0,1)", "b.y=uniform(0,1)"
    assert make_space([], [one, other], 2).points() == make_space([], [other, one], 2).points()


@pytest.mark.parametrize(
    "value", [1e-4, 1.23457e-06, 3, True, "mean", "last, first", [1, "a"], None]
)
def test_a_value_written_as_text_is_read_as_itself(value: object) -> None:
    found = overrides_of(["model.x=7"], {"model.x": value})["model"]["x"]
    assert found == value
    assert type(found) is type(value)
    assert "\n" not in as_text(value)


@pytest.mark.parametrize(
    ("grid", "random", "trials", "words"),
    [
        ([], [], None, "without --grid"),
        (["lr=1,2"], [], None, "expected owner.key"),
        (["a.b="], [], None, "expected owner.key"),
        (["a.b=1,1"], [], None, "twice"),
        (["a.b=1,2"], ["a.b=uniform(0,1)"], 3, "searches a.b twice"),
        (["a.b=1,2", "a.b=3"], [], None, "twice"),
        ([], ["a.b=uniform(0,1)"], None, "number of draws"),
        (["a.b=1,2"], [], 5, "nothing is --random"),
        ([], ["a.b=normal(0,1)"], 2, "--random a.b"),
        ([], ["a.b=uniform(1,0)"], 2, "low < high"),
        ([], ["a.b=loguniform(0,1)"], 2, "0 < low"),
        ([], ["a.b=integers(0.5,2)"], 2, "--random a.b"),
        ([], ["a.b=uniform(0,1,2)"], 2, "--random a.b"),
        ([], ["a.b=uniform(0,1)"], 0, "0 trials"),
        ([f"a.{k}=[{k}],1,2,3,4,5,6,7,8,9" for k in "vwxyz"], [], None, "100,000 trials"),
    ],
)
def test_what_cannot_be_searched_is_said(
    grid: list[str], random: list[str], trials: int | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_space(grid, random, trials)


@pytest.mark.parametrize(
    "assignment",
    [
        "trainer.monitor=val/loss,val/mean/macro_f1",
        "trainer.metrics=auto,iemocap",
        "data.tasks=[sentiment],[humour]",
        "data.dataset=memotion,demo",
        "data.stores=[a],[b]",
        "data.stores.first=a,b",
        "data.samples=ab12,cd34",
    ],
)
def test_what_trials_are_ranked_by_is_not_searched(assignment: str) -> None:
    name, _, values = assignment.partition("=")
    space: list[tuple[list[str], list[str], int | None]] = [
        (["optimizer.lr=1,2", assignment], [], None),
        ([], [f"{name}=choice({values})"], 2),
    ]
    for arguments in space:
        with pytest.raises(ConfigError, match=f"cannot search {name}") as caught:
            make_space(*arguments)
        assert "must be the same for all" in caught.value.hint
        assert "\n" not in str(caught.value)


def test_what_trials_are_ranked_by_may_be_named_once() -> None:
    grid = ["optimizer.lr=1,2", "trainer.monitor=val/loss", "data.tasks=[mood]"]
    assert len(make_space(grid, [], None).points()) == 2
    assert make_space([], ["trainer.monitor=choice(val/loss)"], 1).points()
    # Other settings of the same owners, though one begins like a refused one.
    assert make_space(["trainer.patience=1,2", "data.samples_x=1,2"], [], None).points()
