"""The librosa extractor: the library's own numbers, in blocks, on any signal, without warnings."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("librosa")
pytest.importorskip("soundfile")
pytest.importorskip("scipy")

from support.clips import noisy_voice
from support.extractor_rows import run
from support.spoken import wave_bytes

from affectflow.pipeline import loading
from affectflow.pipeline.extractors import librosa as extractor
from affectflow.pipeline.extractors.librosa import COLUMNS, describe
from affectflow.pipeline.records import Row, Sample

RATE, HOP = 22_050, 512
ZCR, MFCC, CHROMA = slice(0, 1), slice(1, 21), slice(21, 33)


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    return np.asarray(0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE))


def test_columns_have_names_and_a_time_base() -> None:
    spec = loading.make_stage("librosa", {}).outputs()[0]
    assert spec.shape == (None, 33)
    assert spec.columns == COLUMNS
    assert len(set(COLUMNS)) == 33
    assert (spec.hop_s, spec.t0_s, spec.dtype) == (HOP / RATE, 0.0, "float32")


def test_columns_are_those_of_the_library() -> None:
    from librosa.feature import chroma_cqt, mfcc, zero_crossing_rate

    sound = noisy_voice(4.0, RATE).astype(np.float32)
    found = describe(sound.astype(np.float64), RATE, HOP)
    np.testing.assert_array_equal(found[:, ZCR], zero_crossing_rate(sound).T.astype(np.float32))
    np.testing.assert_allclose(found[:, MFCC], mfcc(y=sound, sr=RATE).T, atol=1e-3)
    difference = np.abs(found[:, CHROMA] - chroma_cqt(y=sound, sr=RATE).T)
    # Where the longest filters do not see the ends of the recording.
    assert difference[40:-40].max() < 1e-3
    assert difference.max() < 0.05


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = noisy_voice(6.0, RATE)
    whole = describe(sound, RATE, HOP)
    monkeypatch.setattr(extractor, "_BLOCK", 64)
    np.testing.assert_allclose(describe(sound, RATE, HOP), whole, atol=1e-4)


def test_pitch_classes_are_where_they_belong() -> None:
    for name, frequency in (("chroma_A", 440.0), ("chroma_C", 261.63), ("chroma_F#", 185.0)):
        rows = describe(tone(frequency), RATE, HOP)[8:-8, CHROMA]
        assert (rows.argmax(axis=1) == COLUMNS[CHROMA].index(name)).all()


def test_zero_crossings_of_a_tone() -> None:
    rows = describe(tone(1000.0), RATE, HOP)[4:-4, 0]
    np.testing.assert_allclose(rows, 2 * 1000 / RATE, rtol=0.02)


@pytest.mark.parametrize("length", [1, 160, 511, 512, 2047, 6000])
@pytest.mark.parametrize("kind", ["silence", "noise", "constant", "denormal", "loud"])
def test_any_signal_gives_finite_rows_without_warnings(kind: str, length: int) -> None:
    noise = np.random.default_rng(length).standard_normal(length)
    sound = {
        "silence": np.zeros(length),
        "noise": 0.1 * noise,
        "constant": np.full(length, 0.3),
        "denormal": 1e-310 * noise,
        "loud": 50 * noise,
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = describe(sound, RATE, HOP)
    assert rows.shape == (1 + length // HOP, 33)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    if kind == "silence":
        assert (rows[:, ZCR] == 0).all()
        assert (rows[:, CHROMA] == 0).all()


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_any_rate_is_brought_to_one(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(wave_bytes(noisy_voice(1.0, rate), rate))
    stage = loading.make_stage("librosa", {})
    stage.open()
    rows = run(stage, [Row(Sample(key="k", split="train", audio="a.wav"), tmp_path)])[0]["librosa"]
    assert len(rows) == 1 + RATE // HOP
