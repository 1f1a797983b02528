from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from affectflow.pipeline.errors import ConfigError, StoreError, UsageError
from affectflow.pipeline.training.settings import resolve
from affectflow.pipeline.training.sweep.refusals import refuse_impossible
from affectflow.pipeline.training.sweep.space import make_space, overrides_of


def refuse(*grid: str, base: tuple[str, ...] = (), model: str = "mult") -> None:
    """Look at a grid over settings that no data are opened for."""

    def attempt(point: Mapping[str, Any]) -> None:
        resolve(model, "mini", [Path("nowhere")], None, overrides_of(base, point))

    refuse_impossible(make_space(grid, [], None).points(), attempt)


def test_heads_that_do_not_divide_the_width_are_let_pass() -> None:
    refuse("model.heads=2,3", base=("model.width=8",))
    refuse("model.heads=3", base=("model.width=8",))
    refuse("model.heads=2,3", "model.width=8,9")
    # Neither goes with what the model has by default.
    refuse("model.width=33,44", base=("model.heads=11",))


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (("model.heads=2,3", "model.nope=1"), "unknown key 'nope'"),
        (("model.heads=2,3", "data.nonfinite=zero,zeros"), "'nonfinite' = 'zeros'"),
        (("model.heads=2,0", "optimizer.lr=1,2"), "'heads' = 0"),
        (("optimizer.lr=1,2", "foo.bar=1"), "unknown owner 'foo'"),
        (("optimizer.lr=1,-1",), "'lr' = -1"),
    ],
)
def test_what_is_wrong_by_itself_is_refused(grid: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        refuse(*grid, base=("model.width=8",))


def test_what_all_trials_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="'batch_size' = 0"):
        refuse("optimizer.lr=1,2", base=("loader.batch_size=0",))
    # A value that every trial overwrites is in none.
    refuse("optimizer.lr=1,2", base=("optimizer.lr=0",))
    with pytest.raises(UsageError, match="did you mean mult"):
        refuse("optimizer.lr=1,2", model="mullt")


def test_a_value_is_not_at_fault_for_what_it_was_drawn_with() -> None:
    def attempt(point: Mapping[str, Any]) -> None:
        if point.get("a.x") == point.get("b.y"):
            raise StoreError("the same twice")

    # The only draw that has either value.
    refuse_impossible([{"a.x": 1, "b.y": 1}, {"a.x": 2, "b.y": 3}], attempt)
