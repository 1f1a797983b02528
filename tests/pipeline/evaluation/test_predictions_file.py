"""The predictions file: round trip, schema, duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectflow.models.batch import Task
from affectflow.pipeline.errors import InvalidInput, StoreError
from affectflow.pipeline.evaluation.predictions import (
    Predictions,
    read_predictions,
    write_predictions,
)

TASKS = (
    Task("sentiment", classes=("negative", "neutral", "positive")),
    Task("strength", "regression", (), -3.0, 3.0),
    Task("topics", "multilabel", ("a", "b")),
)


def some(number: int = 4, split: str = "test") -> Predictions:
    generator = np.random.default_rng(number)
    labels = {
        "sentiment": generator.integers(0, 3, number),
        "strength": generator.normal(size=number).astype(np.float32),
        "topics": generator.integers(0, 2, (number, 2)).astype(np.float32),
    }
    labels["sentiment"][:1] = -1
    labels["strength"][:1] = np.nan
    labels["topics"][:1] = np.nan
    logits = {
        task.name: generator.normal(size=(number, task.num_outputs)).astype(np.float32)
        for task in TASKS
    }
    keys = np.array([f"key-{row}" for row in range(number)], object)
    return Predictions(split, keys, TASKS, labels, logits)


def same(first: Predictions, second: Predictions) -> None:
    assert first.split == second.split
    assert first.tasks == second.tasks
    assert first.keys.tolist() == second.keys.tolist()
    for part in ("labels", "logits", "decisions"):
        for task in TASKS:
            ours, theirs = getattr(first, part)[task.name], getattr(second, part)[task.name]
            assert ours.dtype == theirs.dtype, (part, task.name)
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("number", [1, 4])
def test_round_trip(tmp_path: Path, number: int) -> None:
    path = tmp_path / "predictions-test.parquet"
    write_predictions(path, some(number), run="r1")
    same(read_predictions(path), some(number))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_columns(tmp_path: Path) -> None:
    path = tmp_path / "predictions-test.parquet"
    write_predictions(path, some())
    table = pq.read_table(path)
    assert table.schema.names == [
        "key",
        "label.sentiment",
        "prediction.sentiment",
        "logit.sentiment.negative",
        "logit.sentiment.neutral",
        "logit.sentiment.positive",
        "label.strength",
        "prediction.strength",
        "label.topics.a",
        "label.topics.b",
        "prediction.topics.a",
        "prediction.topics.b",
        "logit.topics.a",
        "logit.topics.b",
    ]
    for name in ("sentiment", "strength", "topics.a"):
        assert table[f"label.{name}"].null_count == 1


def test_decisions_of_thresholds_are_kept(tmp_path: Path) -> None:
    given = some()
    decided = Predictions(
        "val", given.keys, TASKS, given.labels, given.logits, {"sentiment": np.array([2, 2, 2, 2])}
    )
    path = tmp_path / "p.parquet"
    write_predictions(path, decided)
    found = read_predictions(path)
    np.testing.assert_array_equal(found.decisions["sentiment"], [2, 2, 2, 2])
    np.testing.assert_array_equal(found.decisions["topics"], given.decisions["topics"])


def test_same_predictions_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_predictions(tmp_path / name, some(), run="r")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_duplicate_keys_are_an_error(tmp_path: Path) -> None:
    given = some()
    twice = given.keys.copy()
    twice[1] = twice[0]
    with pytest.raises(InvalidInput, match="1 keys occur more than once: key-0"):
        Predictions("test", twice, TASKS, given.labels, given.logits)
    path = tmp_path / "p.parquet"
    write_predictions(path, given)
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    with pytest.raises(InvalidInput, match="more than once"):
        read_predictions(path)


def test_changed_files_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, some())
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["logit.topics.b"]).append_column("x", table["key"]), path)
    with pytest.raises(StoreError, match=r"missing: logit\.topics\.b; not expected: x"):
        read_predictions(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(StoreError, match="no predictions file"):
        read_predictions(path)
    path.write_bytes(b"not parquet")
    with pytest.raises(StoreError):
        read_predictions(path)
    with pytest.raises(StoreError, match="evaluate"):
        read_predictions(tmp_path / "absent.parquet")


def test_nan_logits_name_the_key() -> None:
    given = some()
    logits = {**given.logits, "strength": np.full((4, 1), np.nan)}
    with pytest.raises(InvalidInput, match="key-0, key-1"):
        Predictions("test", given.keys, TASKS, given.labels, logits)


def test_order_follows_other_keys() -> None:
    given = some()
    order = ["key-2", "key-0", "key-3", "key-1"]
    found = given.in_order_of(order)
    assert found.keys.tolist() == order
    np.testing.assert_array_equal(found.logits["topics"], given.logits["topics"][[2, 0, 3, 1]])
    np.testing.assert_array_equal(
        found.decisions["topics"], given.decisions["topics"][[2, 0, 3, 1]]
    )
    with pytest.raises(InvalidInput, match="cover other samples"):
        given.in_order_of(["key-0", "key-1", "key-2", "key-9"])
    with pytest.raises(InvalidInput, match="cover other samples"):
        given.in_order_of([*order, "key-0"])
