"""Order, buckets, bisecting, deadlines: what happens to rows between reading and writing."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectflow.pipeline.config import StageConfig
from affectflow.pipeline.engine.lanes import Clock, DecodeLane, compute_batch, run_lanes
from affectflow.pipeline.errors import ProviderError, RowAbsent, RowError
from affectflow.pipeline.records import Failure, FeatureSpec, Row, Sample
from affectflow.pipeline.stage import BaseStage


class Config(StageConfig):
    batch_size: int = 4


class Doubling(BaseStage[Config, int]):
    """Doubles the number in the key; fails where it is told to."""

    NAME = "doubling"
    VERSION = 1

    def __init__(self, bad_load: set[int], bad_compute: set[int], batch_size: int = 4) -> None:
        super().__init__(Config(batch_size=batch_size))
        self.bad_load, self.bad_compute = bad_load, bad_compute
        self.batches: list[int] = []

    def outputs(self) -> tuple[FeatureSpec, ...]:
        return (FeatureSpec("doubling", "text", (1,), "int32"),)

    def load(self, row: Row) -> int:
        number = int(row.key)
        if number in self.bad_load:
            raise RowError("bad_load", f"{number} cannot be read")
        if number < 0:
            raise RowAbsent("no_number", "nothing here")
        return number

    def bucket(self, item: int) -> int:
        return item % 3

    def compute(self, items: Sequence[int]) -> Sequence[Mapping[str, Any]]:
        self.batches.append(len(items))
        if self.bad_compute & set(items):
            raise ValueError(f"cannot double {sorted(self.bad_compute & set(items))}")
        return [{"doubling": np.array([2 * item], np.int32)} for item in items]


def rows(numbers: Sequence[int]) -> list[Row]:
    return [Row(Sample(str(number), "train"), Path(".")) for number in numbers]


def results(stage: Doubling, numbers: Sequence[int], deadline_s: float = 10) -> list[Any]:
    with DecodeLane(stage.load, 2, deadline_s) as lane:
        return list(run_lanes(stage, rows(numbers), lane, Clock()))


@settings(max_examples=40, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 60), unique=True, max_size=50),
    bad_load=st.sets(st.integers(0, 60), max_size=6),
    bad_compute=st.sets(st.integers(0, 60), max_size=4),
    batch_size=st.integers(1, 9),
)
def test_every_row_comes_out_in_order_and_only_bad_rows_fail(
    numbers: list[int], bad_load: set[int], bad_compute: set[int], batch_size: int
) -> None:
    found = results(Doubling(bad_load, bad_compute, batch_size), numbers)
    assert [row.key for row, _ in found] == [str(number) for number in numbers]
    for number, (_, value) in zip(numbers, found, strict=True):
        if number in bad_load:
            assert value.code == "bad_load"
        elif number in bad_compute:
            assert value.code == "compute_error"
            assert "cannot double" in value.message
        else:
            assert value["doubling"].tolist() == [2 * number]


def test_batches_keep_to_one_bucket_and_one_size() -> None:
    stage = Doubling(set(), set(), batch_size=4)
    results(stage, list(range(16)))
    assert max(stage.batches) <= 4
    assert sum(stage.batches) == 16


def test_absent_is_no_failure() -> None:
    [(_, value)] = results(Doubling(set(), set()), [-1])
    assert (value.status, value.code) == ("absent", "no_number")


def test_out_of_memory_halves_the_batch() -> None:
    class Small(Doubling):
        def compute(self, items: Sequence[int]) -> Sequence[Mapping[str, Any]]:
            if len(items) > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate")
            return super().compute(items)

    stage = Small(set(), set(), batch_size=8)
    values = compute_batch(stage, list(range(8)))
    assert [value["doubling"].item() for value in values] == [2 * i for i in range(8)]
    assert stage.batches == [2, 2, 2, 2]


def test_a_stuck_row_fails_alone() -> None:
    gate = threading.Event()

    class Stuck(Doubling):
        def load(self, row: Row) -> int:
            if row.key == "5":
                gate.wait(30)
            return super().load(row)

    start = time.monotonic()
    found = results(Stuck(set(), set()), list(range(12)), deadline_s=0.5)
    gate.set()
    assert time.monotonic() - start < 10
    codes = [value.code if isinstance(value, Failure) else "ok" for _, value in found]
    assert codes == ["deadline_exceeded" if i == 5 else "ok" for i in range(12)]


def test_what_concerns_the_run_is_not_blamed_on_a_row() -> None:
    class Unpaid(Doubling):
        def compute(self, items: Sequence[int]) -> Sequence[Mapping[str, Any]]:
            raise ProviderError("the key was refused")

    with pytest.raises(ProviderError, match="refused"):
        results(Unpaid(set(), set()), [1, 2, 3])


def test_a_stage_that_loses_a_row_is_found_out() -> None:
    class Losing(Doubling):
        def compute(self, items: Sequence[int]) -> Sequence[Mapping[str, Any]]:
            return super().compute(items)[1:]

    [(_, value)] = results(Losing(set(), set()), [1])
    assert value.code == "compute_error"
    assert "0 values for 1 rows" in value.message


@pytest.mark.parametrize(
    ("status", "expected"),
    [("bad_row", "failed"), ("duplicate_row", "absent"), ("dropped", "absent")],
)
def test_unusable_samples_are_not_loaded(status: Any, expected: str) -> None:
    sample = Sample("1", "train", status=status, reason="line 3")
    with DecodeLane(Doubling(set(), set()).load, 1, 5) as lane:
        stage = Doubling(set(), set())
        [(_, value)] = list(run_lanes(stage, [Row(sample, Path("."))], lane, Clock()))
    assert (value.code, value.status, value.message) == (status, expected, "line 3")
    assert stage.batches == []
