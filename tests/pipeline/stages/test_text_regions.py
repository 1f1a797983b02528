from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support.drawn_memes import meme, row_of
from support.shared import SHARED, needs_shared

from affectflow.pipeline.errors import ConfigError, RowAbsent, RowError
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.records import Row, Sample
from affectflow.pipeline.stages.text_regions import SCHEMA

pytest.importorskip("cv2", reason="needs opencv")


def run(row, **options):
    stage = make_stage("text_regions", {"backend": "heuristic", **options})
    stage.open()
    (columns,) = stage.compute([stage.load(row)])
    return columns["text_regions"]


def test_columns_fit_the_schema(tmp_path):
    columns = run(row_of(tmp_path, meme(360, 480)))
    table = pa.Table.from_pylist([columns], schema=SCHEMA)
    assert table.num_rows == 1
    assert (columns["width"], columns["height"]) == (480, 360)
    assert len(columns["quads"]) == len(columns["scores"]) >= 2
    assert all(len(quad) == 8 for quad in columns["quads"])
    assert columns["texts"] == []


def test_quads_are_in_original_pixels(tmp_path):
    small = run(row_of(tmp_path, meme(360, 480), name="s.png"), min_side=480, max_side=480)
    large = np.asarray(Image.fromarray(meme(360, 480)).resize((1440, 1080), Image.Resampling.BOX))
    scaled = run(row_of(tmp_path, large, name="l.png"), min_side=480, max_side=480)
    assert len(small["quads"]) == len(scaled["quads"])
    for one, three in zip(small["quads"], scaled["quads"], strict=True):
        np.testing.assert_allclose(np.array(three) / 3, one, atol=6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_kind_of_picture(tmp_path, mode):
    picture = Image.fromarray(meme()).convert(mode)
    name = "a.jpg" if mode == "CMYK" else "a.png"
    assert run(row_of(tmp_path, picture, name=name))["quads"]


def test_no_text_gives_empty_lists(tmp_path):
    columns = run(row_of(tmp_path, np.full((1, 1, 3), 9, np.uint8)))
    assert columns == {"quads": [], "scores": [], "texts": [], "width": 1, "height": 1}


def test_no_image_is_absent_and_a_broken_one_fails(tmp_path):
    stage = make_stage("text_regions", {"backend": "heuristic"})
    with pytest.raises(RowAbsent):
        stage.load(Row(Sample(key="k", split="train"), tmp_path))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(RowError) as caught:
        stage.load(Row(Sample(key="k", split="train", image="b.png"), tmp_path))
    assert caught.value.code == "decode_error"


def test_recognised_texts_stand_beside_their_quads(tmp_path):
    pytest.importorskip("rapidocr", reason="needs rapidocr")
    columns = run(row_of(tmp_path, meme(720, 960)), backend="rapidocr", recognise=True)
    assert len(columns["texts"]) == len(columns["quads"])
    assert any("GREEN" in text.upper() for text in columns["texts"])


def test_bad_configuration_is_one_line():
    with pytest.raises(ConfigError, match="min_side 600 is above max_side 500"):
        make_stage("text_regions", {"min_side": 600, "max_side": 500})
    with pytest.raises(ConfigError, match="backend"):
        make_stage("text_regions", {"backend": "easyocr"})


def test_the_backend_decides_identity_and_libraries():
    heuristic = make_stage("text_regions", {"backend": "heuristic"})
    assert heuristic.identity() == {"decode_policy": 1, "heuristic": 1}
    assert "rapidocr" not in heuristic.libraries()
    assert "rapidocr" in make_stage("text_regions", {}).libraries()


@needs_shared("data/propaganda_memes/images")
@pytest.mark.real_data
def test_nearly_every_real_meme_has_text():
    pytest.importorskip("rapidocr", reason="needs rapidocr")
    folder = SHARED / "data/propaganda_memes/images"
    names = sorted(path.name for path in folder.iterdir())[::40]
    stage = make_stage("text_regions", {})
    stage.open()
    rows = [Row(Sample(key=name, split="train", image=name), folder) for name in names]
    results = stage.compute([stage.load(row) for row in rows])
    assert sum(bool(result["text_regions"]["quads"]) for result in results) >= 0.9 * len(names)
