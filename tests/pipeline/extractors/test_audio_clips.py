"""Clips of one recording: the rows of the whole, cut; analysed once; and in whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("soundfile")
pytest.importorskip("librosa")
pytest.importorskip("transformers")

from support.clips import clip_manifest, clip_rows, noisy_voice
from support.command import run as command
from support.extractor_rows import run
from support.spoken import wave_bytes

from affectflow.pipeline import loading
from affectflow.pipeline.extractors.covarep import analysis
from affectflow.pipeline.records import Row, Sample

NAMES = ("covarep", "librosa", "wav2vec2")
INTERVALS = [(None, 0.7), (0.7, 1.234), (1.234, None)]


def extractor(name: str, **changes: Any) -> Any:
    made = loading.make_stage(name, loading.load_module("extractors", name).tiny() | changes)
    made.open()
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").write_bytes(wave_bytes(noisy_voice(2.0)))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_clips_are_the_rows_of_the_whole(name: str, root: Path) -> None:
    made = extractor(name)
    whole = run(made, [Row(Sample(key="k", split="train", audio="a.wav"), root)])[0][name]
    parts = [values[name] for values in run(made, clip_rows(root, "a.wav", INTERVALS))]
    assert min(len(part) for part in parts) > 10
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    spec = made.outputs()[0]
    # A row is measured at t0 + hop * row; the second clip begins with the first one after 0.7 s.
    first = len(parts[0])
    assert spec.t0_s + spec.hop_s * (first - 1) < 0.7 + 1 / 16_000
    assert spec.t0_s + spec.hop_s * first >= 0.7 - 1 / 16_000


def test_a_recording_is_analysed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    original = analysis.analyse

    def watched(signal: np.ndarray, *others: Any, **options: Any) -> Any:
        lengths.append(len(signal))
        return original(signal, *others, **options)

    monkeypatch.setattr(analysis, "analyse", watched)
    made = extractor("covarep", batch_size=1)
    for row in clip_rows(root, "a.wav", INTERVALS):
        made.compute([made.load(row)])
    assert lengths == [32_000]


def test_a_clip_cut_before_is_another_one(root: Path) -> None:
    (root / "part.wav").write_bytes(wave_bytes(noisy_voice(2.0)[11_200:19_744]))
    made = extractor("covarep")
    cut = run(made, clip_rows(root, "a.wav", INTERVALS[1:2]))[0]["covarep"]
    alone = run(made, [Row(Sample(key="k", split="train", audio="part.wav"), root)])[0]["covarep"]
    assert len(cut) == len(alone)
    assert not np.allclose(cut, alone, atol=0.1)


def extract(root: Path, store: str, *flags: str) -> dict[str, Any]:
    done = command(
        "run", "extract", "--dataset", root / "clips.yaml", "--root", root, "--store", root / store,
        "--features", "covarep", "--cluster", "inline", "--set", "engine.shard_rows=2",
        "--set", "engine.max_failed=0.6", "--json", *flags,
    )  # fmt: skip
    assert done.returncode in (0, 4), done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.mark.slow
def test_a_run_over_clips_redoes_what_changed(root: Path) -> None:
    clip_manifest(root / "clips.yaml")
    lines = ["file,from,to", "a.wav,,0.7", "a.wav,0.7,1.5", "a.wav,1.5,", "a.wav,7,8"]
    (root / "clips.csv").write_text("\n".join(lines))
    first = extract(root, "store")
    assert first["samples"] == 4
    assert (first["outputs"][0]["ok"], first["outputs"][0]["failed"]) == (3, 1)
    listed = command("quarantine", "list", "--store", root / "store", "--json")
    assert {row["class"] for row in json.loads(listed.stdout)} == {"clip_outside_recording"}
    shown = command("inspect", "a.wav@0.7-1.5", "--store", root / "store", "--json")
    facts = json.loads(shown.stdout)
    assert (facts["sample"]["start_s"], facts["sample"]["end_s"]) == (0.7, 1.5)
    assert extract(root, "store")["cells"]["done"] == 0
    (root / "clips.csv").write_text("\n".join(lines).replace("0.7", "0.8"))
    again = extract(root, "store")
    assert again["cells"]["done"] == 1
