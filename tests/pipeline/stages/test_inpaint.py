from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support.drawn_memes import meme, row_of, scene

from affectflow.pipeline.errors import ConfigError, RowAbsent, RowError
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.media.images import decode_image, load_image, load_original
from affectflow.pipeline.records import Failure, Row
from affectflow.pipeline.stages.inpaint import SCHEMA
from affectflow.pipeline.text_detection.quads import box_quad

pytest.importorskip("cv2", reason="needs opencv")

HEURISTIC = {"backend": "heuristic"}


def regions_of(quads, size=(0, 0)):
    flat = [np.asarray(quad, np.float32).reshape(-1).tolist() for quad in quads]
    return {
        "text_regions": {
            "quads": flat,
            "scores": [1.0] * len(flat),
            "texts": [],
            "width": size[1],
            "height": size[0],
        }
    }


def run(row, **options):
    stage = make_stage("inpaint", {"detector": HEURISTIC, **options})
    stage.open()
    (columns,) = stage.compute([stage.load(row)])
    pa.Table.from_pylist([columns["inpaint"]], schema=SCHEMA)
    return columns["inpaint"]


def detected(row, detector=HEURISTIC):
    stage = make_stage("text_regions", detector)
    stage.open()
    (columns,) = stage.compute([stage.load(row)])
    return Row(row.sample, row.root, columns)


@pytest.mark.parametrize("backend", ["heuristic", "rapidocr"])
@pytest.mark.parametrize("method", ["telea", "navier_stokes"])
def test_a_drawn_meme_loses_its_text(tmp_path, backend, method):
    if backend == "rapidocr":
        pytest.importorskip("rapidocr", reason="needs rapidocr")
    row = detected(row_of(tmp_path, meme()), {"backend": backend})
    columns = run(row, detector={"backend": backend}, method=method)
    assert columns["outcome"] == "painted"
    assert columns["text_area_before"] > 0.05 * 360 * 480
    assert columns["residual"] < 0.25
    assert columns["residual"] == columns["text_area_after"] / columns["text_area_before"]


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (17, 23), (64, 64), (101, 333), (720, 513)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_outside_the_mask_every_bit_stays(tmp_path, size, mode):
    generator = np.random.default_rng(size[0] * 7 + size[1])
    noise = Image.fromarray(generator.integers(0, 256, (*size, 4), dtype=np.uint8)).convert(mode)
    height, width = size
    tiny = height * width < 4
    quads = [box_quad(0, 0, width / 3, height / 8), box_quad(width / 2, 0, width / 1.5, 0)]
    quads = [box_quad(0, 0, 0, 0)] if tiny else quads
    row = row_of(tmp_path, noise, regions_of(quads, size))
    columns = run(row, min_dilate_px=0 if tiny else 1, max_cover=0.9)
    assert columns["outcome"] == "painted"
    before, after = load_original(row), decode_image(columns["image"])
    painted = np.asarray(Image.open(io.BytesIO(columns["mask"])))
    assert painted.shape == size
    assert set(np.unique(painted)) <= {0, 255}
    assert columns["cover"] == pytest.approx((painted > 0).mean())
    np.testing.assert_array_equal(after[painted == 0], before[painted == 0])


def test_the_stored_picture_is_what_features_read(tmp_path):
    row = detected(row_of(tmp_path, meme()))
    columns = run(row)
    reader = Row(row.sample, row.root, {"inpaint": columns})
    np.testing.assert_array_equal(load_image(reader, "inpainted"), decode_image(columns["image"]))
    assert not np.array_equal(load_image(reader, "inpainted"), load_original(row))


def test_no_text_passes_through(tmp_path):
    columns = run(row_of(tmp_path, meme(), regions_of([])))
    assert columns.pop("outcome") == "no_text"
    assert columns.pop("cover") == 0
    assert (columns.pop("backend"), columns.pop("untrained")) == ("opencv", False)
    assert set(columns.values()) == {None}


def test_a_mask_too_large_keeps_the_picture(tmp_path):
    row = row_of(tmp_path, meme(), regions_of([box_quad(0, 0, 479, 300)]))
    columns = run(row)
    assert columns["outcome"] == "mask_too_large"
    assert columns["cover"] > 0.6
    assert columns["image"] is None
    assert columns["mask"] is None
    assert columns["text_area_before"] == columns["text_area_after"] == 480 * 301
    assert columns["residual"] == 1.0


@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_a_mask_over_everything_is_never_filled(tmp_path, size):
    row = row_of(tmp_path, scene(*size), regions_of([box_quad(0, 0, 9, 9)]))
    assert run(row, max_cover=1.0)["outcome"] == "mask_too_large"


def test_backend_none_says_so(tmp_path):
    columns = run(detected(row_of(tmp_path, meme())), backend="none")
    assert columns["outcome"] == "not_painted"
    assert columns["image"] is None
    assert columns["residual"] == 1.0


@pytest.mark.parametrize("backend", ["opencv", "mean", "none"])
def test_every_row_says_which_backend_it_is_of(tmp_path, backend):
    columns = run(detected(row_of(tmp_path, meme())), backend=backend)
    assert columns["backend"] == backend
    assert columns["untrained"] is False
    assert columns["weights_sha256"] is None
    assert columns["without_background"] is None


def test_without_residual_the_detector_is_not_needed(tmp_path):
    row = detected(row_of(tmp_path, meme()))
    stage = make_stage("inpaint", {"residual": False})
    assert "rapidocr" not in stage.libraries()
    assert "detector" not in stage.identity()
    columns = run(row, residual=False)
    assert columns["outcome"] == "painted"
    assert columns["text_area_after"] is None
    assert columns["residual"] is None


def test_a_second_pass_paints_what_the_first_left(tmp_path):
    full = detected(row_of(tmp_path, meme()))
    quads = full.upstream["text_regions"]["quads"]
    top_only = [quad for quad in quads if quad[1] < 180]
    row = Row(full.sample, full.root, regions_of(top_only))
    once, twice = run(row), run(row, passes=2)
    assert once["residual"] > 0.5
    assert twice["residual"] < 0.25
    assert twice["cover"] > once["cover"]
    mask = decode_image(twice["mask"])[:, :, 0]
    assert mask[:120].any()
    assert mask[240:].any()


def test_one_picture_does_not_depend_on_the_others_of_its_batch(tmp_path):
    rows = [detected(row_of(tmp_path, meme(seed=seed), name=f"{seed}.png")) for seed in range(3)]
    stage = make_stage("inpaint", {"detector": HEURISTIC, "passes": 2})
    stage.open()
    together = stage.compute([stage.load(row) for row in rows])
    alone = [stage.compute([stage.load(row)])[0] for row in rows]
    assert list(together) == alone


def test_what_failed_above_fails_here_with_its_cause(tmp_path):
    broken = {"text_regions": Failure("decode_error", "truncated")}
    stage = make_stage("inpaint", {})
    with pytest.raises(RowError) as caught:
        stage.load(row_of(tmp_path, meme(), broken))
    assert caught.value.code == "upstream_decode_error"
    absent = {"text_regions": Failure("no_image", "none", status="absent")}
    with pytest.raises(RowAbsent):
        stage.load(row_of(tmp_path, None, absent))


def test_bad_configuration_is_one_line():
    with pytest.raises(ConfigError, match="method"):
        make_stage("inpaint", {"method": "magic"})
    with pytest.raises(ConfigError, match=r"detector\.backend"):
        make_stage("inpaint", {"detector": {"backend": "magic"}})


def test_the_paper_profile_needs_the_papers_network(tmp_path, monkeypatch):
    from affectflow.pipeline.errors import WeightsError
    from affectflow.pipeline.stages import inpaint

    pytest.importorskip("torch", reason="needs torch")
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="pipeline weights fetch deepfillv2-mmediting-places2"):
        make_stage("inpaint", inpaint.profile("paper")).identity()
    assert "inpainter" in make_stage("inpaint", inpaint.profile("offline")).identity()
