"""Where padded sequences begin and end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.foreign_files import numbers, padded

from affectflow.pipeline.foreign._keys import as_text, key_of, unique
from affectflow.pipeline.foreign._padding import (
    Extents,
    at_least,
    content,
    of_lengths,
    padding_side,
    side_of_lengths,
    trimmed,
)


@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=80),
    side=st.sampled_from(["front", "end"]),
    spare=st.integers(0, 3),
)
def test_padding_is_found_and_removed(lengths: list[int], side: str, spare: int) -> None:
    generator = np.random.default_rng(0)
    rows = [numbers(generator, length, 2) for length in lengths]
    length = max(lengths) + spare
    if length == 0:
        return
    values = padded(rows, length, side)
    found = content(values)
    assert found.lengths.tolist() == lengths
    side_found, against = padding_side([(found, length)])
    padding_there = any(0 < size < length for size in lengths)
    assert side_found == (side if padding_there else "none")
    assert against == 0
    kept = trimmed(found, length, side_found)
    for row, first, stop, value in zip(rows, kept.first, kept.stop, values, strict=True):
        np.testing.assert_array_equal(value[first:stop], row)


def test_silence_at_the_other_end_is_kept() -> None:
    values = np.ones((10, 6, 1), np.float32)
    values[:, 4:] = 0
    values[0, :2] = 0
    found = content(values)
    side, _ = padding_side([(found, 6)])
    kept = trimmed(found, 6, side)
    assert side == "end"
    assert kept.lengths.tolist() == [4] * 10


def test_nan_and_infinity_are_values() -> None:
    values = np.zeros((1, 4, 2), np.float32)
    values[0, 1, 0], values[0, 2, 1] = np.nan, -np.inf
    found = content(values)
    assert (found.first[0], found.stop[0]) == (1, 3)


def test_given_lengths_decide_the_side_where_silence_misleads() -> None:
    # Half the clips are padded at the front and end in silence; zeros alone are undecided.
    values = np.zeros((4, 6, 1), np.float32)
    values[:2, 2:6] = 1
    values[2:, 2:5] = 1
    found, lengths = content(values), np.full(4, 4)
    assert side_of_lengths([(found, 6)], [lengths]) == ("front", 0.0)
    assert of_lengths(lengths, 6, "front").first.tolist() == [2] * 4


@pytest.mark.parametrize(("side", "first", "stop"), [("end", 0, 6), ("front", 0, 6)])
def test_a_length_beyond_the_array_is_cut(side: str, first: int, stop: int) -> None:
    found = of_lengths(np.array([9, -1]), 6, side)  # type: ignore[arg-type]
    assert (found.first[0], found.stop[0]) == (first, stop)
    assert found.lengths[1] == 0


def test_aligned_streams_get_the_length_of_the_text() -> None:
    own = Extents(np.array([0, 0, 1]), np.array([2, 0, 6]))
    text = Extents(np.array([0, 0, 0]), np.array([4, 4, 3]))
    found = at_least(own, text)
    assert found.first.tolist() == [0, 0, 0]
    assert found.stop.tolist() == [4, 0, 6]


def test_keys() -> None:
    assert key_of(np.array([b"vid", b"0.5", b"1.0"])) == "vid_0.5_1.0"
    assert key_of("a$_$1") == "a$_$1"
    assert key_of(np.int64(17)) == "17"
    assert as_text("Ã¼ber") == "über"
    assert as_text("über") == "über"
    assert [name for name, _ in unique(["a", "a", "a#2", "a"])] == ["a", "a#3", "a#2", "a#4"]
