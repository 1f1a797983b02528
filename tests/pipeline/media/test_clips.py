"""Samples that are intervals of a recording: which rows they have, and what they share."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("scipy")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clips import clip_manifest, clip_rows, noisy_voice
from support.spoken import wave_bytes

from affectflow.pipeline.datasets import table
from affectflow.pipeline.errors import ManifestError, RowError
from affectflow.pipeline.ingest.dataset import ingest_dataset
from affectflow.pipeline.manifest import Manifest, read_manifest
from affectflow.pipeline.media import clips
from affectflow.pipeline.media.audio import Recording
from affectflow.pipeline.media.clips import Clip, ClipReader, Shared
from affectflow.pipeline.store.layout import StoreLayout
from affectflow.pipeline.store.samples import SamplesTable
from affectflow.pipeline.store.verify_samples import check_samples


def recording(length: int) -> Recording:
    return Recording(np.zeros(length), 16_000, 16_000, 1, 0.0, 0.0)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    length=st.integers(1, 100_000),
    cuts=st.lists(st.floats(0, 7, allow_nan=False), max_size=6),
    first=st.integers(0, 400),
    hop=st.integers(1, 512),
)
def test_clips_that_meet_share_no_row_and_lose_none(
    length: int, cuts: list[float], first: int, hop: int
) -> None:
    whole, count = recording(length), max(0, (length - first - 1) // hop + 1)
    ends = [None, *sorted(cuts), None]
    parts = [
        range(count)[Clip(whole, start, end).rows(count, first, hop)]
        for start, end in itertools.pairwise(ends)
    ]
    assert [row for part in parts for row in part] == list(range(count))


def test_a_row_belongs_to_the_clip_it_was_measured_in() -> None:
    clip = Clip(recording(16_000), 0.1, 0.2)
    found = range(100)[clip.rows(100, 79, 160)]
    assert [79 + 160 * row for row in (found[0], found[-1])] == [1679, 3119]
    assert clip.samples() == (1600, 3200)


def test_nothing_is_left_of_a_clip_between_two_rows() -> None:
    assert not range(100)[Clip(recording(16_000), 0.101, 0.104).rows(100, 79, 160)]


def test_a_recording_is_read_once_for_clips_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(wave_bytes(noisy_voice(2.0)))
    (tmp_path / "b.wav").write_bytes(wave_bytes(noisy_voice(1.0)))
    read: list[str] = []
    original: Any = clips.load_recording

    def watched(row: Any, *others: Any) -> Any:
        read.append(row.sample.audio)
        return original(row, *others)

    monkeypatch.setattr(clips, "load_recording", watched)
    reader = ClipReader(16_000)
    rows = clip_rows(tmp_path, "a.wav", [(0, 1), (1, None), (0.5, 99)])
    loaded = [reader.load(row) for row in (*rows, *clip_rows(tmp_path, "b.wav", [(0, 1)]), rows[0])]
    assert read == ["a.wav", "b.wav"]
    assert loaded[0].recording is loaded[2].recording
    assert loaded[2].samples() == (8000, 32_000)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((2.0, 3.0), "2 s to 3 s"),
        ((1.0, None), "1 s to its end"),
        ((0.50001, 0.50002), "0.50001 s to 0.50002 s"),
        ((0.0, 0.0), "0 s to 0 s"),
    ],
)
def test_an_interval_outside_its_recording_is_a_failure(
    tmp_path: Path, interval: tuple[float, float | None], words: str
) -> None:
    (tmp_path / "a.wav").write_bytes(wave_bytes(noisy_voice(1.0)))
    with pytest.raises(RowError, match=rf"lasts 1\.000 s, the sample is {words}") as caught:
        ClipReader(16_000).load(clip_rows(tmp_path, "a.wav", [interval])[0])
    assert caught.value.code == "clip_outside_recording"


def test_what_failed_once_is_not_tried_for_every_clip() -> None:
    tried: list[int] = []

    def fail() -> int:
        tried.append(1)
        raise RowError("decode_error", "broken")

    shared: Shared[int] = Shared(1)
    for _ in range(3):
        with pytest.raises(RowError, match="broken"):
            shared.get("a", fail)
    assert len(tried) == 1
    assert shared.get("b", lambda: 5) == 5
    with pytest.raises(RowError, match="broken"):
        shared.get("a", fail)
    assert len(tried) == 2


LINES = ["file,from,to", "a.wav,0,0.5", "a.wav,0.5,", "a.wav,,", "a.wav,0.9,0.3", "a.wav,-1,2"]


def write_table(root: Path, *changes: tuple[str, str]) -> Manifest:
    text = "\n".join([*LINES, "a.wav,x,2"])
    for old, new in changes:
        text = text.replace(old, new)
    (root / "clips.csv").write_text(text)
    return clip_manifest(root / "clips.yaml")


def test_a_table_says_intervals(tmp_path: Path) -> None:
    rows = list(table.read(tmp_path, write_table(tmp_path)))
    assert [(row.key, row.start_s, row.end_s) for row in rows[:3]] == [
        ("a.wav@0-0.5", 0.0, 0.5),
        ("a.wav@0.5-", 0.5, None),
        ("a.wav", None, None),
    ]
    assert {row.status for row in rows[:3]} == {"ok"}
    assert [row.status for row in rows[3:]] == ["bad_row"] * 3
    assert "expected later than 0.9 s" in rows[3].reason
    assert "expected seconds from 0 up" in rows[4].reason


def test_intervals_need_recordings(tmp_path: Path) -> None:
    write_table(tmp_path)
    path = tmp_path / "clips.yaml"
    path.write_text(path.read_text().replace("audio: file", "text: file"))
    with pytest.raises(ManifestError, match="map audio too"):
        read_manifest(path)


def ingested(root: Path, *changes: tuple[str, str]) -> SamplesTable:
    manifest = write_table(root, *changes)
    return ingest_dataset(manifest, root, StoreLayout(root / "store"), shard_rows=2)


def test_digests_change_with_the_interval(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wave_bytes(noisy_voice(1.0)))
    before, after = ingested(tmp_path), ingested(tmp_path, ("0.5,", "0.6,"))
    one, other = ([shard["content"] for shard in found.shards] for found in (before, after))
    # Only the first shard holds a changed interval; what was made from the others stays valid.
    assert [a == b for a, b in zip(one, other, strict=True)] == [False, True, True]
    assert [(s.start_s, s.end_s) for s in before.samples(0)] == [(0.0, 0.5), (0.5, None)]
    assert list(check_samples(before)) == []


def test_clips_of_one_recording_stay_on_one_side_of_a_split(tmp_path: Path) -> None:
    lines = ["file,from,to"]
    for number in range(6):
        sound = noisy_voice(1.0) * (1 + number) / 10
        (tmp_path / f"{number}.wav").write_bytes(wave_bytes(sound))
        lines += [f"{number}.wav,{cut / 10},{cut / 10 + 0.1}" for cut in range(5)]
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    values = clip_manifest(tmp_path / "clips.yaml").model_dump() | {"splits": {"test": 0.4}}
    manifest = Manifest.model_validate(values)
    found = ingest_dataset(manifest, tmp_path, StoreLayout(tmp_path / "store"))
    splits: dict[str, set[str]] = {}
    for sample in found.samples(0):
        splits.setdefault(sample.audio or "", set()).add(sample.split)
    assert len(splits) == 6
    assert all(len(split) == 1 for split in splits.values())
    assert set.union(*splits.values()) >= {"train", "test"}
    assert found.info["duplicates"]["groups"] == 0
