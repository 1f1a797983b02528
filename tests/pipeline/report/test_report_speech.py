"""The section on speech: facts of the samples, and pictures of those that stand out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

from support.command import run
from support.spoken import glide, wave_bytes

from affectflow.pipeline.report.sections.speech import Speech, chosen
from affectflow.pipeline.report.voice import LEFT

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


def test_a_broken_recording_is_said_to_be_one(store: Path) -> None:
    out = store / "errors.html"
    assert run("report", "--store", store, "--out", out).returncode == 0
    text = out.read_text(encoding="utf-8").partition('<section id="errors"')[2]
    card = text.partition("</section>")[0]
    assert "<b>recording</b>" in card
    assert "4_broken_7" in card
    assert "no image" not in card


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


def test_the_waveform_is_of_the_channel_that_was_analysed(tmp_path: Path) -> None:
    voice = glide(0.5, 120, 130)
    stereo = np.stack([np.zeros_like(voice), voice], axis=1)
    (tmp_path / "0_pair_7.wav").write_bytes(wave_bytes(stereo))
    dark = {}
    for channel in ("first", "mean"):
        store, picture = tmp_path / channel, tmp_path / f"{channel}.png"
        flags = ("--features", "covarep", "--cluster", "inline")
        chosen_channel = ("--set", f"covarep.channel={channel}")
        source = ("--dataset", "fsdd", "--root", tmp_path, "--store", store)
        assert run("run", "extract", *source, *flags, *chosen_channel).returncode == 0
        done = run("inspect", "0_pair_7.wav", "--store", store, "--picture", picture)
        assert done.returncode == 0, done.stderr
        wave = np.asarray(Image.open(picture))[:160, LEFT:]
        dark[channel] = (wave < 100).all(axis=2).sum(axis=0).max()
    assert dark["first"] <= 2
    assert dark["mean"] > 20
