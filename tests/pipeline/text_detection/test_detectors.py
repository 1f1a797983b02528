from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pytest
from support.drawn_memes import meme, scene

from affectflow.pipeline.compute_threads import compute_threads
from affectflow.pipeline.errors import InvalidInput, RowError
from affectflow.pipeline.text_detection import quads, tesseract_backend
from affectflow.pipeline.text_detection.detection import (
    DetectorConfig,
    accepted,
    detector_identity,
    open_detector,
)

pytest.importorskip("cv2", reason="needs opencv")

TSV = (
    "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"
    "4\t1\t1\t1\t1\t0\t0\t0\t90\t20\t-1\t\n"
    "5\t1\t1\t1\t1\t1\t10\t20\t60\t16\t91.5\tHELLO\n"
    '5\t1\t1\t1\t1\t2\t80\t20\t10\t16\t12\t"\n'
)


def needs_rapidocr():
    pytest.importorskip("rapidocr", reason="needs rapidocr")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def found_rows(found, height):
    """Return which of the two caption bands a detector found."""
    centres = [quad[:, 1].mean() / height for quad, _, _ in found]
    return any(c < 0.2 for c in centres), any(c > 0.8 for c in centres)


@pytest.mark.parametrize("backend", ["heuristic", "rapidocr"])
@pytest.mark.parametrize("size", [(360, 480), (720, 720), (501, 333)])
def test_both_captions_are_found(backend, size):
    if backend == "rapidocr":
        needs_rapidocr()
    found = open_detector(DetectorConfig(backend=backend)).detect(meme(*size))
    assert found_rows(found, size[0]) == (True, True)
    for quad, score, text in found:
        assert quad.shape == (4, 2)
        assert quad.dtype == np.float32
        assert (quad >= 0).all()
        assert (quad <= (size[1] - 1, size[0] - 1)).all()
        assert 0.5 <= score <= 1
        assert text == ""


@pytest.mark.parametrize("backend", ["heuristic", "rapidocr"])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (3, 2), (360, 480)])
def test_nothing_is_found_where_nothing_is(backend, size):
    if backend == "rapidocr":
        needs_rapidocr()
    plain = np.full((*size, 3), 128, dtype=np.uint8)
    assert open_detector(DetectorConfig(backend=backend)).detect(plain) == []


def test_heuristic_finds_nothing_in_a_scene():
    assert open_detector(DetectorConfig(backend="heuristic")).detect(scene(360, 480)) == []


def test_thread_count_does_not_change_quads(monkeypatch):
    needs_rapidocr()
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("AFFECTFLOW_THREADS", threads)
        results.append(open_detector(DetectorConfig()).detect(meme()))
    assert len(results[0]) == len(results[1]) > 0
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1:] == two[1:]


def test_compute_threads(monkeypatch):
    for text, expected in (("3", 3), ("0", 1), ("many", 1), ("-2", 1)):
        monkeypatch.setenv("AFFECTFLOW_THREADS", text)
        assert compute_threads() == expected


def test_recognition_reads_the_captions(capfd):
    needs_rapidocr()
    found = open_detector(DetectorConfig(recognise=True)).detect(meme(720, 960))
    text = "".join(text for _, _, text in found).replace(" ", "").upper()
    assert "TEST" in text
    assert "NOBODY" in text
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_limits_keep_implausible_boxes_out():
    config = DetectorConfig(min_score=0.5, max_box_frac=0.4, max_height_frac=0.5)
    line, figure = quads.box_quad(0, 0, 99, 9), quads.box_quad(10, 10, 70, 70)
    assert accepted(line, 0.5, 100, 100, config)
    assert not accepted(line, 0.49, 100, 100, config)
    assert not accepted(figure, 0.9, 100, 100, config)
    assert not accepted(quads.box_quad(0, 0, 99, 45), 0.9, 100, 100, config)


def test_identity_is_the_digest_of_the_model_file():
    needs_rapidocr()
    from affectflow.pipeline.text_detection.rapidocr_backend import model_file

    facts = detector_identity(DetectorConfig())
    digest = hashlib.sha256(model_file().read_bytes()).hexdigest()
    assert facts == {"detector_sha256": digest}
    assert set(detector_identity(DetectorConfig(recognise=True))) == {
        "detector_sha256",
        "recogniser_sha256",
    }
    json.dumps(facts)


@pytest.fixture
def tesseract(tmp_path, monkeypatch):
    """A stand-in for the program that speaks its table format; `fail` makes it fail."""
    program = tmp_path / "tesseract"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "if '--version' in sys.argv: print('tesseract 5.3.0'); sys.exit()\n"
        "data = sys.stdin.buffer.read()\n"
        "if os.environ.get('FAIL'): sys.stderr.write('no such language'); sys.exit(1)\n"
        "assert data[1:4] == b'PNG', data[:8]\n"
        "assert sys.argv[1:] == ['-', '-', '-l', 'eng', '--psm', '11', 'tsv'], sys.argv\n"
        f"sys.stdout.write({TSV!r})\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("tesseract")
def test_tesseract_words_come_in_original_pixels():
    config = DetectorConfig(backend="tesseract", recognise=True)
    found = open_detector(config).detect(np.zeros((128, 128, 3), np.uint8))
    # The picture was searched at twice its size; the second word is below min_score.
    assert [(score, text) for _, score, text in found] == [(0.915, "HELLO")]
    np.testing.assert_allclose(found[0][0], quads.box_quad(5, 10, 34, 17))
    assert detector_identity(config) == {"tesseract": "tesseract 5.3.0"}


@pytest.mark.usefixtures("tesseract")
def test_tesseract_failure_is_a_row_error(monkeypatch):
    monkeypatch.setenv("FAIL", "1")
    detector = open_detector(DetectorConfig(backend="tesseract"))
    with pytest.raises(RowError, match="no such language") as caught:
        detector.detect(np.zeros((8, 8, 3), np.uint8))
    assert caught.value.code == "detector_failed"


def test_tesseract_absent_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="apt-get install tesseract-ocr"):
        detector_identity(DetectorConfig(backend="tesseract"))


def test_tesseract_quote_characters_do_not_swallow_rows():
    text = TSV + "5\t1\t1\t1\t1\t3\t0\t0\t5\t5\t99\tX\n"
    words = tesseract_backend.words(text, (1.0, 1.0), keep_text=True)
    assert [text for _, _, text in words] == ["HELLO", '"', "X"]
