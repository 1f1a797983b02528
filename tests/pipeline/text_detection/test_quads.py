from __future__ import annotations

import numpy as np
import pytest

from affectflow.pipeline.text_detection import quads
from affectflow.pipeline.text_detection.scaling import detection_size

pytest.importorskip("cv2", reason="needs opencv")


def test_area_of_a_union_counts_an_overlap_once():
    left, right = quads.box_quad(2, 3, 11, 8), quads.box_quad(7, 3, 16, 8)
    assert quads.union_area([left], 20, 30) == 10 * 6
    assert quads.union_area([left, right], 20, 30) == 15 * 6
    assert quads.union_area([], 20, 30) == 0


def test_area_outside_the_picture_is_not_counted():
    assert quads.union_area([quads.box_quad(-50, -50, 4, 4)], 10, 10) == 25
    assert quads.union_area([quads.box_quad(-1e6, -1e6, 1e6, 1e6)], 10, 10) == 100
    assert quads.union_area([quads.box_quad(20, 20, 30, 30)], 10, 10) == 0


def test_one_pixel_picture():
    assert quads.union_area([quads.box_quad(0, 0, 0, 0)], 1, 1) == 1


def test_area_and_text_height_of_a_turned_box():
    turn = np.deg2rad(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    quad = (quads.box_quad(-50, -10, 50, 10) @ rotation.T + 100).astype(np.float32)
    assert quads.area(quad) == pytest.approx(2000, rel=1e-4)
    assert quads.text_height(quad) == pytest.approx(20, rel=1e-4)


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("step", [1, -1])
def test_corners_come_clockwise_from_the_upper_left(shift, step):
    quad = quads.box_quad(3, 5, 40, 15)
    shuffled = np.roll(quad[::step], shift, axis=0)
    np.testing.assert_array_equal(quads.clockwise(shuffled), quad)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((128, 128), (256, 256)),
        ((720, 360), (512, 256)),
        ((300, 400), (288, 384)),
        ((1, 1), (256, 256)),
        ((5000, 1), (512, 32)),
    ],
)
def test_detection_size(size, expected):
    assert detection_size(*size, 256, 512, multiple=32) == expected
