from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectflow.pipeline.errors import DatasetError
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


def spoken(speakers: dict[str, int], seed: int = 0) -> list[dict[str, Any]]:
    """Rows of speakers, none of them near-duplicates."""
    generator = np.random.default_rng(seed)
    rows = []
    for speaker, count in speakers.items():
        for _ in range(count):
            label = int(generator.choice(3, p=[0.5, 0.3, 0.2]))
            name = f"k{len(rows)}"
            rows.append({**row(name, f"g{name}", label), "extra": json.dumps({"speaker": speaker})})
    return rows


BY_SPEAKER = POLICY.model_copy(update={"group_by": "speaker"})


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", "e", None]),
            st.integers(0, 20),
            st.sampled_from([0, 1, None]),
            st.sampled_from([None, None, None, None, "train", "test"]),
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 5),
)
def test_no_speaker_is_in_two_generated_parts(
    facts: list[tuple[str | None, int, int | None, str | None]], seed: int
) -> None:
    rows = [
        {**row(f"k{i}", f"g{g}", label, split), "extra": json.dumps({"speaker": speaker})}
        for i, (speaker, g, label, split) in enumerate(facts)
    ]
    turned = [dict(item) for item in reversed(rows)]
    policy = BY_SPEAKER.model_copy(update={"seed": seed})
    if not any(speaker for speaker, *_ in facts):
        with pytest.raises(DatasetError, match="is empty in every row"):
            make_splits(rows, policy, COLUMN)
        return
    make_splits(rows, policy, COLUMN)
    make_splits(turned, policy, COLUMN)
    assert parts(rows) == parts(turned)
    for field in ("extra", "group"):
        found: dict[str, set[str]] = defaultdict(set)
        official: dict[str, bool] = defaultdict(bool)
        for item in rows:
            if item["extra"] == '{"speaker": null}' and field == "extra":
                continue
            official[item[field]] |= item["split_origin"] == "official"
            if item["split_origin"] == "generated":
                found[item[field]].add(item["split"])
        assert all(len(split) == 1 for split in found.values())
        assert all(found[name] <= {"train"} for name, bound in official.items() if bound)
    if all(item["split_origin"] == "generated" for item in rows):
        assert "train" in {item["split"] for item in rows}


@pytest.mark.parametrize("seed", range(4))
def test_few_speakers_still_come_close_to_the_shares(seed: int) -> None:
    rows = spoken({f"s{i}": 20 + 3 * i for i in range(12)}, seed)
    make_splits(rows, BY_SPEAKER.model_copy(update={"seed": seed}), COLUMN)
    sizes = Counter(item["split"] for item in rows)
    assert sizes["test"] / len(rows) == pytest.approx(0.2, abs=0.06)
    assert sizes["val"] / len(rows) == pytest.approx(0.15, abs=0.06)
    others = {json.loads(item["extra"])["speaker"] for item in rows if item["split"] == "test"}
    again = spoken({f"s{i}": 20 + 3 * i for i in range(12)}, seed)
    make_splits(again, BY_SPEAKER.model_copy(update={"seed": seed + 1}), COLUMN)
    assert others != {
        json.loads(one["extra"])["speaker"] for one in again if one["split"] == "test"
    }


def shares_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    usable = [item for item in rows if item.get("status", "ok") == "ok"]
    counts = Counter(item["split"] for item in usable)
    return {part: counts[part] / len(usable) for part in ("train", "val", "test")}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("speakers", "count", "bad"), [(3, 30, 1), (4, 30, 3), (10, 50, 5)])
def test_rows_that_cannot_be_used_make_no_part(
    speakers: int, count: int, bad: int, seed: int
) -> None:
    rows = spoken({f"s{i}": count for i in range(speakers)})
    for index in range(bad):
        broken = row(f"bad{index}", f"gbad{index}", None)
        rows.append({**broken, "extra": "{}", "status": "bad_row"})
    rows.append({**row("alone", "galone", 0), "extra": json.dumps({"speaker": ""})})
    for item in spoken({"gone": 3}):
        name = "gone" + item["key"]
        rows.append({**item, "key": name, "group": name, "status": "missing_file"})
    make_splits(rows, BY_SPEAKER.model_copy(update={"seed": seed}), COLUMN)
    shares = shares_of(rows)
    assert shares["test"] >= 1 / speakers - 0.02
    assert shares["val"] >= 1 / speakers - 0.02
    assert shares["train"] >= 0.3


def test_one_speaker_of_nearly_all_rows_stays_in_train() -> None:
    rows = [*spoken({"much": 1000}), *({**row(f"r{i}", f"r{i}"), "extra": "{}"} for i in range(20))]
    make_splits(rows, BY_SPEAKER, COLUMN)
    assert all(item["split"] == "train" for item in rows[:1000])
    assert shares_of(rows)["test"] > 0


def test_labels_finer_than_speakers_do_not_stop_the_shares() -> None:
    rows = spoken({f"s{i}": 20 for i in range(40)})
    for index, item in enumerate(rows):
        item[COLUMN] = index
    make_splits(rows, BY_SPEAKER, COLUMN)
    assert shares_of(rows)["test"] == pytest.approx(0.2, abs=0.02)
    assert shares_of(rows)["val"] == pytest.approx(0.15, abs=0.02)


def test_the_seed_chooses_among_few_speakers() -> None:
    seen = set()
    for seed in range(20):
        rows = spoken({f"s{i}": 30 for i in range(5)})
        make_splits(rows, BY_SPEAKER.model_copy(update={"seed": seed}), COLUMN)
        seen |= {json.loads(one["extra"])["speaker"] for one in rows if one["split"] == "test"}
    assert len(seen) == 5


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_part_has_a_speaker_while_there_are_some(count: int) -> None:
    rows = spoken({f"s{i}": 30 for i in range(count)})
    make_splits(rows, BY_SPEAKER, COLUMN)
    assert {item["split"] for item in rows} == set(["train", "test", "val"][:count])


def test_a_thousand_speakers_are_divided_as_well() -> None:
    rows = spoken({f"s{i}": 1 + i % 3 for i in range(1000)})
    make_splits(rows, BY_SPEAKER, COLUMN)
    assert Counter(item["split"] for item in rows)["test"] / len(rows) == pytest.approx(
        0.2, abs=0.02
    )


def test_a_field_that_no_row_has_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no row has a field 'singer'; there are: speaker"):
        make_splits(spoken({"a": 3}), POLICY.model_copy(update={"group_by": "singer"}), COLUMN)
    with pytest.raises(DatasetError, match="'speaker' is empty in every row"):
        make_splits(spoken({"": 3}), BY_SPEAKER, COLUMN)
    bad = {**row("bad", "g"), "extra": "{}", "status": "bad_row"}
    make_splits([bad], BY_SPEAKER, COLUMN)
    assert bad["split"] == "train"
