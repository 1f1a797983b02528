"""What a mistake in a setting is answered with."""

from __future__ import annotations

import pytest

from affectflow.pipeline.config import parse, parse_overrides
from affectflow.pipeline.errors import ConfigError
from affectflow.pipeline.training.data import DataConfig


@pytest.mark.parametrize("text", ["humour", "humour, sarcasm"])
def test_one_value_for_a_list_is_told_how_lists_are_written(text: str) -> None:
    given = {"dataset": "memotion", "stores": ["store"]}
    wrong = given | parse_overrides([f"data.tasks={text}"])["data"]
    with pytest.raises(ConfigError) as caught:
        parse(DataConfig, wrong, "--set data")
    expected = f"--set data: 'tasks' = '{text}': expected a list; write [{text}]"
    assert caught.value.message == expected
    right = given | parse_overrides([f"data.tasks=[{text}]"])["data"]
    assert parse(DataConfig, right, "--set data").tasks == tuple(text.split(", "))
