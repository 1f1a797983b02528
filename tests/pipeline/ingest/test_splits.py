from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectflow.pipeline.ingest.splits import make_splits
from affectflow.pipeline.manifest import Splits

COLUMN = "label.mood"
POLICY = Splits(val=0.15, test=0.2, seed=7, stratify="mood")


def row(key: str, group: str, label: int | None = 0, split: str | None = None) -> dict[str, Any]:
    return {
        "key": key,
        "group": group,
        COLUMN: label,
        "split": split,
        "split_origin": None,
        "flags": [],
    }


def many(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows in groups of one to three with three classes of very different size."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([0, 1, 2], count, p=[0.7, 0.25, 0.05])
    groups = generator.integers(0, int(count * 0.8), count)
    return [row(f"k{i}", f"g{groups[i]}", int(labels[i])) for i in range(count)]


def parts(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {item["key"]: item["split"] for item in rows}


rows_of_any_kind = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from([0, 1, None]),
        st.sampled_from([None, None, None, "train", "val", "test"]),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(rows_of_any_kind, st.floats(0, 0.4), st.floats(0, 0.4), st.integers(0, 5))
def test_generated_splits_never_part_a_group(
    facts: list[tuple[int, int | None, str | None]], val: float, test: float, seed: int
) -> None:
    rows = [row(f"k{i}", f"g{g}", label, split) for i, (g, label, split) in enumerate(facts)]
    make_splits(rows, Splits(val=val, test=test, seed=seed), COLUMN)
    generated: dict[str, set[str]] = defaultdict(set)
    official: dict[str, set[str]] = defaultdict(set)
    for item, (_, _, split) in zip(rows, facts, strict=True):
        assert item["split"] in {"train", "val", "test"}
        if split is None:
            assert item["split_origin"] == "generated"
            generated[item["group"]].add(item["split"])
        else:
            assert (item["split"], item["split_origin"]) == (split, "official")
            official[item["group"]].add(split)
    for group, found in generated.items():
        assert len(found) == 1
        if group in official:
            assert found == {"train"}


@pytest.mark.parametrize("seed", range(4))
def test_shares_of_every_class_are_kept(seed: int) -> None:
    rows = many(1500, seed)
    make_splits(rows, POLICY, COLUMN)
    total = Counter(item[COLUMN] for item in rows)
    for part, share in (("val", POLICY.val), ("test", POLICY.test)):
        found = Counter(item[COLUMN] for item in rows if item["split"] == part)
        assert sum(found.values()) == pytest.approx(share * len(rows), rel=0.05)
        for label, count in total.items():
            # Groups are whole and counted under their commonest class: a few rows may stray.
            assert found[label] == pytest.approx(share * count, abs=6 + 0.02 * count)


def test_the_order_of_rows_does_not_matter() -> None:
    rows = many(300)
    turned = [dict(item) for item in reversed(rows)]
    make_splits(rows, POLICY, COLUMN)
    make_splits(turned, POLICY, COLUMN)
    assert parts(rows) == parts(turned)


def test_the_seed_decides() -> None:
    found = []
    for seed in (7, 7, 8):
        rows = many(300)
        make_splits(rows, POLICY.model_copy(update={"seed": seed}), COLUMN)
        found.append(parts(rows))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_few_more_rows_move_few_of_the_others() -> None:
    before, after = many(1000), [*many(1000), *(row(f"new{i}", f"n{i}") for i in range(20))]
    make_splits(before, POLICY, COLUMN)
    make_splits(after, POLICY, COLUMN)
    then, now = parts(before), parts(after)
    assert sum(then[key] != now[key] for key in then) < 30


def test_no_shares_means_all_train() -> None:
    rows = many(50)
    make_splits(rows, Splits(val=0, test=0), None)
    assert {item["split"] for item in rows} == {"train"}


def test_training_rows_that_leak_into_an_official_test_split_are_flagged() -> None:
    rows = [
        row("a", "g1"),
        row("b", "g1", split="test"),
        row("c", "g2", split="train"),
        row("d", "g2"),
    ]
    make_splits(rows, POLICY, COLUMN)
    assert [item["split"] for item in rows] == ["train", "test", "train", "train"]
    assert [item["flags"] for item in rows] == [["group_in_test"], [], [], []]


@pytest.mark.parametrize("official", [False, True])
def test_a_test_part_is_held_out_only_where_there_is_no_official_one(official: bool) -> None:
    rows = many(400)
    if official:
        rows.append(row("given", "of its own", split="test"))
    make_splits(rows, Splits(val=0.1, test_without_official=0.15, stratify="mood"), COLUMN)
    generated = [item for item in rows if item["split_origin"] == "generated"]
    share = sum(item["split"] == "test" for item in generated) / len(generated)
    assert share == 0 if official else 0.12 < share < 0.18
