"""Preprocessing parity, unit norms, activation mismatch, one modality without the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.extractor_rows import make_row, picture, run

from affectflow.pipeline.errors import ConfigError, RowAbsent, RowError, WeightsError
from affectflow.pipeline.extractors import clip
from affectflow.pipeline.extractors.clip import Config, Extractor
from affectflow.pipeline.extractors.clip.images import prepare_image
from affectflow.pipeline.extractors.clip.network import (
    TINY,
    architecture_of,
    build,
    check_activation,
)
from affectflow.pipeline.records import Failure

SIZES = [(300, 224), (224, 300), (200, 1000), (1000, 200), (17, 31), (1, 1), (224, 224), (641, 480)]


def tiny(**changes: Any) -> Extractor:
    stage = Extractor(Config(**(clip.tiny() | changes)))
    stage.open()
    return stage


@pytest.fixture(scope="module")
def stage() -> Extractor:
    return tiny()


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_preprocessing_equals_open_clip(mode: Any, width: int, height: int) -> None:
    import open_clip

    pixels = picture(width * 7 + height, width, height)
    transform = open_clip.image_transform(224, is_train=False, resize_mode=mode)
    expected = transform(Image.fromarray(pixels)).numpy()
    np.testing.assert_array_equal(prepare_image(pixels, 224, mode), expected)


def test_modes_on_a_tall_picture() -> None:
    pixels = np.full((1000, 200, 3), 128, dtype=np.uint8)
    pixels[:100] = 255
    cut, padded, squashed = (
        prepare_image(pixels, 224, mode)[0] for mode in ("shortest", "longest", "squash")
    )
    assert np.ptp(cut) == 0, "the bright band at the top is cut away"
    assert padded[112, 0] < cut.min(), "the sides are black"
    assert padded[10, 112] == squashed[10, 112] > cut.max(), "the band is kept"


def test_a_strip_does_not_need_gigabytes() -> None:
    strip = np.full((1, 60_000, 3), 90, dtype=np.uint8)
    for mode in ("shortest", "longest", "squash"):
        assert prepare_image(strip, 224, mode).shape == (3, 224, 224)  # type: ignore[arg-type]


def test_vectors_have_unit_norm(stage: Extractor, tmp_path: Path) -> None:
    rows = [make_row(tmp_path, f"r{i}", "some words " * i) for i in range(4)]
    for values in run(stage, rows):
        for name in ("clip_image", "clip_text"):
            assert np.linalg.norm(values[name]) == pytest.approx(1, abs=1e-5)


def test_text_equals_open_clip(stage: Extractor, tmp_path: Path) -> None:
    import open_clip
    import torch

    texts = ["", "a photo", "When you SEE it &amp; run", "long words " * 60]
    rows = [make_row(tmp_path, f"r{i}", text) for i, text in enumerate(texts)]
    tokens = open_clip.SimpleTokenizer()(texts)
    network = stage._towers._network
    with torch.inference_mode():
        expected = network.encode_text(tokens, normalize=True).numpy()
    found = run(stage, rows)
    np.testing.assert_allclose(
        np.stack([values["clip_text"] for values in found]), expected, rtol=1e-5, atol=1e-5
    )
    assert [int(values["clip.truncated"][0]) for values in found] == [0, 0, 0, 1]
    assert [len(values["clip_text_tokens"]) for values in found][0::3] == [2, 77]


def test_image_equals_open_clip(stage: Extractor, tmp_path: Path) -> None:
    import open_clip
    import torch

    row = make_row(tmp_path, "a")
    transform = open_clip.image_transform(32, is_train=False)
    pixels = transform(Image.open(tmp_path / "a.png"))[None]
    network = stage._towers._network
    with torch.inference_mode():
        pooled, tokens = network.visual(pixels)
    values = run(stage, [row])[0]
    unit = pooled[0] / pooled[0].norm()
    np.testing.assert_allclose(values["clip_image"], unit.numpy(), rtol=1e-5, atol=1e-5)
    assert values["clip_image_tokens"].shape == (4, 32)
    np.testing.assert_allclose(
        values["clip_image_tokens"].astype(float), tokens[0].numpy(), rtol=2e-3, atol=2e-3
    )


def test_a_broken_image_leaves_the_text(stage: Extractor, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    good, broken = make_row(tmp_path, "good"), make_row(tmp_path, "bad", image="broken.png")
    values = stage.compute([stage.load(broken), stage.load(good)])
    assert isinstance(values[0]["clip_image"], Failure)
    assert values[0]["clip_image"].code == "decode_error"
    np.testing.assert_array_equal(values[0]["clip_text"], values[1]["clip_text"])
    assert isinstance(values[1]["clip_image"], np.ndarray)


def test_a_failed_text_leaves_the_image(stage: Extractor, tmp_path: Path) -> None:
    row = make_row(tmp_path, "a", upstream={"clean_text": Failure("bad_text", "no")})
    values = stage.compute([stage.load(row)])[0]
    assert isinstance(values["clip_image"], np.ndarray)
    for name in ("clip_text", "clip_text_tokens", "clip.truncated"):
        assert values[name] == Failure("upstream_bad_text", "clean_text: no")


def test_both_wrong_fails_the_row_with_the_real_failure(stage: Extractor, tmp_path: Path) -> None:
    broken_text = {"clean_text": Failure("bad_text", "no")}
    with pytest.raises(RowError) as caught:
        stage.load(make_row(tmp_path, "a", image=None, upstream=broken_text))
    assert caught.value.code == "upstream_bad_text"
    assert not isinstance(caught.value, RowAbsent)


def test_inpainted_image_is_used_where_there_is_one(stage: Extractor, tmp_path: Path) -> None:
    from affectflow.pipeline.media.images import encode_png

    row = make_row(tmp_path, "a")
    painted = make_row(tmp_path, "a", upstream={"inpaint": {"image": encode_png(picture(99))}})
    # One by one: a batch of another size may round the last bit differently.
    before, after = run(stage, [row])[0], run(stage, [painted])[0]
    assert (before["clip_image"] != after["clip_image"]).any()
    original = run(tiny(image_source="original"), [painted])[0]
    np.testing.assert_array_equal(original["clip_image"], before["clip_image"])


def test_sources_decide_what_is_read() -> None:
    def reads(**changes: Any) -> tuple[str, ...]:
        return Extractor(Config(**(clip.tiny() | changes))).reads()

    assert reads() == ("clean_text", "inpaint")
    assert reads(image_source="original") == ("clean_text",)
    assert reads(image_source="original", text_source="raw") == ()


def test_activation_mismatch_fails() -> None:
    check_activation("ViT-B-32", "openai", quick_gelu=True)
    with pytest.raises(ConfigError, match=r"clip\.quick_gelu=true"):
        check_activation("ViT-B-32", "openai", quick_gelu=False)
    with pytest.raises(ConfigError, match="quick_gelu=True, got quick_gelu=False"):
        Extractor(Config(quick_gelu=False))._weights()


def test_activation_changes_the_network() -> None:
    names = {quick: type(build(TINY, quick).visual.transformer.resblocks[0].mlp.gelu).__name__
             for quick in (True, False)}  # fmt: skip
    assert names == {True: "QuickGELU", False: "GELU"}


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="for ViT-B-32, not for ViT-B-16"):
        Extractor(Config(model="ViT-B-16"))._weights()


@pytest.mark.parametrize("model", ["ViT-B-33", "../ViT-B-32", "RN50", "coca_ViT-B-32"])
def test_models_that_cannot_be_built_are_refused(model: str) -> None:
    with pytest.raises(ConfigError):
        architecture_of(model)


def test_sizes_of_the_papers_model_are_known_without_weights() -> None:
    shapes = {spec.name: spec.shape for spec in Extractor(Config(tokens=True)).outputs()}
    assert shapes["clip_image"] == shapes["clip_text"] == (512,)
    assert shapes["clip_image_tokens"] == (49, 768)
    assert shapes["clip_text_tokens"] == (None, 512)


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="pipeline weights fetch clip-vit-b-32-openai"):
        Extractor(Config(**clip.profile("paper"))).identity()


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_from_a_file_give_the_same_vectors(tmp_path: Path, suffix: str) -> None:
    import torch
    from safetensors.torch import save_file

    source = tiny(seed=11)
    tensors = {k: v.clone() for k, v in source._towers._network.state_dict().items()}
    path = tmp_path / f"own.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)
    else:
        save_file(tensors, path)
    own = tiny(allow_untrained=False, file=str(path), weights="mine")
    assert own.identity()["weights"]["kind"] == "own"
    assert own.warnings() == ()
    row = make_row(tmp_path, "a")
    first, second = run(source, [row])[0], run(own, [row])[0]
    np.testing.assert_array_equal(first["clip_image"], second["clip_image"])
    np.testing.assert_array_equal(first["clip_text"], second["clip_text"])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {k: v.clone() for k, v in build(TINY, True).state_dict().items()}
    del tensors["visual.conv1.weight"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match=r"visual\.conv1\.weight"):
        tiny(allow_untrained=False, file=str(tmp_path / "part.safetensors"))


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(WeightsError):
        tiny(allow_untrained=False, file=str(tmp_path / "evil.pt"))
    assert not (tmp_path / "executed").exists()
