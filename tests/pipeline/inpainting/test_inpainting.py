from __future__ import annotations

import numpy as np
import pytest
from support.drawn_memes import meme, scene

from affectflow.pipeline.inpainting.inpainter import InpainterConfig, open_inpainter
from affectflow.pipeline.inpainting.masks import composite, cover, text_mask
from affectflow.pipeline.text_detection.quads import box_quad, fill, text_height

pytest.importorskip("cv2", reason="needs opencv")

BACKENDS = [
    {"backend": "opencv", "method": "telea"},
    {"backend": "opencv", "method": "navier_stokes"},
    {"backend": "mean"},
]


def grown(quads, height, width, frac, least, slack):
    """Grow each quad by a disc, pixel by pixel; ``slack`` is added to the radius."""
    mask = np.zeros((height, width), bool)
    y, x = np.mgrid[0:height, 0:width]
    for quad in quads:
        radius = max(least, round(frac * text_height(quad))) + slack
        for row, column in np.argwhere(fill([quad], height, width)):
            mask |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return mask


@pytest.mark.parametrize("frac", [0.0, 0.12, 0.5])
def test_mask_is_the_quads_grown_by_a_disc(frac):
    turned = np.array([(30, 5), (52, 14), (49, 22), (27, 13)], np.float32)
    quads = [box_quad(5, 6, 20, 14), turned, box_quad(-4, 30, 3, 39)]
    mask = text_mask(quads, 40, 60, frac, 3) > 0
    # OpenCV's discs differ from ideal ones by a pixel at the rim.
    assert not (grown(quads, 40, 60, frac, 3, -1) & ~mask).any()
    assert not (mask & ~grown(quads, 40, 60, frac, 3, 1)).any()


def test_margin_grows_with_the_text_height():
    small, large = (
        text_mask([box_quad(20, 60, 180, 60 + high)], 200, 200, 0.12, 3) for high in (10, 100)
    )
    assert np.flatnonzero(small.any(axis=1)).min() == 57
    assert np.flatnonzero(large.any(axis=1)).min() == 48


def test_quads_outside_the_picture_paint_nothing():
    assert not text_mask([box_quad(500, 500, 600, 520)], 40, 60, 0.12, 3).any()


def test_cover():
    mask = np.zeros((4, 5), np.uint8)
    mask[1] = 255
    assert cover(mask) == pytest.approx(0.25)


@pytest.mark.parametrize("options", BACKENDS)
@pytest.mark.parametrize("fill_side", [0, 64])
@pytest.mark.parametrize("size", [(1, 2), (7, 1), (63, 65), (97, 40), (200, 301)])
def test_outside_the_mask_nothing_changes(options, fill_side, size):
    generator = np.random.default_rng(sum(size))
    image = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = (generator.random(size) < 0.4).astype(np.uint8) * 255
    mask.flat[0] = 0
    before = image.copy()
    inpainter = open_inpainter(InpainterConfig(fill_side=fill_side, **options))
    (filled,) = inpainter.fill([image], [mask])
    result = composite(image, filled, mask)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    assert result.shape == image.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize("options", BACKENDS)
@pytest.mark.parametrize("fill_side", [0, 100])
def test_a_hole_in_one_colour_gets_that_colour(options, fill_side):
    image = np.full((150, 200, 3), (200, 30, 90), np.uint8)
    mask = text_mask([box_quad(40, 60, 160, 80)], 150, 200, 0.12, 3)
    image[mask > 0] = 0
    (filled,) = open_inpainter(InpainterConfig(fill_side=fill_side, **options)).fill(
        [image], [mask]
    )
    # Telea's method wobbles by a few levels of its own accord.
    tolerance = 4 if options.get("method") == "telea" else 1
    assert np.abs(filled[mask > 0].astype(int) - (200, 30, 90)).max() <= tolerance


@pytest.mark.parametrize("fill_side", [0, 256])
def test_a_smooth_scene_comes_back(fill_side):
    truth, image = scene(360, 480), meme(360, 480)
    mask = text_mask([box_quad(20, 10, 460, 50), box_quad(20, 310, 460, 350)], 360, 480, 0.12, 3)
    np.testing.assert_array_equal(truth[mask == 0], image[mask == 0])
    (filled,) = open_inpainter(InpainterConfig(fill_side=fill_side)).fill([image], [mask])
    error = np.abs(filled[mask > 0].astype(float) - truth[mask > 0]).mean()
    assert error < 12
    assert error < 0.5 * np.abs(image[mask > 0].astype(float) - truth[mask > 0]).mean()


def test_none_leaves_the_picture():
    image, mask = meme(), np.full((360, 480), 255, np.uint8)
    (filled,) = open_inpainter(InpainterConfig(backend="none")).fill([image], [mask])
    np.testing.assert_array_equal(filled, image)


def test_a_result_of_another_shape_is_refused():
    image, mask = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    with pytest.raises(ValueError, match=r"expected \(4, 5, 3\) uint8"):
        composite(image, np.zeros((5, 4, 3), np.uint8), mask)
