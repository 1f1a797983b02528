from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs opencv")

from affectflow.pipeline.inpainting.training.masks import (
    box,
    free_form,
    strokes,
    text_like,
)

KINDS = {"box": box, "strokes": strokes, "free_form": free_form, "text_like": text_like}


def many(kind, height, width, count=200):
    return np.stack(
        [KINDS[kind](height, width, np.random.default_rng(seed)) for seed in range(count)]
    )


def test_boxes_have_the_published_size():
    for mask in many("box", 256, 320):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        for span in (rows, columns):
            assert 128 - 32 <= len(span) <= 128
            assert len(span) == span[-1] - span[0] + 1
        assert mask.sum() == len(rows) * len(columns)


def test_boxes_shrink_in_both_directions_independently():
    masks = many("box", 256, 256)
    heights = masks.any(axis=2).sum(axis=1)
    widths = masks.any(axis=1).sum(axis=1)
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.25
    assert 108 < heights.mean() < 116


@pytest.mark.parametrize(("kind", "low", "high"), [("strokes", 0.05, 0.4), ("free_form", 0.2, 0.5)])
def test_cover(kind, low, high):
    masks = many(kind, 256, 256)
    assert low < masks.mean() < high
    assert masks.any(axis=(1, 2)).all()
    # Every part of the picture is sometimes a hole.
    assert masks.mean(axis=0).reshape(8, 32, 8, 32).mean(axis=(1, 3)).min() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_height_and_width_are_not_swapped(kind):
    masks = many(kind, 96, 288)
    assert masks.shape[1:] == (96, 288)
    right, left = masks[:, :, 144:].mean(), masks[:, :, :144].mean()
    assert 0.6 < right / left < 1.6


def test_strokes_prefer_no_side():
    cover = many("strokes", 64, 64, count=1500).mean(axis=0)
    assert 0.85 < cover[:, :32].mean() / cover[:, 32:].mean() < 1.15
    assert 0.85 < cover[:32].mean() / cover[32:].mean() < 1.15


def test_masks_scale_with_the_picture():
    small, large = many("free_form", 64, 64), many("free_form", 256, 256)
    assert abs(small.mean() - large.mean()) < 0.06


def test_bands_are_as_broad_and_high_as_captions():
    generator = np.random.default_rng(0)
    for _ in range(100):
        mask = text_like(200, 300, generator)
        assert mask.any(axis=0).sum() >= 0.6 * 300 - 1
        assert 0.04 < mask.mean() <= 0.6
        row = mask[np.flatnonzero(mask.any(axis=1))[0]]
        assert 0.6 * 300 - 1 <= row.sum() <= 300


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_everything(kind):
    first, second = (KINDS[kind](80, 90, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, KINDS[kind](80, 90, np.random.default_rng(8)))
