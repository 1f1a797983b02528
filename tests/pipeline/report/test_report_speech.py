"""The section on speech: facts of the samples, and pictures of those that stand out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

from support.command import run
from support.spoken import glide, wave_bytes

from affectflow.pipeline.report.sections.speech import Speech, chosen

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    sounds = {
        "0_low_7": glide(1.0, 90, 95),
        "1_high_7": glide(0.9, 300, 310),
        "2_loud_7": np.clip(20 * glide(0.8, 150, 160), -1, 1),
        "3_silent_7": np.zeros(8000),
    }
    for name, samples in sounds.items():
        (folder / f"{name}.wav").write_bytes(wave_bytes(samples))
    (folder / "4_broken_7.wav").write_bytes(b"RIFF")
    flags = ("--features", "covarep", "--cluster", "inline", "--set", "engine.max_failed=0.5")
    done = run(
        "run", "extract", "--dataset", "fsdd", "--root", folder, "--store", folder / "store", *flags
    )
    assert done.returncode == 4, done.stderr
    return folder / "store"


def page(store: Path) -> str:
    out = store / "page.html"
    done = run("report", "--store", store, "--out", out)
    assert done.returncode == 0, done.stderr
    text = out.read_text(encoding="utf-8")
    return text[text.index('<section id="speech"') :].partition("</section>")[0]


def test_the_page_shows_what_the_samples_are_like(store: Path) -> None:
    text = page(store)
    assert "4 samples with acoustic columns" in text
    cells = re.sub(r"<[^>]+>", "|", text)
    assert re.search(r"have no voiced frame\|+1\b", cells)
    assert re.search(r"have no polarity \(silence\)\|+1\b", cells)
    assert re.search(r"have over 0.1 % clipped values\|+1\b", cells)
    assert text.count("data:image/jpeg;base64,") == 4
    for key in ("0_low_7.wav", "1_high_7.wav", "2_loud_7.wav", "3_silent_7.wav"):
        assert key in text
    assert "4_broken_7" not in text


def test_a_recording_that_is_gone_leaves_a_word(store: Path) -> None:
    path = store.parent / "0_low_7.wav"
    data = path.read_bytes()
    path.unlink()
    try:
        text = page(store)
    finally:
        path.write_bytes(data)
    assert "missing file" in text
    assert text.count("data:image/jpeg;base64,") == 3


def test_no_sample_is_chosen_twice() -> None:
    facts = {"median_f0_hz": np.array([100.0, 0.0]), "clipped_share": np.array([0.0, 0.5])}
    speech = Speech(["a", "b"], np.array([1.0, 2.0]), facts)
    assert sorted(key for _, key in chosen(speech)) == ["a", "b"]
