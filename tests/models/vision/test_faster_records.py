"""The Visual Genome detector against recorded outputs, from files in its published layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.region_records import (
    RECORDS,
    Case,
    faster_limits,
    faster_sizes,
    same_lists,
    sample,
    write_benchmark_file,
)
from support.shared import needs_shared

from affectflow.models.vision.rcnn.faster import POOLING, FasterRCNN
from affectflow.models.vision.rcnn.pooling import levels
from affectflow.pipeline.extractors.regions.benchmark_rule import (
    original_scale,
    scaled,
    top_regions,
)
from affectflow.pipeline.extractors.regions.checkpoints import load_benchmark_file

pytestmark = needs_shared("golden/regions")
SMALL = sorted(path.stem for path in RECORDS.glob("vmb_tiny_*.json"))
LARGE = sorted(path.stem for path in RECORDS.glob("vmb_x152_*.json"))
MAPS = 5e-5
BOXES = 1e-3


class Run:
    """Our network on a recorded case, from the picture to the hundred regions."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.limits = faster_limits(case.facts["config"])
        self.network = FasterRCNN(faster_sizes(case.facts["config"])).eval()
        path = write_benchmark_file(folder / "model.pth", case.entries())
        outcome = load_benchmark_file(self.network, path)
        path.unlink()
        assert len(outcome.dropped) == 3
        limits = (case.facts["mmf"]["MIN_SIZE"], case.facts["mmf"]["MAX_SIZE"])
        pictures = case.pictures()
        self.scales = [original_scale(*one.shape[:2], *limits) for one in pictures]
        self.images = stacked([scaled(one, *limits) for one in pictures])
        self.maps: dict[str, torch.Tensor] = {}
        trunk = self.network.backbone.bottom_up
        names = {"c2": "res2", "c3": "res3", "c4": "res4", "c5": "res5"}
        names |= {"stem": "stem", "layer1_0": "res2.0"}
        for name, ours in names.items():
            trunk.get_submodule(ours).register_forward_hook(self._keeper(name))
        with torch.inference_mode():
            self.pyramid = self.network.backbone(self.images)
            self.logits, self.deltas = self.network.proposal_generator.rpn_head(self.pyramid)

    def _keeper(self, name: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            self.maps[name] = output.clone()

        return keep


def stacked(images: list[np.ndarray]) -> torch.Tensor:
    rows, columns = (-(-max(one.shape[axis] for one in images) // 32) * 32 for axis in (1, 2))
    batch = torch.zeros((len(images), 3, rows, columns))
    for place, one in enumerate(images):
        batch[place, :, : one.shape[1], : one.shape[2]] = torch.from_numpy(one)
    return batch


def close(case: Case, name: str, found: Any, tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), case[name], rtol=0, atol=tolerance, err_msg=name)


def check_maps(run: Run, image: int, tail: str) -> None:
    case = run.case
    close(case, f"input{tail}", sample(run.images[image], 3, 12, 12), 2e-4)
    for name, values in run.maps.items():
        close(case, f"{name}{tail}", sample(values[image], 16, 7, 7), MAPS)
    for level in range(5):
        name = f"p{level + 2}{tail}"
        close(case, name, sample(run.pyramid[level][image], 16, 7, 7), MAPS)
        close(case, f"rpn_logits_{name}", sample(run.logits[level][image], 16, 7, 7), MAPS)
        close(case, f"rpn_deltas_{name}", sample(run.deltas[level][image], 16, 7, 7), MAPS)


def check_regions(run: Run, image: int, tail: str, found: Any) -> None:
    case, mmf = run.case, run.case.facts["mmf"]
    stride = case.facts["sample_strides"]
    full = stride["features_sample"] > 1
    close(case, f"proposals_objectness{tail}", found.objectness, MAPS)
    same_lists(found.boxes.numpy(), case[f"proposals_boxes{tail}"], BOXES)
    boxes = found.boxes / run.scales[image]
    kept, confidence = top_regions(
        found.scores, boxes, mmf["num_features"], 0.5, mmf["confidence_threshold"]
    )
    same_order = np.abs(found.boxes.numpy() - case[f"proposals_boxes{tail}"]).max() <= BOXES
    everything, certain = top_regions(found.scores, boxes, len(boxes), 0.5, 0.0)
    conf = torch.zeros(len(boxes)).scatter(0, everything, certain)
    same_lists(conf.numpy()[:, None], case[f"conf{tail}"][:, None], 5e-5)
    recorded = case[f"keep{tail}"]
    if same_order:
        assert kept.tolist() == recorded.tolist()
    close(case, f"bbox{tail}", boxes[kept], BOXES)
    assert int((confidence != 0).sum()) == int(case[f"num_boxes{tail}"])
    scores = found.scores[kept, 1:]
    assert scores.argmax(dim=1).tolist() == case[f"objects{tail}"].tolist()
    close(case, f"cls_prob_max{tail}", scores.amax(dim=1), 5e-5)
    close(case, f"cls_prob_sample{tail}", scores[:, :: stride["cls_prob_sample"]], 5e-5)
    vectors, tolerance = found.vectors[kept], 5e-4 if full else 1e-4
    close(case, f"features_sample{tail}", vectors[:, :: stride["features_sample"]], tolerance)
    close(case, f"features_norm{tail}", vectors.norm(dim=1), 2e-3 if full else 1e-4)
    for row in (0, 99):
        if f"features_row{row}{tail}" in case:
            close(case, f"features_row{row}{tail}", vectors[row], tolerance)


def check_fixed_boxes(run: Run) -> None:
    case, stride = run.case, run.case.facts["sample_strides"]
    boxes = torch.from_numpy(case["fixed_boxes"])
    assert levels(boxes, 2, 5, 1.0, 1e-6).tolist() == case["fixed_levels"].tolist()
    close(case, "fixed_pooled", sample(POOLING(run.pyramid, [boxes], 7), 12, 8), MAPS)
    layers, logits, deltas = run.network.look(run.pyramid, [boxes])
    for name in ("fc6", "fc7"):
        found = layers[name][:, :: stride[f"fixed_{name}"]]
        close(case, f"fixed_{name}", found, 5e-5)
    close(case, "fixed_scores", logits[:, :: stride["fixed_scores"]], 1e-4)
    close(case, "fixed_bbox_deltas", deltas[:, :: stride["fixed_bbox_deltas"]], 1e-4)
    assert logits.argmax(dim=1).tolist() == case["fixed_argmax"].tolist()


def check(name: str, folder: Path) -> None:
    run = Run(Case(name), folder)
    case = run.case
    assert case["input_shape"].tolist() == list(run.images.shape)
    np.testing.assert_allclose(run.scales, case["im_scales"], rtol=1e-6)
    size = list(run.images.shape[2:])
    assert case["image_sizes"].tolist() == [size] * len(run.images)
    with torch.inference_mode():
        found = run.network(run.images, run.limits)
        tails = [""] if "input" in case else [f"_img{n}" for n in range(len(found))]
        for image, tail in enumerate(tails):
            check_maps(run, image, tail)
            check_regions(run, image, tail, found[image])
        if "fixed_boxes" in case:
            check_fixed_boxes(run)
    assert not case.unread


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_full_size(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)
