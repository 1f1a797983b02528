"""Fixed rows, boxes inside, odd images, preprocessing, and the seam for backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.extractor_rows import make_row, picture, run

from affectflow.pipeline.errors import ConfigError, RowError, WeightsError
from affectflow.pipeline.extractors import regions
from affectflow.pipeline.extractors.regions import Config, Extractor
from affectflow.pipeline.extractors.regions.backends import Regions, backend_names
from affectflow.pipeline.extractors.regions.coco import CATEGORIES
from affectflow.pipeline.extractors.regions.torchvision_backend import Backend, scaled_size
from affectflow.pipeline.extractors.regions.torchvision_networks import (
    ARCHITECTURES,
    RATIOS,
    build,
    head_layers,
)


def tiny(**changes: Any) -> Extractor:
    stage = Extractor(Config(**(regions.tiny() | changes)))
    stage.open()
    return stage


@pytest.fixture(scope="module")
def stage() -> Extractor:
    return tiny()


def backend_of(stage: Extractor) -> Backend:
    assert isinstance(stage._backend, Backend)
    return stage._backend


def check_regions(values: dict[str, Any], width: int, height: int) -> None:
    valid = int(values["regions.num_valid"][0])
    boxes, scores = values["regions.boxes"], values["regions.scores"]
    assert values["regions.size"].tolist() == [width, height]
    assert 0 <= valid <= len(scores)
    assert (boxes >= 0).all()
    assert (boxes[:, [0, 2]] <= width).all()
    assert (boxes[:, [1, 3]] <= height).all()
    assert (boxes[:valid, 2:] >= boxes[:valid, :2]).all()
    assert (np.diff(scores) <= 0).all()
    assert (values["regions.classes"][:valid] >= 0).all()
    assert (values["regions.classes"][valid:] == -1).all()
    for name in ("regions", "regions.boxes", "regions.scores"):
        assert not values[name][valid:].any()


@pytest.mark.parametrize("size", [(60, 44), (44, 60), (200, 90), (1, 1), (700, 7), (33, 32)])
def test_rows_are_fixed_and_boxes_inside(
    stage: Extractor, tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.fromarray(picture(5, *size)).save(tmp_path / "a.png")
    values = run(stage, [make_row(tmp_path, "a")])[0]
    assert values["regions"].shape == (10, 32)
    check_regions(values, *size)


def test_rows_beyond_the_proposals_are_padding(tmp_path: Path) -> None:
    values = run(tiny(num_boxes=60, proposals=4), [make_row(tmp_path, "a")])[0]
    assert 1 <= int(values["regions.num_valid"][0]) <= 4
    check_regions(values, 60, 44)


def odd_images(folder: Path) -> dict[str, tuple[int, int]]:
    """Write images in every mode that real folders hold; return their sizes."""
    colour = Image.fromarray(picture(3))
    modes = {
        "p.png": colour.quantize(16),
        "la.png": colour.convert("LA"),
        "l.png": colour.convert("L"),
        "cmyk.jpg": colour.convert("CMYK"),
        "wide.png": Image.fromarray(picture(3)[..., 0].astype(np.uint16) * 257),
        "pixel.png": colour.crop((0, 0, 1, 1)),
        "strip.png": colour.resize((5000, 50)),
    }
    for name, image in modes.items():
        image.save(folder / name)
    return {name: image.size for name, image in modes.items()}


def test_every_mode_and_a_corrupt_file_in_the_middle(stage: Extractor, tmp_path: Path) -> None:
    sizes = odd_images(tmp_path)
    names = list(sizes)
    (tmp_path / "corrupt.png").write_bytes((tmp_path / "l.png").read_bytes()[:50])
    names.insert(3, "corrupt.png")
    loaded, failed = {}, {}
    for name in names:
        try:
            loaded[name] = stage.load(make_row(tmp_path, name, image=name))
        except RowError as error:
            failed[name] = error.code
    assert failed == {"corrupt.png": "decode_error"}
    assert set(loaded) == set(sizes)
    for name, item in loaded.items():
        check_regions(dict(stage.compute([item])[0]), *sizes[name])


def test_grey_is_three_equal_channels(stage: Extractor, tmp_path: Path) -> None:
    grey = Image.fromarray(picture(3)).convert("L")
    grey.save(tmp_path / "l.png")
    grey.convert("RGB").save(tmp_path / "rgb.png")
    first, second = (
        run(stage, [make_row(tmp_path, name, image=f"{name}.png")])[0] for name in ("l", "rgb")
    )
    np.testing.assert_array_equal(first["regions"], second["regions"])


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (600, 800, (800, 1066)),
        (480, 800, (799, 1333)),
        (800, 480, (1333, 799)),
        (480, 799, (800, 1331)),
        (100, 1000, (133, 1333)),
        (1, 100_000, (1, 1333)),
    ],
)
def test_scale_rule(height: int, width: int, expected: tuple[int, int]) -> None:
    assert scaled_size(height, width, 800, 1333) == expected


@pytest.mark.parametrize("size", [(60, 44), (300, 20), (44, 61)])
def test_preprocessing_equals_torchvision(stage: Extractor, size: tuple[int, int]) -> None:
    import torch
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    pixels = picture(8, *size)
    transform = GeneralizedRCNNTransform(64, 128, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    transform.eval()
    expected, _ = transform([torch.tensor(pixels).permute(2, 0, 1).float() / 255])
    prepared = backend_of(stage).prepare(pixels)
    assert expected.tensors.shape[-2:] == prepared.padded
    height, width = expected.image_sizes[0]
    assert prepared.pixels.shape == (3, height, width)
    found = expected.tensors[0, :, :height, :width].numpy()
    np.testing.assert_allclose(prepared.pixels, found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
@pytest.mark.parametrize("post_relu", [True, False])
def test_a_vector_is_the_head_run_on_its_box(tmp_path: Path, layer: str, post_relu: bool) -> None:
    import torch

    stage = tiny(layer=layer, post_relu=post_relu, dtype="float32")
    row = make_row(tmp_path, "a")
    item = stage.load(row)
    values = run(stage, [row])[0]
    valid = int(values["regions.num_valid"][0])
    backend = backend_of(stage)
    _, height, width = item.pixels.shape
    scale = torch.tensor([width / item.width, height / item.height] * 2)
    boxes = torch.from_numpy(values["regions.boxes"][:valid]) * scale
    padded = torch.zeros((1, 3, *item.padded))
    padded[0, :, :height, :width] = torch.from_numpy(item.pixels)
    with torch.inference_mode():
        features = backend._network.backbone(padded)
        again, scores = backend.box_head(features, [boxes], [(height, width)])
    np.testing.assert_allclose(values["regions"][:valid], again.numpy(), rtol=1e-3, atol=1e-4)
    assert values["regions.classes"][:valid].tolist() == scores.argmax(dim=1).tolist()
    assert (values["regions"].min() < 0) == (not post_relu)


def test_class_scores_equal_torchvisions_own_forward(tmp_path: Path) -> None:
    import torch
    from torch.nn import functional

    network = build("maskrcnn_tiny", 10).eval()
    pooled = torch.randn(5, 16, 7, 7)
    with torch.inference_mode():
        expected, _ = network.roi_heads.box_predictor(network.roi_heads.box_head(pooled))
        layers = head_layers(network.roi_heads.box_head, pooled)
        found, _ = network.roi_heads.box_predictor(layers["fc7"])
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        np.testing.assert_array_equal(functional.relu(layers["fc6_linear"]), layers["fc6"])


def test_head_with_convolutions_has_one_layer() -> None:
    import torch
    from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead

    head = FastRCNNConvFCHead((8, 7, 7), [8, 8], [16], norm_layer=torch.nn.BatchNorm2d).eval()
    pooled = torch.randn(3, 8, 7, 7)
    with torch.inference_mode():
        layers = head_layers(head, pooled)
        assert set(layers) == {"fc6", "fc6_linear"}
        np.testing.assert_array_equal(layers["fc6"].numpy(), head(pooled).numpy())
    assert (layers["fc6_linear"] < 0).any()
    with pytest.raises(ConfigError, match="has no layer fc7, only fc6"):
        Extractor(Config(layer="fc7"))


def test_float16_rounding_error_is_bounded(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a")
    half, full = (run(tiny(dtype=dtype), [row])[0]["regions"] for dtype in ("float16", "float32"))
    error = np.abs(half.astype(np.float64) - full)
    assert (error <= np.abs(full) * 2.0**-11 + 2.0**-25).all()


def test_identity_says_everything_that_affects_values() -> None:
    identity = Extractor(Config(**regions.profile("offline"))).identity()
    assert identity["untrained"] is True
    assert identity["weights"]["seed"] == 0
    for key in ("route", "preprocessing_digest", "layer", "pooled_at", "post_relu"):
        assert key in identity
    assert {"name", "fpn_width", "anchors", "norm_eps", "roi_align_aligned"} <= set(
        identity["architecture"]
    )
    assert {"count", "numbering", "names_digest"} <= set(identity["classes"])
    assert len(identity["classes"]["names_digest"]) == 64
    assert {"proposals", "nms_iou", "confidence_threshold", "num_boxes", "score"} <= set(
        identity["selection"]
    )
    assert {"compute", "autocast", "tf32", "stored"} <= set(identity["precision"])


def test_names_of_classes_are_torchvisions() -> None:
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights

    names = MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1.meta["categories"]
    assert names[1:] == list(CATEGORIES)


def test_the_paper_profile_is_the_papers_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    stage = Extractor(Config(**regions.profile("paper")))
    assert stage.outputs()[0].shape == (100, 2048)
    with pytest.raises(WeightsError, match="pipeline weights fetch vqa-maskrcnn-benchmark-x152"):
        stage.identity()


def test_the_default_network_says_that_it_is_not_the_papers() -> None:
    stage = Extractor(Config())
    assert stage.outputs()[0].shape == (100, 1024)
    assert "ResNeXt-152" in stage.warnings()[0]


def test_missing_and_foreign_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="pipeline weights fetch maskrcnn-resnet50-fpn-v2-coco"):
        Extractor(Config()).identity()
    with pytest.raises(ConfigError, match="for maskrcnn_resnet50_fpn_v2, not for"):
        Extractor(Config(architecture="maskrcnn_resnet50_fpn")).identity()


def test_weights_from_a_file(tmp_path: Path) -> None:
    import torch

    source = tiny(seed=9)
    path = tmp_path / "own.pth"
    torch.save(backend_of(source)._network.state_dict(), path)
    own = tiny(allow_untrained=False, file=str(path), weights="mine")
    row = make_row(tmp_path, "a")
    np.testing.assert_array_equal(run(source, [row])[0]["regions"], run(own, [row])[0]["regions"])
    other = torch.load(path, weights_only=True)
    other["rpn.head.bbox_pred.bias"] = torch.zeros(5)
    torch.save(other, path)
    with pytest.raises(WeightsError, match=r"rpn\.head\.bbox_pred\.bias"):
        tiny(allow_untrained=False, file=str(path), weights="mine")


def test_unknown_backend_and_architecture_are_refused() -> None:
    assert "torchvision" in backend_names()
    with pytest.raises(ConfigError, match="unknown backend 'torchvison'"):
        Extractor(Config(backend="torchvison"))
    with pytest.raises(ConfigError, match="maskrcnn_resnet50_fpn_v2"):
        Extractor(Config(architecture="x152"))


def test_the_extractor_pads_whatever_a_backend_finds(stage: Extractor, tmp_path: Path) -> None:
    item = stage.load(make_row(tmp_path, "a"))
    nothing = Regions(
        np.zeros((0, 32), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int16),
    )
    check_regions(stage._features(item, nothing), 60, 44)


def test_our_resnet50_takes_the_published_tensors() -> None:
    import torch
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    with torch.device("meta"):
        ours = build("maskrcnn_resnet50_fpn", 1000)
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    expected = {name: value.shape for name, value in theirs.state_dict().items()}
    # Published with batch norm frozen, which keeps no count of batches.
    frozen = {name: shape for name, shape in expected.items() if "num_batches" not in name}
    assert {name: value.shape for name, value in ours.state_dict().items()} == frozen
    assert ours.rpn.anchor_generator.sizes == theirs.rpn.anchor_generator.sizes


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_facts_about_networks_are_true(name: str) -> None:
    import torch

    facts = ARCHITECTURES[name]
    with torch.device("meta"):
        network = build(name, 123).eval()
    assert network.roi_heads.box_predictor.cls_score.in_features == facts.width
    assert network.roi_heads.box_predictor.cls_score.out_features == facts.classes
    assert network.backbone.out_channels == facts.pyramid
    assert hasattr(network.roi_heads.box_head, "fc7") == ("fc7" in facts.layers)
    assert network.rpn.post_nms_top_n() == 123
    sizes = network.rpn.anchor_generator.sizes
    assert tuple(side for (side,) in sizes) == facts.anchor_sizes
    assert set(network.rpn.anchor_generator.aspect_ratios) == {RATIOS}
    assert network.backbone.body.bn1.eps == facts.norm_eps
    assert network.roi_heads.box_roi_pool.sampling_ratio == 2
