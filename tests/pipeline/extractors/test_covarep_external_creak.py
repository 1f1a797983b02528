"""Creak probabilities of the user's own: read, checked, interpolated, part of the fingerprint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

from support.clips import clip_rows, noisy_voice
from support.extractor_rows import run
from support.spoken import wave_bytes

from affectflow.pipeline import loading
from affectflow.pipeline.errors import ConfigError, RowError
from affectflow.pipeline.extractors.covarep.columns import GROUPS, NAMES
from affectflow.pipeline.records import Row, Sample

CREAK = NAMES.index("creak")
TEXT = "time_s,creak\n0.2,0\n0.7,1\n0.8,0.5\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "wav").mkdir(parents=True)
    (tmp_path / "data" / "wav" / "a.wav").write_bytes(wave_bytes(noisy_voice(1.0)))
    (tmp_path / "creak" / "wav").mkdir(parents=True)
    (tmp_path / "creak" / "wav" / "a.csv").write_text(TEXT)
    return tmp_path


def extractor(root: Path, **changes: Any) -> Any:
    options = {"creak": "external", "creak_folder": str(root / "creak"), **changes}
    made = loading.make_stage("covarep", options)
    made.open()
    return made


def row_of(root: Path) -> Row:
    return Row(Sample(key="k", split="train", audio="wav/a.wav"), root / "data")


def test_values_are_read_onto_the_rows(root: Path) -> None:
    values = run(extractor(root), [row_of(root)])[0]
    creak, valid = values["covarep"][:, CREAK], values["covarep.valid"]
    at = 79 / 16_000 + 0.01 * np.arange(len(creak))
    inside = (at >= 0.2) & (at <= 0.8)
    wanted = np.interp(at, [0.2, 0.7, 0.8], [0, 1, 0.5]) * inside
    np.testing.assert_allclose(creak, wanted, atol=1e-6)
    np.testing.assert_array_equal(valid[:, list(GROUPS).index("creak")], inside)
    own = run(extractor(root, creak="zeros", creak_folder=None), [row_of(root)])[0]["covarep"]
    rest = np.arange(74) != CREAK
    assert values["covarep"][:, rest].tobytes() == own[:, rest].tobytes()


def test_an_array_gives_the_same(root: Path) -> None:
    from_text = run(extractor(root), [row_of(root)])[0]["covarep"]
    (root / "creak" / "wav" / "a.csv").unlink()
    np.save(root / "creak" / "wav" / "a.npy", [[0.2, 0], [0.7, 1], [0.8, 0.5]])
    from_array = run(extractor(root), [row_of(root)])[0]["covarep"]
    assert from_text.tobytes() == from_array.tobytes()


def test_times_of_clips_are_those_of_the_recording(root: Path) -> None:
    whole = run(extractor(root), [row_of(root)])[0]["covarep"]
    parts = run(extractor(root), clip_rows(root / "data", "wav/a.wav", [(0, 0.5), (0.5, 1)]))
    joined = np.concatenate([part["covarep"] for part in parts])
    assert joined.tobytes() == whole.tobytes()


def test_the_files_are_identified_and_the_folder_is_not(root: Path) -> None:
    first = extractor(root)
    before = first.identity()
    assert before["creak_kind"] == "external"
    assert list(before["creak_files"]) == ["wav/a.csv"]
    (root / "creak").rename(root / "elsewhere")
    moved = extractor(root, creak_folder=str(root / "elsewhere"))
    assert moved.identity() == before
    assert moved.config.result_parameters() == first.config.result_parameters()
    (root / "elsewhere" / "wav" / "a.csv").write_text(TEXT.replace("0.5", "0.6"))
    assert moved.identity() != before


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("creak,time_s\n0,0\n", "first line"),
        ("time_s,creak\n", "shape"),
        ("time_s,creak\n0.2,0\n0.1,0\n", "ascend"),
        ("time_s,creak\n0.2,nan\n", "finite"),
        ("time_s,creak\n0.2,1.5\n", "from 0 to 1"),
        ("time_s,creak\n0.2,high\n", "cannot be read"),
        ("time_s,creak\n0.2,0,1\n", "shape"),
        ("", "first line"),
    ],
)
def test_wrong_files_fail_their_row(root: Path, text: str, cause: str) -> None:
    (root / "creak" / "wav" / "a.csv").write_text(text)
    with pytest.raises(RowError, match=cause) as caught:
        extractor(root).load(row_of(root))
    assert caught.value.code == "bad_creak_file"


def test_an_array_of_objects_is_refused(root: Path) -> None:
    np.save(root / "creak" / "wav" / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(RowError, match="cannot be read"):
        extractor(root).load(row_of(root))


def test_a_recording_without_a_file_is_a_failure(root: Path) -> None:
    (root / "creak" / "other.csv").write_text(TEXT)
    (root / "creak" / "wav" / "a.csv").unlink()
    with pytest.raises(RowError, match=r"neither 'wav/a.csv' nor 'wav/a.npy'"):
        extractor(root).load(row_of(root))


def test_the_folder_and_the_option_go_together(root: Path) -> None:
    for options in ({"creak": "external"}, {"creak_folder": "x"}):
        with pytest.raises(ConfigError, match="go together"):
            loading.make_stage("covarep", options)
    with pytest.raises(ConfigError, match=r"holds no .csv or .npy"):
        extractor(root, creak_folder=str(root / "data")).identity()
