"""Single operations of the two families against what the originals gave."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.region_records import RECORDS, Case, formula, sample
from support.shared import needs_shared

from affectflow.models.vision.rcnn import cascade, faster
from affectflow.models.vision.rcnn.boxes import (
    area,
    centred_anchors,
    clip,
    decode,
    grid_anchors,
    levels,
    rounded_anchors,
)
from affectflow.models.vision.rcnn.cascade import Selection, select
from affectflow.models.vision.rcnn.masks import paste
from affectflow.models.vision.rcnn.pooling import Pooling
from affectflow.models.vision.rcnn.proposals import (
    Limits,
    choose,
    choose_older,
    flat_deltas,
    flat_logits,
    suppress_older,
)
from affectflow.models.vision.rcnn.pyramid import STRIDES
from affectflow.models.vision.rcnn.resnext import Bottleneck

pytestmark = needs_shared("golden/regions")


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(values))


def drawn(name: str, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(formula().formula_input(name, shape, low, high))


def close(case: Case, name: str, found: Any, tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), case[name], rtol=0, atol=tolerance, err_msg=name)


def test_boxes_and_anchors() -> None:
    case = Case("op_boxes_anchors")
    boxes, deltas = tensor(case["src_boxes"]), tensor(case["deltas"])
    weights = {"w1": (1, 1, 1, 1)} | {f"w{k}": (k, k, k / 2, k / 2) for k in (10, 20, 30)}
    for name, values in weights.items():
        close(case, f"decoded_{name}", decode(deltas, boxes, values), 1e-4)
    both = torch.cat([deltas, deltas.flip(0)], dim=1)
    close(case, "decoded_agnostic_k2", decode(both, boxes, (10, 10, 5, 5)), 1e-4)
    clipped = clip(tensor(case["decoded_w10"]), (150, 180))
    close(case, "clipped_150x180", clipped, 1e-4)
    solid = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    assert solid.tolist() == case["nonempty"].tolist()
    cells = [centred_anchors(size) for size in cascade.ANCHOR_SIZES]
    close(case, "cell_anchors", torch.stack(cells), 1e-4)
    close(case, "anchors", all_anchors(cells, case["grid_sizes"]), 1e-4)
    assert not case.unread


def all_anchors(cells: list[torch.Tensor], grids: np.ndarray) -> torch.Tensor:
    sizes = [tuple(int(n) for n in grid) for grid in grids]
    parts = zip(cells, sizes, STRIDES, strict=True)
    return torch.cat([grid_anchors(cell, size, stride) for cell, size, stride in parts])


def test_boxes_and_anchors_that_count_pixels() -> None:
    case = Case("vmb_op_boxes")
    boxes, deltas = tensor(case["src_boxes"]), tensor(case["deltas"])
    close(case, "decoded_w1", decode(deltas, boxes, extent=1), 1e-4)
    close(case, "decoded_w10", decode(deltas, boxes, (10, 10, 5, 5), extent=1), 1e-4)
    moved = tensor(case["decoded_w10"])[:, :4]
    np.testing.assert_allclose(area(moved, 1), case["area"], rtol=1e-6)
    close(case, "clipped_w150_h180", clip(moved, (180, 150), extent=1), 1e-4)
    pairs = zip(STRIDES, faster.ANCHOR_SIZES, strict=True)
    cells = [rounded_anchors(stride, size) for stride, size in pairs]
    close(case, "cell_anchors", torch.stack(cells), 0)
    close(case, "anchors", all_anchors(cells, case["grid_sizes"]), 0)
    sides = tensor(case["level_sizes"])
    zero = torch.zeros_like(sides)
    squares = torch.stack([zero, zero, sides, sides], dim=1)
    assert levels(squares, 2, 5, 1.0, 1e-6).tolist() == case["level_of_size"].tolist()
    scores = tensor(case["nms_scores"])
    for tenth in (3, 5, 7):
        kept = suppress_older(tensor(case["nms_boxes"]), scores, tenth / 10)
        assert kept.tolist() == case[f"nms_keep_{tenth}"].tolist()
    assert not case.unread


@pytest.mark.parametrize("name", ["s1", "s2", "dil2", "big_offsets"])
def test_deformable_convolution(name: str) -> None:
    from torchvision.ops import deform_conv2d

    case = Case("op_deform_conv")
    cin, cout, groups, h, w, stride, pad, dilation, rows, columns = case[f"{name}_args"].tolist()
    reach = float(case[f"{name}_offset_range"])
    found = deform_conv2d(
        drawn(f"dev:dc_x_{name}", (2, cin, h, w)),
        drawn(f"dev:dc_off_{name}", (2, 18, rows, columns), -reach, reach),
        tensor(formula().formula_array(f"dev.dc_{name}.weight", (cout, cin // groups, 3, 3))),
        None,
        stride,
        pad,
        dilation,
    )
    close(case, name, found, 1e-5)


@pytest.mark.parametrize("name", ["stride2", "identity"])
def test_deformable_block(name: str) -> None:
    case = Case("op_deform_block")
    before, after, inside, groups, stride, h, w = case[f"{name}_args"].tolist()
    block = Bottleneck((before, inside, after), stride, groups, True, 1e-5).eval()
    entries = {}
    for key, shape in case.facts["keys"][name]:
        gain = 0.7 if re.search(r"conv2_offset\.weight$", key) else 1.0
        entries[key] = tensor(formula().formula_array(f"dev.blk_{name}.{key}", shape, gain))
    block.load_state_dict(entries)
    seen: dict[str, torch.Tensor] = {}
    block.conv2_offset.register_forward_hook(lambda _m, _i, out: seen.update(offset=out.clone()))
    block.conv2.norm.register_forward_hook(lambda _m, _i, out: seen.update(conv2=out.clone()))
    with torch.inference_mode():
        found = block(drawn(f"dev:blk_x_{name}", (2, before, h, w), 0, 2))
    close(case, name, found, 2e-5)
    close(case, f"{name}_offset", seen["offset"], 2e-5)
    close(case, f"{name}_conv2", seen["conv2"], 2e-5)


def test_roi_align() -> None:
    from torchvision.ops import roi_align

    case = Case("op_roi_align")
    features, rois = drawn("dev:roi_feat", (2, 5, 20, 26)), tensor(case["rois"])
    names = [name for name in case.arrays if name != "rois"]
    assert len(names) == 6
    for name in names:
        side, stride, samples, mode = re.fullmatch(r"o(\d+)_s(\d+)_sr(\d)_(\w+)", name).groups()
        found = roi_align(
            features, rois, int(side), 1 / int(stride), int(samples), aligned=mode == "al"
        )
        close(case, name, found, 1e-5)


def test_pooling_from_levels() -> None:
    case = Case("op_roi_pooler")
    maps = [drawn(f"dev:lvl{n}", (2, 4, 128 // 2**n, 160 // 2**n)) for n in range(4)]
    boxes, first = tensor(case["boxes"]), int(case["n_first_image"])
    assert levels(boxes, 2, 5).tolist() == case["levels"].tolist()
    images = [boxes[:first], boxes[first:]]
    close(case, "pooled7", Pooling()(maps, images, 7), 1e-5)
    close(case, "pooled14", Pooling()(maps, images, 14), 1e-5)
    sides = tensor(case["level_sizes"])
    zero = torch.zeros_like(sides)
    squares = torch.stack([zero, zero, sides, sides], dim=1)
    assert levels(squares, 2, 5).tolist() == case["level_of_size"].tolist()
    assert not case.unread


def proposals_of(case: Case, level: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    if f"proposals{level}" in case:
        return tensor(case[f"proposals{level}"]), tensor(case[f"logits{level}"])
    corner = drawn(f"dev:p_large{level}_xy", (2, count, 2), -20, 180)
    size = drawn(f"dev:p_large{level}_wh", (2, count, 2), 2, 60) * (level + 1)
    boxes = torch.cat([corner, corner + size], dim=2)
    return boxes, drawn(f"dev:p_large{level}_s", (2, count), -4, 4)


@pytest.mark.parametrize("name", ["op_rpn_select_small", "op_rpn_select_large"])
def test_choice_of_proposals(name: str) -> None:
    case = Case(name)
    asked = case.facts["arguments"]
    parts = [proposals_of(case, level, count) for level, count in enumerate(asked["levels"])]
    limits = Limits(
        before=asked["pre_nms_topk"], after=asked["post_nms_topk"], nms_iou=asked["nms_thresh"]
    )
    for image, size in enumerate(asked["image_sizes_hw"]):
        boxes, logits = [part[0][image] for part in parts], [part[1][image] for part in parts]
        found = choose(boxes, logits, tuple(size), limits)
        close(case, f"boxes_img{image}", found[0], 0)
        close(case, f"scores_img{image}", found[1], 0)
    assert not case.unread


def test_choice_of_proposals_that_count_pixels() -> None:
    case = Case("vmb_op_rpn_select")
    asked = case.facts["arguments"]
    limits = Limits(
        asked["pre_nms_top_n"],
        asked["post_nms_top_n"],
        asked["fpn_post_nms_top_n"],
        asked["nms_thresh"],
    )
    cells = [
        rounded_anchors(stride, size)
        for stride, size in zip(STRIDES, faster.ANCHOR_SIZES, strict=True)
    ]
    width, height = asked["image_wh"]
    levels_of_maps = list(enumerate(asked["grids"]))
    logits = [flat_logits(drawn(f"dev:vo{n}", (2, 3, *grid), -4, 4)) for n, grid in levels_of_maps]
    deltas = [
        flat_deltas(drawn(f"dev:vd{n}", (2, 12, *grid), -0.8, 0.8)) for n, grid in levels_of_maps
    ]
    anchors = [grid_anchors(cells[n], tuple(grid), STRIDES[n]) for n, grid in levels_of_maps]
    for image in range(2):
        boxes = [decode(d[image], a, extent=1) for d, a in zip(deltas, anchors, strict=True)]
        found = choose_older(boxes, [one[image] for one in logits], (height, width), limits)
        close(case, f"boxes_img{image}", found[0], 1e-4)
        close(case, f"objectness_img{image}", found[1], 1e-6)
    assert not case.unread


def test_choice_of_detections() -> None:
    case = Case("op_fast_rcnn_select")
    rules = {"t05": (0.05, 100), "t0": (0.0, 20), "t20": (0.2, 15)}
    for group in ("small", "large"):
        boxes, scores = tensor(case[f"{group}_boxes"]), tensor(case[f"{group}_scores"])
        finite = boxes.isfinite().all(dim=1) & scores.isfinite().all(dim=1)
        # The original numbers the rows that are left, we number all of them.
        number = finite.cumsum(dim=0) - 1
        for name, (threshold, most) in rules.items():
            found = select(boxes, scores, (120, 140), Selection(threshold, 0.5, most))
            close(case, f"{group}_{name}_boxes", found.boxes, 0)
            close(case, f"{group}_{name}_scores", found.scores, 0)
            assert found.classes.tolist() == case[f"{group}_{name}_classes"].tolist()
            assert number[found.rows].tolist() == case[f"{group}_{name}_kept"].tolist()
    assert not case.unread


def test_masks_in_the_image() -> None:
    case = Case("op_postprocess")
    found = paste(tensor(case["masks"]), tensor(case["mask_boxes"]), (80, 100))
    recorded = np.unpackbits(case["pasted_bits"])[: found.numel()].reshape(5, 80, 100)
    # Probabilities of exactly one half may fall either way at a border pixel.
    assert (found.numpy() != recorded.astype(bool)).sum() <= 2
    boxes = clip(tensor(case["mask_boxes"]) * torch.tensor([2.5, 163 / 80] * 2), (163, 250))
    close(case, "postprocess_boxes", boxes, 1e-4)


def test_scale_and_pixels_of_the_zoo() -> None:
    from PIL import Image

    from affectflow.pipeline.extractors.regions import Config
    from affectflow.pipeline.extractors.regions.detectron2_zoo_backend import Backend, scaled_size

    case = Case("op_preprocess")
    picture = np.asarray(Image.open(RECORDS / "orig_dev.png").convert("RGB"))
    assert case["read_bgr_shape"].tolist() == list(picture.shape)
    assert (picture[:4, :4, ::-1] == case["read_bgr_corner"]).all()
    for low, high in ((800, 1333), (256, 320)):
        sizes = [list(scaled_size(*size, low, high)) for size in case["in_hw"].tolist()]
        # The original gives a strip no height at all, which it cannot read then.
        assert sizes == np.maximum(case[f"out_hw_{low}_{high}"], 1).tolist()
    for name, sha256 in case.facts["sha256_of_resized_uint8_hwc_bgr"].items():
        low, high = (int(n) for n in name.split("_")[1:])
        config = Config(backend="detectron2_zoo", allow_untrained=True, min_size=low, max_size=high)
        prepared = Backend(config).prepare(picture)
        mean = np.asarray(cascade.MEAN, np.float32)
        values = np.rint(prepared.pixels.transpose(1, 2, 0) + mean).astype(np.uint8)
        assert list(values.shape) == case[f"{name}_shape"].tolist()
        assert (sample(torch.from_numpy(values), 16, 16) == case[name]).all()
        assert hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() == sha256


def test_scale_and_pixels_of_the_benchmark() -> None:
    from PIL import Image

    from affectflow.pipeline.extractors.regions.benchmark_rule import original_scale, scaled

    case = Case("vmb_op_preprocess")
    files = {"full": "orig_dev.png"} | {
        f"mode_{mode}": f"mode_{mode}.png" for mode in ("rgb", "l", "rgba")
    }
    checked = 0
    for name, facts in case.facts["cases"].items():
        kind, low, high = name.rsplit("_", 2)
        # Palette images are read as indices there and as colours here; the other mode crashes it.
        if kind not in files:
            continue
        pixels = np.asarray(Image.open(RECORDS / files[kind]).convert("RGB"))
        found = scaled(pixels, int(low), int(high))
        assert original_scale(*pixels.shape[:2], int(low), int(high)) == facts["scale"]
        assert list(found.shape) == case[f"{name}_shape"].tolist()
        close(case, name, sample(torch.from_numpy(found), 3, 16, 16), 2e-4)
        np.testing.assert_allclose(found.mean(axis=(1, 2)), case[f"{name}_mean"], atol=1e-3)
        checked += 1
    assert checked == 6


@pytest.mark.parametrize("name", ["default", "all", "background", "thresh"])
def test_the_hundred_regions(name: str) -> None:
    from affectflow.pipeline.extractors.regions.benchmark_rule import top_regions

    case = Case("vmb_op_select")
    asked = case.facts["cases"][name]
    scores = tensor(case["logits"]).softmax(dim=-1)
    boxes = tensor(case["boxes"]) / case.facts["im_scale"]
    background = asked["background"]
    kept, confidence = top_regions(
        scores, boxes, asked["num_features"], 0.5, asked["confidence_threshold"], background
    )
    certain = int((confidence != 0).sum())
    assert certain == asked["num_boxes"] == int(case[f"{name}_num_boxes"])
    chosen = scores[kept, 0 if background else 1 :]
    found = {
        "features": tensor(case["features"])[kept],
        "bbox": boxes[kept],
        "cls_prob": chosen,
        "objects": chosen.argmax(dim=1),
    }
    for kind, values in found.items():
        recorded = case[f"{name}_{kind}"]
        np.testing.assert_allclose(values[:certain], recorded[:certain], rtol=0, atol=1e-6)
        # The order of rows without confidence is not defined.
        rest = [np.sort(np.asarray(one[certain:]), axis=0) for one in (values, recorded)]
        np.testing.assert_allclose(*rest, rtol=0, atol=1e-6)


def test_both_means_are_written_down_once_each() -> None:
    from affectflow.pipeline.extractors.regions import detectron2_zoo_backend, vmb_backend

    assert detectron2_zoo_backend.MEAN == cascade.MEAN
    assert vmb_backend.MEAN == faster.MEAN


def test_records_are_all_tested() -> None:
    operations = {path.stem for path in Path(RECORDS).glob("*op_*.json")}
    source = Path(__file__).read_text(encoding="utf-8")
    assert operations
    assert not [name for name in operations if f'"{name}"' not in source]
