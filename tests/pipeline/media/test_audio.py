"""Decoding recordings: containers, rates, channels, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("scipy")

from support.spoken import glide, wave_bytes

from affectflow.pipeline.errors import RowAbsent, RowError
from affectflow.pipeline.media import audio
from affectflow.pipeline.records import Row, Sample


def row_of(root: Path, name: str | None) -> Row:
    return Row(Sample(key="key", split="train", audio=name), root)


def write(root: Path, samples: np.ndarray, rate: int = 16000, **options: str) -> Row:
    (root / "sound").write_bytes(wave_bytes(samples, rate, **options))
    return row_of(root, "sound")


def test_sixteen_bit_samples_are_exact(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(-32768, 32767, 5000).astype(np.int16)
    found = audio.load_recording(write(tmp_path, whole), 16000)
    np.testing.assert_array_equal(found.samples, whole / 32768)
    assert (found.source_rate_hz, found.source_channels) == (16000, 1)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_other_rates_keep_pitch_and_length(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate) / rate
    row = write(tmp_path, 0.5 * np.sin(2 * np.pi * 440 * time), rate, subtype="FLOAT")
    found = audio.load_recording(row, 16000)
    assert len(found.samples) == 16000
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(found.samples - wanted)[200:-200].max() < 2e-3


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("AU", "PCM_16")],
)
def test_containers(tmp_path: Path, container: str, subtype: str) -> None:
    row = write(tmp_path, glide(0.5, 100, 100), format=container, subtype=subtype)
    assert len(audio.load_recording(row, 16000).samples) == pytest.approx(8000, abs=10)


def test_first_channel_or_mean(tmp_path: Path) -> None:
    both = np.stack([np.full(1000, 0.25), np.full(1000, 0.75)], axis=1)
    row = write(tmp_path, both, subtype="FLOAT")
    assert audio.load_recording(row, 16000).samples[5] == 0.25
    assert audio.load_recording(row, 16000, "mean").samples[5] == 0.5


def test_bad_samples_become_zero_and_are_counted(tmp_path: Path) -> None:
    samples = np.full(1000, 0.5)
    samples[[3, 7]] = np.nan, np.inf
    found = audio.load_recording(write(tmp_path, samples, subtype="FLOAT"), 16000)
    assert found.repaired_share == pytest.approx(0.002)
    assert found.samples[3] == found.samples[7] == 0.0
    samples[:20] = np.nan
    with pytest.raises(RowError, match="NaN or infinite") as caught:
        audio.load_recording(write(tmp_path, samples, subtype="FLOAT"), 16000)
    assert caught.value.code == "bad_samples"


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"])
def test_clipping_is_counted(tmp_path: Path, subtype: str) -> None:
    samples = np.clip(2 * np.sin(np.arange(16000) / 20), -1, 1)
    row = write(tmp_path, samples, subtype=subtype)
    assert audio.load_recording(row, 16000).clipped_share == pytest.approx(2 / 3, abs=0.02)
    row = write(tmp_path, 0.9 * samples, subtype=subtype)
    assert audio.load_recording(row, 16000).clipped_share == 0


def test_samples_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    row = write(tmp_path, 4 * np.sin(np.arange(1000) / 9), subtype="FLOAT")
    assert audio.load_recording(row, 16000).samples.max() > 3.9


def code_of(root: Path, name: str) -> str:
    with pytest.raises(RowError) as caught:
        audio.load_recording(row_of(root, name), 16000)
    assert str(root) not in str(caught.value)
    return caught.value.code


def test_every_damage_is_a_row_error(tmp_path: Path) -> None:
    whole = wave_bytes(glide(0.2, 100, 100))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_bytes(b"this is no audio at all" * 20)
    (tmp_path / "header.wav").write_bytes(whole[:20])
    (tmp_path / "silent.wav").write_bytes(wave_bytes(np.zeros(0)))
    assert code_of(tmp_path, "empty.wav") == "empty_file"
    assert code_of(tmp_path, "text.wav") == "decode_error"
    assert code_of(tmp_path, "header.wav") == "decode_error"
    assert code_of(tmp_path, "silent.wav") == "decode_error"
    assert code_of(tmp_path, "nowhere.wav") == "missing_file"
    assert code_of(tmp_path, "../outside.wav") == "path_outside_root"


def test_without_audio_the_row_is_absent(tmp_path: Path) -> None:
    with pytest.raises(RowAbsent) as caught:
        audio.load_recording(row_of(tmp_path, None), 16000)
    assert caught.value.code == "no_audio"


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 96000])
@pytest.mark.parametrize("size", [700, 4096, 30011])
def test_blocks_do_not_show(rate: int, size: int) -> None:
    signal = np.random.default_rng(rate).standard_normal(60000)
    whole = np.concatenate(list(audio.resampled(iter([signal]), rate, 16000)))
    parts = [signal[i : i + size] for i in range(0, len(signal), size)]
    cut = np.concatenate(list(audio.resampled(iter(parts), rate, 16000)))
    np.testing.assert_array_equal(cut, whole)


def test_long_recordings_lie_on_disk_with_the_same_samples(tmp_path: Path) -> None:
    row = write(tmp_path, glide(3.0, 100, 120), 22050)
    memory = audio.load_recording(row, 16000)
    disk = audio.load_recording(row, 16000, disk_above_s=1.0)
    assert isinstance(disk.samples, np.memmap)
    np.testing.assert_array_equal(disk.samples, memory.samples)


CUT = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("WAV", "ULAW"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("W64", "PCM_24"),
]


@pytest.mark.parametrize(
    ("container", "subtype"),
    [*CUT, ("FLAC", "PCM_16"), ("OGG", "VORBIS")],
)
def test_a_file_that_was_cut_off_is_an_error(tmp_path: Path, container: str, subtype: str) -> None:
    whole = wave_bytes(glide(1.0, 100, 100), format=container, subtype=subtype)
    (tmp_path / "whole").write_bytes(whole)
    assert len(audio.load_recording(row_of(tmp_path, "whole"), 16000).samples) == 16_000
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    assert code_of(tmp_path, "cut") == "decode_error"


@pytest.mark.parametrize(("container", "subtype"), CUT)
def test_even_one_missing_sample_is_noticed(tmp_path: Path, container: str, subtype: str) -> None:
    whole = wave_bytes(glide(0.1, 100, 100), format=container, subtype=subtype)
    # A chunk of the peak may follow the samples.
    last = whole.find(b"PEAK", 200)
    (tmp_path / "cut").write_bytes(whole[: (last if last > 0 else len(whole)) - 4])
    with pytest.raises(RowError, match="bytes of samples") as caught:
        audio.load_recording(row_of(tmp_path, "cut"), 16000)
    assert caught.value.code == "decode_error"


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_header_without_a_length_is_no_damage(tmp_path: Path, size: int) -> None:
    whole = bytearray(wave_bytes(glide(0.5, 100, 100)))
    place = whole.index(b"data") + 4
    whole[place : place + 4] = size.to_bytes(4, "little")
    (tmp_path / "piped.wav").write_bytes(whole)
    assert len(audio.load_recording(row_of(tmp_path, "piped.wav"), 16000).samples) == 8000
