"""The wav2vec2 extractor: grid, blocks, seeded weights, and a model folder of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("soundfile")

from support.clips import noisy_voice
from support.extractor_rows import run
from support.spoken import wave_bytes

from affectflow.pipeline import loading
from affectflow.pipeline.errors import WeightsError
from affectflow.pipeline.extractors import wav2vec2
from affectflow.pipeline.extractors.wav2vec2.network import num_frames, untrained_network
from affectflow.pipeline.records import Row, Sample


def extractor(**changes: Any) -> Any:
    made = loading.make_stage("wav2vec2", wav2vec2.tiny() | changes)
    made.identity()
    made.open()
    return made


def row_of(root: Path, samples: np.ndarray, **options: Any) -> Row:
    (root / "a.wav").write_bytes(wave_bytes(samples, **options))
    return Row(Sample(key="k", split="train", audio="a.wav"), root)


def frames(root: Path, samples: np.ndarray, **changes: Any) -> np.ndarray:
    row = row_of(root, samples, subtype="DOUBLE")
    found = run(extractor(**changes), [row])[0]["wav2vec2"]
    assert np.isfinite(found).all()
    return np.asarray(found)


def test_offline_weights_are_random_and_as_wide_as_published() -> None:
    stage = loading.make_stage("wav2vec2", wav2vec2.profile("offline"))
    spec = stage.outputs()[0]
    assert spec.shape == (None, 768)
    assert spec.hop_s == 0.02
    assert "random weights (seed 0)" in stage.warnings()[0]
    assert stage.identity()["weights"]["untrained"] is True


def test_missing_weights_name_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    stage = loading.make_stage("wav2vec2", wav2vec2.profile("paper"))
    with pytest.raises(WeightsError) as caught:
        stage.identity()
    assert "pipeline weights fetch wav2vec2-base-960h" in str(caught.value)


@pytest.mark.parametrize("length", [1, 399, 400, 719, 720, 16_000])
def test_rows_are_those_of_the_convolutions(tmp_path: Path, length: int) -> None:
    import torch

    network = untrained_network("tiny", 0).eval()
    sound = torch.zeros(1, max(length, 400))
    with torch.inference_mode():
        assert network(sound).last_hidden_state.shape[1] == num_frames(length)
    assert len(frames(tmp_path, noisy_voice(1.0)[:length])) == num_frames(length)


def test_silence_is_finite(tmp_path: Path) -> None:
    assert frames(tmp_path, np.zeros(16_000)).shape == (49, 32)


def test_loudness_does_not_show(tmp_path: Path) -> None:
    one = frames(tmp_path, 0.5 * noisy_voice(1.0), dtype="float32")
    other = frames(tmp_path, noisy_voice(1.0), dtype="float32")
    np.testing.assert_allclose(one, other, atol=0.01)


def test_long_recordings_are_heard_in_blocks_of_bounded_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    original = wav2vec2.Network.hidden

    def watched(self: Any, sound: np.ndarray) -> np.ndarray:
        lengths.append(len(sound))
        return original(self, sound)

    monkeypatch.setattr(wav2vec2.Network, "hidden", watched)
    sound = noisy_voice(7.0)
    whole = frames(tmp_path, sound)
    cut = frames(tmp_path, sound, block_s=2, context_s=0.5)
    assert lengths[0] == len(sound)
    assert len(lengths[1:]) == 4
    assert max(lengths[1:]) <= 3.1 * 16_000
    assert cut.shape == whole.shape
    # Blocks are another computation: the setting is part of the fingerprint.
    assert "block_s" in extractor().config.result_parameters()
    assert np.median(np.abs(cut - whole)) < 0.2 * whole.std()


def test_a_block_as_long_as_the_recording_is_the_recording(tmp_path: Path) -> None:
    sound = noisy_voice(2.0)
    one = frames(tmp_path, sound, block_s=2)
    assert one.tobytes() == frames(tmp_path, sound, block_s=600, context_s=0).tobytes()


def save(folder: Path, **changes: Any) -> Path:
    network = untrained_network("tiny", 3)
    for name, value in changes.items():
        setattr(network.config, name, value)
    network.save_pretrained(folder)
    return folder


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    sound = noisy_voice(1.0)
    own = frames(tmp_path, sound, allow_untrained=False, folder=str(folder), dtype="float32")
    made = frames(tmp_path, sound, seed=3, dtype="float32")
    np.testing.assert_allclose(own, made, atol=1e-5)
    identity = loading.make_stage("wav2vec2", {"folder": str(folder)}).identity()["weights"]
    assert set(identity["files"]) == {"config.json", "model.safetensors"}
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    raw = frames(tmp_path, sound, allow_untrained=False, folder=str(folder), dtype="float32")
    assert not np.allclose(raw, own, atol=1e-2)
    again = loading.make_stage("wav2vec2", {"folder": str(folder)}).identity()["weights"]
    assert again != identity


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", model_type="hubert")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"wav2vec2"', '"hubert"'))
    with pytest.raises(WeightsError, match="hubert model"):
        loading.make_stage("wav2vec2", {"folder": str(folder)}).outputs()


def test_layers_differ(tmp_path: Path) -> None:
    sound = noisy_voice(0.5)
    first, last = (frames(tmp_path, sound, layer=layer) for layer in (0, -1))
    assert first.shape == last.shape
    assert not np.allclose(first, last)
