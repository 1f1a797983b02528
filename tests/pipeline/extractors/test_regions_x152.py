"""The backends of the two X152 networks behind the extractor, with seeded or formula weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.extractor_rows import assert_close, make_row, picture, run

from affectflow.models.vision.rcnn import cascade, faster
from affectflow.pipeline.errors import ConfigError, MissingDependency, WeightsError
from affectflow.pipeline.extractors import regions
from affectflow.pipeline.extractors.regions import Config, Extractor
from affectflow.pipeline.extractors.regions.backends import backend_names
from affectflow.pipeline.extractors.regions.benchmark_rule import top_regions
from affectflow.pipeline.weights import entry

TINY = {"detectron2_zoo": "cascade_mask_rcnn_tiny", "vmb": "faster_rcnn_tiny"}
WIDTH = {"detectron2_zoo": 64, "vmb": 96}


def tiny(backend: str, **changes: Any) -> Extractor:
    chosen = {"backend": backend, "architecture": TINY[backend]}
    stage = Extractor(Config(**(regions.tiny() | chosen | changes)))
    stage.open()
    return stage


@pytest.fixture(scope="module", params=sorted(TINY))
def stage(request: pytest.FixtureRequest) -> Extractor:
    return tiny(request.param)


def check_regions(values: dict[str, Any], width: int, height: int) -> None:
    valid = int(values["regions.num_valid"][0])
    boxes, scores = values["regions.boxes"], values["regions.scores"]
    assert values["regions.size"].tolist() == [width, height]
    assert 1 <= valid <= len(scores)
    assert (boxes >= 0).all()
    assert (boxes[:, [0, 2]] <= width).all()
    assert (boxes[:, [1, 3]] <= height).all()
    assert (boxes[:valid, 2:] >= boxes[:valid, :2]).all()
    assert (np.diff(scores) <= 0).all()
    assert (values["regions.classes"][:valid] >= 0).all()
    assert (values["regions.classes"][valid:] == -1).all()
    for name in ("regions", "regions.boxes", "regions.scores"):
        assert not values[name][valid:].any()
        assert np.isfinite(values[name]).all()


@pytest.mark.parametrize("size", [(60, 44), (200, 90), (1, 1), (700, 7), (7, 700), (33, 32)])
def test_rows_are_fixed_and_boxes_inside(
    stage: Extractor, tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.fromarray(picture(5, *size)).save(tmp_path / "a.png")
    values = run(stage, [make_row(tmp_path, "a")])[0]
    assert values["regions"].shape == (10, WIDTH[stage.config.backend])
    check_regions(values, *size)


def test_batch_equals_single_and_vectors_differ(stage: Extractor, tmp_path: Path) -> None:
    rows = [make_row(tmp_path, f"row{place}") for place in range(4)]
    together = run(stage, rows)
    for row, values in zip(rows, together, strict=True):
        alone = run(stage, [row])[0]
        for name in ("regions.scores", "regions.num_valid", "regions.size"):
            assert_close(values[name], alone[name])
        # Random weights give scores that are equal but for rounding: a few rows may change places.
        same = np.abs(values["regions.boxes"] - alone["regions.boxes"]).max(axis=1) < 1e-2
        assert same.sum() >= 7
        assert_close(values["regions"][same], alone["regions"][same])
    assert (together[0]["regions"] != together[1]["regions"]).any()
    assert len({vector.tobytes() for vector in together[0]["regions"]}) > 5


def test_masks_where_they_are_asked_for(tmp_path: Path) -> None:
    rows = [make_row(tmp_path, name) for name in "ab"]
    plain, masked = tiny("detectron2_zoo"), tiny("detectron2_zoo", masks=True)
    spec = masked.outputs()[-1]
    assert (spec.name, spec.shape, spec.dtype) == ("regions.masks", (10, 28, 28), "float16")
    assert "regions.masks" not in [one.name for one in plain.outputs()]
    for before, after in zip(run(plain, rows), run(masked, rows), strict=True):
        masks, valid = after.pop("regions.masks"), int(after["regions.num_valid"][0])
        assert masks.shape == spec.shape
        assert masks.dtype == np.float16
        assert 0 < masks[:valid].min() <= masks[:valid].max() < 1
        assert masks[:valid].std() > 1e-4
        assert not masks[valid:].any()
        for name, value in before.items():
            np.testing.assert_array_equal(value, after[name])
    nothing = tiny("detectron2_zoo", masks=True, confidence_threshold=0.999)
    assert not run(nothing, rows[:1])[0]["regions.masks"].any()
    with pytest.raises(ConfigError, match="vmb has no masks"):
        tiny("vmb", masks=True)


def test_seeds_make_weights(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a")
    for backend in TINY:
        same, again, other = (run(tiny(backend, seed=n), [row])[0] for n in (3, 3, 4))
        assert same["regions"].tobytes() == again["regions"].tobytes()
        assert same["regions"].tobytes() != other["regions"].tobytes()


def test_relu_layer_and_where_vectors_are_pooled(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a")
    for backend, changes in (
        ("vmb", {"layer": "fc7"}),
        ("vmb", {}),
        ("detectron2_zoo", {}),
        ("detectron2_zoo", {"pooled_at": "final"}),
    ):
        linear = run(tiny(backend, post_relu=False, **changes), [row])[0]["regions"]
        active = run(tiny(backend, post_relu=True, **changes), [row])[0]["regions"]
        assert (linear < 0).any()
        np.testing.assert_array_equal(np.maximum(linear, 0), active)
    readings = {
        pooled_at: run(tiny("detectron2_zoo", pooled_at=pooled_at), [row])[0]
        for pooled_at in ("stage", "final")
    }
    first, second = readings.values()
    np.testing.assert_array_equal(first["regions.boxes"], second["regions.boxes"])
    assert (first["regions"] != second["regions"]).any()


def test_a_high_threshold_leaves_fewer_rows(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a")
    every = run(tiny("detectron2_zoo", num_boxes=30), [row])[0]
    limit = float(every["regions.scores"][12])
    fewer = run(tiny("detectron2_zoo", num_boxes=30, confidence_threshold=limit), [row])[0]
    assert 1 <= int(fewer["regions.num_valid"][0]) < int(every["regions.num_valid"][0])
    check_regions(fewer, 60, 44)
    # The benchmark's rule keeps the rows, with confidence 0.
    limited = run(tiny("vmb", confidence_threshold=0.9), [row])[0]
    assert int(limited["regions.num_valid"][0]) == 10
    assert not limited["regions.scores"].any()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_stay_close_on_the_cpu(
    stage: Extractor, precision: str, tmp_path: Path
) -> None:
    row = make_row(tmp_path, "a")
    reduced = tiny(stage.config.backend, precision=precision)
    assert reduced.identity()["precision"]["compute"] == precision
    values, exact = run(reduced, [row])[0], run(stage, [row])[0]
    check_regions(values, 60, 44)
    # Proposals may come in another order; how certain the best are hardly changes.
    np.testing.assert_allclose(values["regions.scores"], exact["regions.scores"], rtol=0.1)


PROVENANCE = (
    "route",
    "weights",
    "untrained",
    "architecture",
    "classes",
    "preprocessing",
    "preprocessing_digest",
    "selection",
    "layer",
    "pooled_at",
    "post_relu",
    "precision",
)


@pytest.mark.parametrize("backend", sorted(TINY))
def test_identity_says_everything_that_affects_values(backend: str) -> None:
    stage = Extractor(Config(backend=backend, allow_untrained=True))
    identity = stage.identity()
    json.dumps(identity)
    assert set(PROVENANCE) <= set(identity)
    assert identity["weights"]["kind"] == "seeded_random"
    assert "seeded random weights" in stage.warnings()[0]
    assert {"channels", "mean", "min_size", "max_size", "interpolation", "decode_policy"} <= set(
        identity["preprocessing"]
    )
    assert {"fpn_width", "anchors", "norm_eps", "roi_align_aligned"} <= set(
        identity["architecture"]
    )
    assert {"nms_iou", "confidence_threshold", "num_boxes", "score"} <= set(identity["selection"])
    assert stage.outputs()[0].shape == (100, {"detectron2_zoo": 1024, "vmb": 2048}[backend])


def test_a_parameter_that_changes_values_changes_the_identity() -> None:
    changes = [{"nms_iou": 0.4}, {"min_size": 600}, {"pad_to": 128}, {"precision": "bfloat16"}]
    changes += [{"proposals": 500}, {"num_boxes": 50}, {"confidence_threshold": 0.05}]
    for backend in TINY:
        base = Config(backend=backend, allow_untrained=True)
        seen = [Extractor(base).identity()]
        for change in changes:
            seen.append(Extractor(base.model_copy(update=change)).identity())
        assert len({json.dumps(one, sort_keys=True) for one in seen}) == len(seen)


def test_facts_about_networks_are_true() -> None:
    from affectflow.models.vision.rcnn.resnext import Trunk
    from affectflow.pipeline.extractors.regions import detectron2_zoo_backend, vmb_backend

    for facts in detectron2_zoo_backend.ARCHITECTURES.values():
        sizes = cascade.Sizes(trunk=Trunk(**facts.trunk), **facts.sizes)
        assert (sizes.vector, sizes.classes) == (facts.width, facts.classes)
    depths = {"faster_rcnn_x152": (3, 8, 36, 3), "faster_rcnn_x101": (3, 4, 23, 3)}
    for name, facts in vmb_backend.ARCHITECTURES.items():
        older = faster.Sizes(trunk=Trunk(**facts.trunk), **facts.sizes)
        assert (older.vector, older.logits) == (facts.width, facts.classes + 1)
        assert older.trunk.blocks == depths.get(name, older.trunk.blocks)
    assert len(detectron2_zoo_backend.CLASSES) == len(set(detectron2_zoo_backend.CLASSES)) == 80
    assert detectron2_zoo_backend.CLASSES[::20] == (
        "person",
        "elephant",
        "wine glass",
        "dining table",
    )


def test_weights_of_a_file(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a")
    for backend, suffix in (("detectron2_zoo", "pkl"), ("vmb", "pth")):
        source = tiny(backend, seed=9)
        tensors = source._backend._network.state_dict()  # type: ignore[attr-defined]
        path = tmp_path / f"own.{suffix}"
        write_file(path, tensors)
        own = tiny(backend, allow_untrained=False, file=str(path), weights="mine")
        first, second = run(source, [row])[0], run(own, [row])[0]
        np.testing.assert_array_equal(first["regions"], second["regions"])
        weights = own.identity()["weights"]
        assert list(weights["files"]) == [path.name]
        assert own.identity()["untrained"] is False
        assert not own.warnings()


def write_file(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write our names; both layouts' readers take them too."""
    import pickle

    if path.suffix == ".pkl":
        arrays = {name: value.numpy() for name, value in tensors.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "test"}))
    else:
        torch.save({"model": tensors}, path)


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    for backend in TINY:
        config = Config(backend=backend)
        with pytest.raises(WeightsError, match=f"pipeline weights fetch {config.weights}"):
            Extractor(config).identity()
        assert entry(config.weights).options["architecture"] == config.architecture
        other = Extractor(Config(backend=backend, weights="maskrcnn-resnet50-fpn-v2-coco"))
        with pytest.raises(ConfigError, match="are for maskrcnn_resnet50_fpn_v2, not for"):
            other.identity()


def test_settings_of_another_backend_are_refused() -> None:
    with pytest.raises(ConfigError, match="detectron2_zoo knows: cascade_mask_rcnn_tiny"):
        Extractor(Config(backend="detectron2_zoo", architecture="faster_rcnn_x152"))
    with pytest.raises(ConfigError, match="has no layer fc7"):
        Extractor(Config(backend="detectron2_zoo", layer="fc7"))
    with pytest.raises(ConfigError, match="vmb has no pooled_at"):
        Extractor(Config(backend="vmb", pooled_at="final"))
    for change in ({"precision": "float16"}, {"pooled_at": "final"}, {"proposals_per_level": 5}):
        config = Config(**change)
        with pytest.raises(ConfigError, match="torchvision has no"):
            Extractor(config)


def literal_regions(
    scores: torch.Tensor, boxes: torch.Tensor, number: int, threshold: float
) -> tuple[list[int], list[float]]:
    """The benchmark's rule as it is told: a loop over classes with torchvision's suppression."""
    from torchvision.ops import nms

    wide = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
    confidence = torch.zeros(len(boxes))
    for column in scores[:, 1:].T:
        kept = nms(wide, column, 0.5)
        better = (column[kept] > confidence[kept]) & (column[kept] > threshold)
        confidence[kept] = torch.where(better, column[kept], confidence[kept])
    ordered, indices = torch.sort(confidence, descending=True, stable=True)
    return indices[:number].tolist(), ordered[:number].tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.0, 0.2])
@pytest.mark.parametrize("number", [3, 90, 200])
def test_regions_equal_the_literal_loop(seed: int, threshold: float, number: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = (torch.rand((number, 2), generator=generator) * 60).round()
    size = (torch.rand((number, 2), generator=generator) * 30).round()
    boxes = torch.cat([corner, corner + size], dim=1)
    scores = (torch.randn((number, 12), generator=generator) * 2).softmax(dim=1)
    kept, confidence = top_regions(scores, boxes, 100, 0.5, threshold)
    expected = literal_regions(scores, boxes, 100, threshold)
    assert confidence.tolist() == expected[1]
    certain = sum(value > 0 for value in expected[1])
    assert kept[:certain].tolist() == expected[0][:certain]


def test_detectron2_itself_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"detectron2", "detectron2_zoo", "torchvision", "vmb"} <= set(backend_names())
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "detectron2" else find(name)
    )
    stage = Extractor(Config(backend="detectron2"))
    assert stage.outputs()[0].shape == (100, 1024)
    with pytest.raises(MissingDependency, match="detectron2"):
        stage.identity()


@pytest.mark.parametrize("pooled_at", ["stage", "final"])
def test_walking_detectron2s_stages_gives_the_same_regions(
    pooled_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support import stand_in_detectron2

    from affectflow.pipeline.extractors.regions import detectron2_backend

    ours = tiny("detectron2_zoo", pooled_at=pooled_at)
    stand_in_detectron2.install(monkeypatch, ours._backend._sizes())  # type: ignore[attr-defined]
    monkeypatch.setitem(detectron2_backend.DEFAULTS, "architecture", TINY["detectron2_zoo"])
    path = tmp_path / "own.pkl"
    write_file(path, ours._backend._network.state_dict())  # type: ignore[attr-defined]
    changes = {
        "backend": "detectron2",
        "architecture": TINY["detectron2_zoo"],
        "pooled_at": pooled_at,
        "allow_untrained": False,
        "file": str(path),
        "weights": "mine",
    }
    theirs = Extractor(Config(**(regions.tiny() | changes)))
    theirs.open()
    assert theirs.identity()["route"] == "detectron2"
    row = make_row(tmp_path, "a")
    first, second = run(ours, [row])[0], run(theirs, [row])[0]
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


@pytest.mark.slow
@pytest.mark.parametrize("backend", sorted(TINY))
def test_the_real_network_with_seeded_weights(backend: str, tmp_path: Path) -> None:
    config = Config(backend=backend, allow_untrained=True, min_size=96, max_size=160, device="cpu")
    stage = Extractor(config.model_copy(update={"proposals": 200}))
    stage.open()
    values = run(stage, [make_row(tmp_path, "a")])[0]
    assert values["regions"].shape == (100, {"detectron2_zoo": 1024, "vmb": 2048}[backend])
    check_regions(values, 60, 44)
    assert values["regions"].astype(np.float32).std(axis=0).mean() > 1e-3
