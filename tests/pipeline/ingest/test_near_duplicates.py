"""Perceptual hashes, near pairs against brute force, and groups."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.corpus import picture

from affectflow.pipeline.ingest.groups import (
    PHASH_DISTANCE,
    Unions,
    find_groups,
    fold_caption,
    group_findings,
)
from affectflow.pipeline.ingest.phash import near_pairs, perceptual_hash


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def components(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    unions = Unions(count)
    for one, other in pairs:
        unions.join(one, other)
    return [unions.find(index) for index in range(count)]


@st.composite
def clustered_hashes(draw: st.DrawFn) -> list[int]:
    """Hashes of which many lie a few bits apart, at the limit and just beyond it."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    found = []
    for _ in range(draw(st.integers(1, 25))):
        value = draw(st.sampled_from(centres))
        for bit in draw(st.lists(st.integers(0, 63), max_size=9, unique=True)):
            value ^= 1 << bit
        found.append(value)
    return found


@given(clustered_hashes(), st.integers(0, 12))
def test_near_pairs_are_those_of_brute_force(hashes: list[int], limit: int) -> None:
    pairs = list(near_pairs(np.array(hashes, np.uint64), limit))
    assert all(distance(hashes[one], hashes[other]) <= limit for one, other in pairs)
    every = [
        (i, j)
        for i in range(len(hashes))
        for j in range(i)
        if distance(hashes[i], hashes[j]) <= limit
    ]
    # Equal hashes are joined in a chain, so what must agree are the connected groups.
    assert components(len(hashes), pairs) == components(len(hashes), every)


def test_no_hash_no_pair() -> None:
    assert list(near_pairs(np.zeros(0, np.uint64))) == []
    assert list(near_pairs(np.zeros(1, np.uint64))) == []


def variants(index: int) -> dict[str, np.ndarray]:
    image = Image.fromarray(picture(index, (240, 200)))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=35)
    return {
        "recompressed": np.asarray(Image.open(buffer)),
        "half size": np.asarray(image.resize((100, 120), Image.Resampling.LANCZOS)),
        "brighter": np.clip(np.asarray(image).astype(int) + 12, 0, 255).astype(np.uint8),
    }


@pytest.mark.parametrize("index", range(6))
def test_copies_hash_near_and_strangers_far(index: int) -> None:
    here = perceptual_hash(picture(index, (240, 200)))
    assert here is not None
    for name, pixels in variants(index).items():
        copy = perceptual_hash(pixels)
        assert copy is not None
        assert distance(here, copy) <= PHASH_DISTANCE, name
    stranger = perceptual_hash(picture(index + 100, (240, 200)))
    assert stranger is not None
    assert distance(here, stranger) > PHASH_DISTANCE


def test_a_flat_picture_has_no_hash() -> None:
    assert perceptual_hash(np.full((50, 40, 3), 200, np.uint8)) is None


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
def test_unions_are_the_connected_components(pairs: list[tuple[int, int]]) -> None:
    found = components(12, pairs)
    reached = {index: {index} for index in range(12)}
    for _ in range(12):
        for one, other in pairs:
            whole = reached[one] | reached[other]
            for member in whole:
                reached[member] = whole
    assert found == [min(reached[index]) for index in range(12)]


def row(key: str, **more: Any) -> dict[str, Any]:
    facts = {"key": key, "text": "", "image_sha256": None, "image_phash": None, "source": None}
    return {**facts, **more}


def test_what_makes_a_group() -> None:
    rows = [
        row("bytes-1", image_sha256="x"),
        row("bytes-2", image_sha256="x"),
        row("near-1", image_phash=0b0),
        row("near-2", image_phash=0b111111),
        row("far", image_phash=0b1111111 << 20),
        row("said-1", text="When the CODE works!!"),
        row("said-2", text="when the code, works"),
        row("source"),
        row("source~p0", source="source"),
        row("short-1", text="lol"),
        row("short-2", text="LOL"),
        row("empty-1"),
        row("empty-2"),
    ]
    names = find_groups(rows)
    groups: dict[str, list[str]] = {}
    for item, name in zip(rows, names, strict=True):
        groups.setdefault(name, []).append(item["key"])
    assert [keys for keys in groups.values() if len(keys) > 1] == [
        ["bytes-1", "bytes-2"],
        ["near-1", "near-2"],
        ["said-1", "said-2"],
        ["source", "source~p0"],
    ]


def test_groups_join_across_kinds_of_evidence() -> None:
    rows = [
        row("a", image_sha256="x", text="the first long caption"),
        row("b", text="The first long caption.", image_phash=7),
        row("c", image_phash=5),
    ]
    assert len(set(find_groups(rows))) == 1


def test_captions_are_folded() -> None:
    assert fold_caption("Ｗhen  the, CODE—works… Straße 1") == "whenthecodeworksstrasse1"
    assert fold_caption("хорошо ДА") == "хорошода"
    assert fold_caption("!!! …") == ""


def test_findings() -> None:
    rows = [
        {"key": "a", "group": "g", "split": "train", "label.mood": 0},
        {"key": "b", "group": "g", "split": "test", "label.mood": 1},
        {"key": "c", "group": "h", "split": "train", "label.mood": 1},
        {"key": "d", "group": "h", "split": "train", "label.mood": None},
        {"key": "e", "group": "i", "split": "val", "label.mood": 0},
    ]
    found = group_findings(rows, ["mood"], "label.")
    assert (found["groups"], found["rows"], found["shared_between_splits"]) == (2, 4, 1)
    assert found["conflicts"] == {"mood": 1}
    assert found["examples"] == [["a", "b"], ["c", "d"]]
