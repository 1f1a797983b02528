"""The backend: sizes, masks, batches, what stays as it was, and weights that do not fit."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from support.drawn_memes import meme

pytest.importorskip("cv2", reason="needs opencv")
torch = pytest.importorskip("torch", reason="needs torch")

from affectflow.models.vision.deepfillv2 import PRESETS, Generator  # noqa: E402
from affectflow.models.vision.deepfillv2_layouts import export  # noqa: E402
from affectflow.pipeline.config import parse, parse_overrides  # noqa: E402
from affectflow.pipeline.errors import ConfigError, WeightsError  # noqa: E402
from affectflow.pipeline.inpainting import deepfillv2 as backend  # noqa: E402
from affectflow.pipeline.inpainting.inpainter import (  # noqa: E402
    InpainterConfig,
    inpainter_identity,
    inpainter_warnings,
    open_inpainter,
)
from affectflow.pipeline.inpainting.masks import composite  # noqa: E402
from affectflow.pipeline.loading import make_stage  # noqa: E402


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small network's checkpoint in our own layout."""
    torch.manual_seed(3)
    network = Generator(replace(PRESETS["own"], width=4))
    path = tmp_path_factory.mktemp("weights") / "own.pth"
    torch.save(network.state_dict(), path)
    return path


def config_of(tiny, **values):
    return InpainterConfig(
        backend="deepfillv2", device="cpu", deepfillv2={"file": str(tiny)}, **values
    )


def noise(generator, height, width):
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2 + 1, width // 5 : width // 2 + 1] = 255
    return image, mask


@pytest.mark.parametrize("size", [(1, 2), (7, 1), (63, 65), (97, 40), (130, 201)])
def test_any_size_and_outside_the_mask_nothing_changes(tiny, size):
    image, mask = noise(np.random.default_rng(0), *size)
    mask[-1, -1] = 0
    before = image.copy()
    inpainter = open_inpainter(config_of(tiny, fill_side=96))
    (filled,) = inpainter.fill([image], [mask])
    assert filled.shape == image.shape
    assert filled.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    result = composite(image, filled, mask)
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    if max(size) <= 96:
        # Nothing was scaled: the filling itself leaves known pixels alone.
        np.testing.assert_array_equal(filled[mask == 0], image[mask == 0])


def test_holes_are_not_looked_at(tiny):
    image, mask = noise(np.random.default_rng(1), 90, 120)
    inpainter = open_inpainter(config_of(tiny))
    (one,) = inpainter.fill([image], [mask])
    image[mask > 0] = 17
    (other,) = inpainter.fill([image], [mask])
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one[mask > 0])) > 10


def test_text_does_not_leak_through_shrinking():
    image = np.full((300, 400, 3), 90, np.uint8)
    mask = np.zeros((300, 400), np.uint8)
    mask[::7, 50:300] = 255
    mask[100:140, 200:333] = 255
    image[mask > 0] = 255
    picture, small = backend.shrunk(image, mask, (96, 128))
    assert (picture[~small] == 90).all()
    assert small.any()
    assert not small.all()


def test_a_batch_of_sizes_and_masks_equals_one_by_one(tiny):
    generator = np.random.default_rng(5)
    sizes = [(64, 96), (64, 96), (64, 90), (100, 60), (64, 96), (72, 72)]
    images, masks = zip(*(noise(generator, *size) for size in sizes), strict=True)
    masks = list(masks)
    masks[1] = np.rot90(masks[1], 2).copy()
    masks[4] = np.zeros_like(masks[4])
    inpainter = open_inpainter(config_of(tiny))
    together = inpainter.fill(images, masks)
    assert inpainter._batch((64, 96)) > 3
    for image, mask, filled in zip(images, masks, together, strict=True):
        (alone,) = inpainter.fill([image], [mask])
        np.testing.assert_array_equal(alone, filled)


@pytest.mark.parametrize("family", "ABCD")
def test_black_and_white_survive_each_family_s_range(family):
    options = PRESETS[family]
    pixels = np.random.default_rng(2).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    planes = backend.to_network(torch.from_numpy(pixels), options)
    assert planes.min() >= options.low
    assert planes.max() <= options.high
    red = planes[:, 2 if options.channels == "BGR" else 0]
    np.testing.assert_allclose(
        red[0].numpy(),
        pixels[0, :, :, 0] / 255 * (options.high - options.low) + options.low,
        atol=1e-6,
    )
    back = backend.from_network(planes, options)
    np.testing.assert_array_equal(back.numpy(), pixels)


def test_a_mask_over_everything_is_finite(tiny):
    image = np.full((70, 90, 3), 7, np.uint8)
    (filled,) = open_inpainter(config_of(tiny)).fill([image], [np.full((70, 90), 255, np.uint8)])
    assert filled.shape == image.shape


@pytest.mark.parametrize("family", "ABCD")
def test_a_mask_that_leaves_no_background_is_told(family):
    values = {"allow_untrained": True, "family": family}
    config = InpainterConfig(backend="deepfillv2", device="cpu", fill_side=128, deepfillv2=values)
    inpainter = open_inpainter(config)
    mask = np.full((90, 130), 255, np.uint8)
    # A corner smaller than a patch of the attention.
    mask[:9, :9] = 0
    image = np.zeros((*mask.shape, 3), np.uint8)
    sample = inpainter._prepare(image, mask)
    size = torch.from_numpy(backend._padded(sample.mask, sample.padded))[None, None].float()
    with torch.inference_mode():
        wanted = inpainter.network(torch.zeros(1, 3, *sample.padded), size).all_masked.item()
    assert inpainter.without_background(mask) is wanted is True
    mask[:60, :60] = 0
    assert inpainter.without_background(mask) is False


@pytest.mark.parametrize("family", ["A", "D", "auto"])
def test_untrained_weights_only_when_asked_for_and_said(family):
    config = InpainterConfig(
        backend="deepfillv2",
        device="cpu",
        deepfillv2={"allow_untrained": True, "seed": 4, "family": family},
    )
    weights = inpainter_identity(config)["weights"]
    assert weights["untrained"] is True
    assert weights["seed"] == 4
    assert weights["architecture"] == ("own" if family == "auto" else family)
    (warning,) = inpainter_warnings(config)
    assert "untrained" in warning
    image, mask = noise(np.random.default_rng(3), 40, 56)
    first, second = (open_inpainter(config).fill([image], [mask])[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_missing_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    config = InpainterConfig(backend="deepfillv2")
    with pytest.raises(WeightsError) as caught:
        inpainter_identity(config)
    assert caught.value.hint == "pipeline weights fetch deepfillv2-mmediting-places2"
    named = InpainterConfig(
        backend="deepfillv2", deepfillv2={"weights": "deepfillv2-nipponjo-places2"}
    )
    with pytest.raises(WeightsError) as caught:
        open_inpainter(named)
    assert "pipeline weights import deepfillv2-nipponjo-places2 FILE" in caught.value.hint
    (terms,) = inpainter_warnings(named)
    assert "terms of the weights 'deepfillv2-nipponjo-places2': none stated" in terms


def test_a_catalogue_entry_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    torch.manual_seed(0)
    network = Generator(PRESETS["A"])
    folder = tmp_path / "deepfillv2-nipponjo-tf-places2"
    folder.mkdir()
    torch.save({"G": export(network.state_dict(), "A")}, folder / "states_tf_places2.pth")
    wanted = {"weights": "deepfillv2-nipponjo-tf-places2"}
    config = InpainterConfig(backend="deepfillv2", device="cpu", deepfillv2=wanted)
    identity = inpainter_identity(config)
    assert identity["family"] == "A"
    assert set(identity["weights"]["files"]) == {"states_tf_places2.pth"}
    opened = open_inpainter(config)
    for key, value in network.state_dict().items():
        assert torch.equal(opened.network.state_dict()[key], value)


def test_choices_reach_the_network(tiny):
    chosen = {"file": str(tiny), "fuse": False, "channels": "BGR"}
    config = InpainterConfig(backend="deepfillv2", device="cpu", deepfillv2=chosen)
    network = open_inpainter(config).network
    assert network.options.channels == "BGR"
    assert network.attention.rules.fuse is False
    corrected = backend._chosen(PRESETS["C"], backend.DeepFillConfig(rules="correct"))
    assert corrected.attention.mask_mode == "exclude"
    assert corrected.attention.overlap == "count"
    assert corrected.attention.mask_index == "any_pixel"
    assert corrected.attention.norm == "inside"


def test_the_model_is_the_backend():
    values = parse_overrides(["inpaint.model=deepfillv2", "inpaint.deepfillv2.seed=3"])["inpaint"]
    stage = make_stage("inpaint", values)
    assert stage.config.backend == "deepfillv2"
    assert stage.config.deepfillv2.seed == 3
    assert parse(InpainterConfig, {"model": "mean"}, "x").backend == "mean"
    with pytest.raises(ConfigError, match="contradicts"):
        parse(InpainterConfig, {"model": "mean", "backend": "opencv"}, "x")
    with pytest.raises(ConfigError, match="backend"):
        parse(InpainterConfig, {"model": "magic"}, "x")


@pytest.mark.parametrize("side", [0, 4096])
def test_sides_that_would_not_fit_are_refused_before_anything_is_loaded(tiny, side):
    with pytest.raises(ConfigError, match="long side of 1 to 2048"):
        inpainter_identity(config_of(tiny, fill_side=side))


def test_buckets_are_padded_sizes(tiny):
    stage = make_stage(
        "inpaint", {"backend": "deepfillv2", "fill_side": 128, "deepfillv2": {"file": str(tiny)}}
    )
    assert backend.size_bucket(stage.config, 250, 500) == (64, 128)
    assert backend.size_bucket(stage.config, 61, 99) == (64, 104)
    assert stage.resources().memory_gb > 2


def damaged(tmp_path, change):
    state = export(Generator(PRESETS["A"]).state_dict(), "A")
    path = tmp_path / "damaged.pth"
    change(state, path)
    return path


def save_without(key):
    def change(state, path):
        del state[key]
        torch.save({"G": state}, path)

    return change


def save_with(key, value):
    def change(state, path):
        state[key] = value
        torch.save({"G": state}, path)

    return change


def save_truncated(state, path):
    torch.save({"G": state}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_code(state, path):
    torch.save({"G": state, "model": np.random.default_rng}, path)


CASES = {
    "missing": (save_without("conv3.conv.weight"), {}, "1 missing: conv3.conv.weight"),
    "extra": (save_with("conv99.w", torch.zeros(1)), {}, "1 unexpected: conv99.w"),
    "shape": (
        save_with("conv3.conv.bias", torch.zeros(5)),
        {},
        r"1 of wrong shape: conv3.conv.bias is \(5,\), expected \(96,\)",
    ),
    "truncated": (save_truncated, {}, "is no file of tensors"),
    "global": (save_code, {}, r"it refers to numpy\.random\.\S*default_rng, which is not plain"),
    "page": (lambda _, path: path.write_text("<html>gone</html>"), {}, "is no file of tensors"),
    "integers": (
        save_with("conv3.conv.bias", torch.zeros(96, dtype=torch.int64)),
        {},
        r"1 not of floating point: conv3\.conv\.bias",
    ),
    "not finite": (
        save_with("conv3.conv.bias", torch.full((96,), torch.nan)),
        {},
        r"not finite: coarse\.2\.bias",
    ),
    "own without rows": (
        lambda _, path: torch.save({"coarse.0.weight": torch.tensor(1.0)}, path),
        {},
        r"1 of wrong shape: coarse\.0\.weight is \(\)",
    ),
    "family": (
        lambda state, path: torch.save({"G": state}, path),
        {"family": "D"},
        r"keys are those of family A \(nipponjo networks_tf\), not of family D",
    ),
    "foreign": (
        lambda state, path: torch.save({"layer.weight": torch.zeros(2)}, path),
        {},
        "no known family of DeepFillv2 weights; first keys: layer.weight",
    ),
    "list": (lambda state, path: torch.save([1, 2], path), {}, "expected a state dict"),
}


@pytest.mark.parametrize("name", CASES)
def test_malformed_checkpoints_are_one_clear_line(tmp_path, name):
    change, values, message = CASES[name]
    path = damaged(tmp_path, change)
    config = InpainterConfig(
        backend="deepfillv2", device="cpu", deepfillv2={"file": str(path), **values}
    )
    with pytest.raises(WeightsError, match=message) as caught:
        open_inpainter(config)
    assert "\n" not in str(caught.value)
    # Torch's own message says how to read a hostile file all the same.
    assert "weights_only" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "damaged.pth" in str(caught.value)


def test_where_a_file_lies_is_no_part_of_the_fingerprint(tmp_path, tiny):
    import shutil

    from affectflow.pipeline.store.spec import recipe_of

    moved = shutil.copy(tiny, tmp_path)
    stages = [
        make_stage(
            "inpaint",
            {"model": "deepfillv2", "residual": False, "deepfillv2": {"file": str(path)}},
        )
        for path in (tiny, moved)
    ]
    first, second = (recipe_of(stage, "samples", {}) for stage in stages)
    assert first == second
    assert stages[1].config.runtime_parameters()["file"] == str(moved)
    torch.save({**torch.load(moved), "coarse.0.bias": torch.ones(8)}, moved)
    assert recipe_of(stages[1], "samples", {}) != first


def test_a_meme_goes_through_the_stage(tmp_path, tiny):
    from support.drawn_memes import row_of

    image = meme()
    row = row_of(
        tmp_path,
        image,
        {
            "text_regions": {
                "quads": [[30.0, 20.0, 300.0, 20.0, 300.0, 60.0, 30.0, 60.0]],
                "scores": [1.0],
                "texts": [],
                "width": image.shape[1],
                "height": image.shape[0],
            }
        },
    )
    stage = make_stage(
        "inpaint",
        {
            "model": "deepfillv2",
            "device": "cpu",
            "residual": False,
            "fill_side": 128,
            "deepfillv2": {"file": str(tiny)},
        },
    )
    stage.open()
    item = stage.load(row)
    (columns,) = stage.compute([item])
    assert columns["inpaint"]["outcome"] == "painted"
    facts = [columns["inpaint"][key] for key in ("backend", "weights_sha256", "untrained")]
    assert facts == ["deepfillv2", hashlib.sha256(tiny.read_bytes()).hexdigest(), False]
    assert columns["inpaint"]["without_background"] is False
    assert stage.bucket(item) == (96, 128)
    assert not np.array_equal(item.filled[item.mask > 0], image[item.mask > 0])
    np.testing.assert_array_equal(item.filled[item.mask == 0], image[item.mask == 0])
