from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from support.drawn_memes import row_of, scene

from affectflow.pipeline.errors import RowAbsent
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.media.images import decode_image, encode_png
from affectflow.pipeline.stages import augment_image
from affectflow.pipeline.stages.augment_image import PRESETS, SCHEMA, draw, draw_parameters

IDENTITY = {
    "flip": False,
    "brightness": 0.0,
    "contrast": 1.0,
    "hue": 0.0,
    "saturation": 1.0,
    "swap_red_blue": False,
}


def child(tmp_path, picture, index=0, outcome="no_text", image=None):
    upstream = {"inpaint": {"outcome": outcome, "image": image}}
    return row_of(tmp_path, picture, upstream, key=f"a.png~p{index}", source="a.png")


def run(rows, **options):
    stage = make_stage("augment_image", options)
    stage.open()
    return [r["augment_image"] for r in stage.compute([stage.load(row) for row in rows])]


def test_columns_fit_the_schema(tmp_path):
    picture = scene(37, 53)
    (columns,) = run([child(tmp_path, picture)])
    pa.Table.from_pylist([columns], schema=SCHEMA)
    assert columns["mask"] is None
    result = decode_image(columns["image"])
    assert result.shape == picture.shape
    assert not np.array_equal(result, picture)
    parameters = json.loads(columns["parameters"])
    np.testing.assert_array_equal(augment_image.augment(picture, parameters), result)


def test_the_parent_is_the_inpainted_picture(tmp_path):
    original, painted = scene(20, 30, 1), scene(20, 30, 2)
    (columns,) = run([child(tmp_path, original, outcome="painted", image=encode_png(painted))])
    parameters = json.loads(columns["parameters"])
    expected = augment_image.augment(painted, parameters)
    np.testing.assert_array_equal(decode_image(columns["image"]), expected)


def test_same_child_same_bytes_whatever_the_order(tmp_path):
    rows = [child(tmp_path, scene(20, 30), index) for index in range(5)]
    forward, backward = run(rows), run(rows[::-1])[::-1]
    assert forward == backward
    assert len({columns["parameters"] for columns in forward}) == 5


def test_draws_are_the_documented_ones():
    first = hashlib.sha256(b"a.png\x1f3\x1f1\x1fhue").digest()[:8]
    assert draw("a.png", 3, "hue") == (int.from_bytes(first, "big") >> 11) / 2**53
    low, high = PRESETS["mild"].hue
    expected = low + draw("a.png", 3, "hue") * (high - low)
    assert draw_parameters("a.png", 3, "mild", True)["hue"] == expected


@pytest.mark.parametrize("preset", ["mild", "author"])
def test_draws_fill_their_ranges_evenly(preset):
    drawn = [draw_parameters(f"k{n}", n % 3, preset, True) for n in range(4000)]
    policy = PRESETS[preset]
    assert np.mean([values["flip"] for values in drawn]) == pytest.approx(policy.flip, abs=0.03)
    columns = []
    for name in ("brightness", "contrast", "hue", "saturation"):
        low, high = getattr(policy, name)
        values = (np.array([v[name] for v in drawn]) - low) / (high - low)
        assert values.min() >= 0
        assert values.max() < 1
        # Mean and variance of a uniform draw; the bounds are five standard errors.
        assert values.mean() == pytest.approx(0.5, abs=5 * (1 / 12) ** 0.5 / 4000**0.5)
        assert values.var() == pytest.approx(1 / 12, rel=0.08)
        columns.append(values)
    assert np.abs(np.corrcoef(columns) - np.eye(4)).max() < 0.08


def test_author_ranges_are_the_published_ones():
    policy = PRESETS["author"]
    assert policy.flip == 0.5
    assert policy.brightness == (-0.5, 0.5)
    assert policy.contrast == (0.2, 1.8)
    assert policy.hue == (-0.2, 0.2)
    assert policy.saturation == (5.0, 10.0)


@pytest.mark.parametrize(
    ("outcome", "may_flip"),
    [("painted", True), ("no_text", True), ("mask_too_large", False), ("not_painted", False)],
)
def test_no_flip_while_text_is_in_the_picture(tmp_path, outcome, may_flip):
    rows = [child(tmp_path, scene(4, 6), index, outcome) for index in range(30)]
    drawn = [json.loads(columns["parameters"]) for columns in run(rows)]
    assert any(parameters["flip"] for parameters in drawn) == may_flip
    assert {parameters["may_flip"] for parameters in drawn} == {may_flip}
    # Only the flip differs: the other draws do not depend on it.
    free = draw_parameters("a.png", 0, "mild", True)
    assert drawn[0]["hue"] == free["hue"]


def test_nothing_to_do_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    np.testing.assert_array_equal(augment_image.augment(picture, IDENTITY), picture)
    flipped = augment_image.augment(picture, {**IDENTITY, "flip": True})
    np.testing.assert_array_equal(flipped, picture[:, ::-1])


def test_colour_order():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    plain = augment_image.augment(red, IDENTITY)
    swapped = augment_image.augment(red, {**IDENTITY, "swap_red_blue": True})
    assert plain[0, 0].tolist() == [200, 0, 0]
    assert swapped[0, 0].tolist() == [0, 0, 200]
    # A sixth of the circle turns red to yellow, and what is taken for blue to magenta.
    turned = {**IDENTITY, "hue": 1 / 6}
    assert augment_image.augment(red, turned)[0, 0].tolist() == [200, 200, 0]
    wrong = augment_image.augment(red, {**turned, "swap_red_blue": True})
    assert wrong[0, 0].tolist() == [200, 0, 200]


def test_the_bug_is_an_option(tmp_path):
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    plain = decode_image(run([child(tmp_path, red)])[0]["image"])
    bug = decode_image(run([child(tmp_path, red)], replicate_bgr_bug=True)[0]["image"])
    assert plain[0, 0].argmax() == 0
    assert bug[0, 0].argmax() == 2


def test_a_sample_that_is_no_child_is_absent(tmp_path):
    stage = make_stage("augment_image", {})
    upstream = {"inpaint": {"outcome": "no_text", "image": None}}
    for facts in ({}, {"source": "b.png"}, {"source": "a", "key": "a~px"}):
        with pytest.raises(RowAbsent):
            stage.load(row_of(tmp_path, scene(2, 2), upstream, **facts))
