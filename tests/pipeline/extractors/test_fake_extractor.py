"""Values are a pure function of key, content and seed; failures come as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.extractor_rows import make_row, run

from affectflow.pipeline.errors import ConfigError, RowAbsent, RowError
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.records import Failure
from affectflow.pipeline.stage import BaseStage


def fake(**values: Any) -> BaseStage[Any, Any]:
    return make_stage("fake", values)


def value(stage: BaseStage[Any, Any], row: Any) -> np.ndarray:
    found = run(stage, [row])[0][stage.outputs()[0].name]
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "uint8"])
@pytest.mark.parametrize("shape", [(8,), (3, 4), (None, 5), (None,)])
def test_any_spec(tmp_path: Path, dtype: str, shape: tuple[int | None, ...]) -> None:
    stage = fake(shape=shape, dtype=dtype, ragged_min=2, ragged_max=4, feature="x")
    found = value(stage, make_row(tmp_path, "a"))
    assert found.dtype == dtype
    assert found.shape[1:] == shape[1:]
    assert found.shape[0] == shape[0] or 2 <= found.shape[0] <= 4


def test_value_depends_on_key_content_and_seed_only(tmp_path: Path) -> None:
    base = value(fake(), make_row(tmp_path, "a", "text"))
    np.testing.assert_array_equal(base, value(fake(batch_size=1), make_row(tmp_path, "a", "text")))
    for stage, row in (
        (fake(), make_row(tmp_path, "b", "text")),
        (fake(), make_row(tmp_path, "a", "other")),
        (fake(seed=1), make_row(tmp_path, "a", "text")),
    ):
        assert (value(stage, row) != base).any()


def test_value_depends_on_what_is_read(tmp_path: Path) -> None:
    stage = fake(reads=("clean_text",))
    assert stage.reads() == ("clean_text",)
    one, other = (
        make_row(tmp_path, "a", "raw", upstream={"clean_text": {"text": text}}) for text in "xy"
    )
    assert (value(stage, one) != value(stage, other)).any()
    np.testing.assert_array_equal(value(fake(), one), value(fake(), other))


def test_failures_come_where_they_are_asked_for(tmp_path: Path) -> None:
    rows = [make_row(tmp_path, key) for key in "abc"]
    with pytest.raises(RowError, match="'b' was configured"):
        fake(fail_keys=("b",)).load(rows[1])
    stage = fake(fail_keys=("b",), fail_in="compute")
    items = [stage.load(row) for row in rows]
    with pytest.raises(RowError, match="'b' was configured"):
        stage.compute(items)
    assert len(stage.compute([items[0], items[2]])) == 2
    stage = fake(fail_keys=("b",), fail_in="output")
    found = [one["fake"] for one in stage.compute(items)]
    assert [isinstance(one, Failure) for one in found] == [False, True, False]


def test_fail_every_hits_about_that_share(tmp_path: Path) -> None:
    stage = fake(fail_every=4)
    failed = 0
    for number in range(400):
        try:
            stage.load(make_row(tmp_path, f"k{number}", image=None))
        except RowError:
            failed += 1
    assert 70 <= failed <= 130


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(RowAbsent):
        fake(modality="image").load(make_row(tmp_path, "a", image=None))
    with pytest.raises(RowAbsent):
        fake(absent_keys=("a",)).load(make_row(tmp_path, "a"))


@pytest.mark.parametrize(
    "values",
    [{"shape": ()}, {"shape": (3, None)}, {"ragged_min": 5, "ragged_max": 2}, {"dtype": "int7"}],
)
def test_impossible_configurations_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        fake(**values)
