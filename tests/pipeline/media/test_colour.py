from __future__ import annotations

import colorsys

import numpy as np
import pytest

from affectflow.pipeline.media import colour


@pytest.fixture
def picture():
    generator = np.random.default_rng(3)
    pixels = generator.random((9, 7, 3))
    # Corners of the cube, greys and black are where the hexcone model has its cases.
    pixels[0, :7] = [(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.5,) * 3]
    return pixels


def test_hexcone_is_the_standard_one(picture):
    hue, saturation, value = colour.to_hexcone(picture)
    for index in np.ndindex(picture.shape[:2]):
        expected = colorsys.rgb_to_hsv(*picture[index])
        np.testing.assert_allclose(
            (hue[index], saturation[index], value[index]), expected, atol=1e-12
        )


def test_there_and_back(picture):
    np.testing.assert_allclose(
        colour.from_hexcone(*colour.to_hexcone(picture)), picture, atol=1e-12
    )


@pytest.mark.parametrize(("turn", "factor"), [(1 / 3, 1.0), (-0.2, 7.0), (0.05, 0.8)])
def test_hue_and_saturation(picture, turn, factor):
    result = colour.hue_and_saturation(picture, turn, factor)
    for index in np.ndindex(picture.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*picture[index])
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, min(1, saturation * factor), value)
        np.testing.assert_allclose(result[index], expected, atol=1e-9)


def test_a_third_of_the_circle_turns_red_to_green():
    red = np.zeros((1, 1, 3))
    red[..., 0] = 1
    np.testing.assert_allclose(
        colour.hue_and_saturation(red, 1 / 3, 1)[0, 0], (0, 1, 0), atol=1e-12
    )


def test_brightness_and_contrast_clip():
    picture = np.array([[[0.1, 0.5, 0.9], [0.3, 0.5, 0.7]]])
    np.testing.assert_allclose(
        colour.brightness(picture, 0.2), [[[0.3, 0.7, 1.0], [0.5, 0.7, 0.9]]]
    )
    np.testing.assert_allclose(
        colour.contrast(picture, 5.0), [[[0.0, 0.5, 1.0], [0.7, 0.5, 0.3]]], atol=1e-12
    )


def test_bytes_round_half_to_even():
    halves = np.array([[[0.5, 1.5, 2.5]]]) / 255.0
    np.testing.assert_array_equal(colour.to_bytes(halves), [[[0, 2, 2]]])
    everything = np.arange(256, dtype=np.uint8).reshape(1, -1, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(colour.to_bytes(colour.from_bytes(everything)), everything)
