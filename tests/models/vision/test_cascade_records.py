"""The cascade against the recorded outputs of detectron2, from files in the zoo's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.region_records import (
    RECORDS,
    Case,
    cascade_limits,
    cascade_sizes,
    same_lists,
    sample,
    write_zoo_file,
)
from support.shared import needs_shared

from affectflow.models.vision.rcnn import cascade
from affectflow.models.vision.rcnn.cascade import POOLING, CascadeRCNN, Selection
from affectflow.models.vision.rcnn.pooling import levels
from affectflow.pipeline.extractors.regions.checkpoints import load_zoo_file

pytestmark = needs_shared("golden/regions")
SMALL = sorted(path.stem for path in RECORDS.glob("d2_tiny_*.json"))
# Ten to twenty seconds each on one core: full heads on a thousand boxes, three times.
LARGE = sorted(path.stem for path in RECORDS.glob("d2_[!t]*_*_*.json"))
LARGE += sorted(path.stem for path in RECORDS.glob("d2_x152_*.json"))

MAPS = 5e-5
BOXES = 1e-3
SCORES = 2e-5


class Run:
    """Our network on a recorded case, with everything in between."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        settings = case.facts["source"]["config_overrides"]
        self.limits = cascade_limits(settings)
        self.small = "tiny" in case.name
        self.network = network_of(case, folder)
        self.images, self.sizes = network_input(case.pictures())
        self.maps: dict[str, torch.Tensor] = {}
        self.hooks: list[Any] = []
        self._watch()
        with torch.inference_mode():
            self.pyramid = self.network.backbone(self.images)
            generator = self.network.proposal_generator
            self.logits, self.deltas = generator.rpn_head(self.pyramid)
            found = generator.choose(self.logits, self.deltas, self.sizes, self.limits)
        for hook in self.hooks:
            hook.remove()
        self.proposals = [boxes for boxes, _ in found]
        self.proposal_logits = [logits for _, logits in found]

    def _watch(self) -> None:
        trunk = self.network.backbone.bottom_up
        block = trunk.get_submodule("res3.0")
        watched = {
            "stem": trunk.stem,
            "res2_0": trunk.get_submodule("res2.0"),
            "res3_0_conv2": block.conv2.norm,
            **{name: trunk.get_submodule(name) for name in ("res2", "res3", "res4", "res5")},
        }
        if block.conv2_offset is not None:
            watched["res3_0_offset"] = block.conv2_offset
        for name, module in watched.items():
            self.hooks.append(module.register_forward_hook(self._keeper(name)))

    def _keeper(self, name: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            self.maps[name] = output.clone()

        return keep


_BUILT: dict[str, CascadeRCNN] = {}


def network_of(case: Case, folder: Path) -> CascadeRCNN:
    """Return the network of a case, read from a file; the one before is kept for the next case."""
    name = case.facts["keys_file"]
    if name not in _BUILT:
        _BUILT.clear()
        network = CascadeRCNN(cascade_sizes(case.facts["source"]["config_overrides"])).eval()
        path = write_zoo_file(folder / "model.pkl", case.entries())
        load_zoo_file(network, path)
        path.unlink()
        _BUILT[name] = network
    return _BUILT[name]


def network_input(pictures: list[np.ndarray]) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    sizes = [(one.shape[0], one.shape[1]) for one in pictures]
    rows, columns = (-(-max(side) // 32) * 32 for side in zip(*sizes, strict=True))
    images = torch.zeros((len(pictures), 3, rows, columns))
    for place, picture in enumerate(pictures):
        values = picture[..., ::-1].astype(np.float32) - np.asarray(cascade.MEAN, np.float32)
        height, width = picture.shape[:2]
        images[place, :, :height, :width] = torch.from_numpy(values.transpose(2, 0, 1).copy())
    return images, sizes


def close(case: Case, name: str, found: Any, tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), case[name], rtol=0, atol=tolerance, err_msg=name)


def check_maps(run: Run, image: int, tail: str) -> None:
    case = run.case
    close(case, f"input{tail}", sample(run.images[image], 3, 12, 12), 2e-5)
    for name, values in run.maps.items():
        close(case, f"{name}{tail}", sample(values[image], 16, 7, 7), MAPS)
    for level in range(5):
        name = f"p{level + 2}{tail}"
        close(case, name, sample(run.pyramid[level][image], 16, 7, 7), MAPS)
        close(case, f"rpn_logits_{name}", sample(run.logits[level][image], 16, 7, 7), MAPS)
        close(case, f"rpn_deltas_{name}", sample(run.deltas[level][image], 16, 7, 7), MAPS)


def check_proposals(run: Run, image: int, tail: str) -> None:
    close(run.case, f"proposals_logits{tail}", run.proposal_logits[image], MAPS)
    same_lists(run.proposals[image].numpy(), run.case[f"proposals_boxes{tail}"], BOXES)


def check_fixed_boxes(run: Run) -> None:
    case, heads = run.case, run.network.roi_heads
    boxes = torch.from_numpy(case["fixed_boxes"])
    assert levels(boxes, 2, 5).tolist() == case["fixed_levels"].tolist()
    pooled = POOLING(run.pyramid, [boxes], 7)
    close(case, "fixed_pooled", sample(pooled, 12, 8), MAPS)
    masks = POOLING(run.pyramid, [boxes], 14)
    close(case, "fixed_mask_pooled", sample(masks, 12, 2), MAPS)
    for number in range(3):
        stage = heads.look(number, run.pyramid, [boxes])
        close(case, f"fixed_feat_stage{number}", stage.vectors, 5e-5)
        close(case, f"fixed_logits_stage{number}", stage.logits, 1e-4)
        close(case, f"fixed_deltas_stage{number}", stage.deltas, 1e-4)


def check_fixed_cascade(run: Run) -> None:
    case = run.case
    boxes = torch.from_numpy(case["fixed_boxes"])
    stages, final, scores = run.network.roi_heads.cascade(run.pyramid, [boxes], run.sizes)
    for number in (1, 2):
        close(case, f"casc_boxes_stage{number}", stages[number].boxes[0], BOXES)
        close(case, f"casc_feat_stage{number}", stages[number].vectors[:, ::4], 1e-4)
        close(case, f"casc_logits_stage{number}", stages[number].logits, 2e-4)
    close(case, "casc_final_boxes", final[0], BOXES)
    close(case, "casc_scores", scores[0], 1e-5)


def check_detections(run: Run) -> None:
    case, network = run.case, run.network
    heads = network.roi_heads
    stages, final, scores = heads.cascade(run.pyramid, run.proposals, run.sizes)
    tails = tails_of(run)
    rules = {"inst": Selection(0.0, 0.5, 20), "det05": Selection(0.05, 0.5, 100)}
    for kind, rule in rules.items():
        for image, tail in enumerate(tails):
            one = cascade.select(final[image], scores[image], run.sizes[image], rule)
            stable = case.facts["stable_leading_rows"][f"{kind}_kept{tail}"]
            close(case, f"{kind}_scores{tail}", one.scores, SCORES)
            order = among_ties(case[f"{kind}_scores{tail}"], case[f"{kind}_boxes{tail}"], one.boxes)
            close_rows(case, f"{kind}_boxes{tail}", one.boxes[order], BOXES, stable)
            close_rows(case, f"{kind}_classes{tail}", one.classes[order], 0, stable)
            rows = case[f"{kind}_kept{tail}"]
            if same_order(run, image, tail):
                assert one.rows[order][:stable].tolist() == rows[:stable].tolist()
    rule = rules["inst"]
    parts = zip(final, scores, run.sizes, strict=True)
    found = [cascade.select(*part, rule) for part in parts]
    for pooled_at, name in (("stage", "inst_feat_stage2"), ("final", "inst_feat_repooled")):
        for one, tail in zip(
            network.with_vectors(run.pyramid, stages[-1], found, pooled_at), tails, strict=True
        ):
            close(case, f"{name}{tail}", one.linear.relu()[:, ::4], 2e-4)
    check_masks(run, found)
    if run.small:
        whole = network(run.images, run.sizes, run.limits, rule, masks=True)
        for one, other in zip(whole, network.with_masks(run.pyramid, found), strict=True):
            torch.testing.assert_close(one.boxes, other.boxes)
            torch.testing.assert_close(one.masks, other.masks)


def check_masks(run: Run, found: list[cascade.Detections]) -> None:
    case, network, tails = run.case, run.network, tails_of(run)
    logits = network.roi_heads.mask_logits(run.pyramid, [one.boxes for one in found])
    parts = logits.split([len(one.boxes) for one in found])
    for image, one in enumerate(network.with_masks(run.pyramid, found)):
        tail, part = tails[image], parts[image]
        first = part[torch.arange(4), one.classes[:4]]
        close(case, f"mask_logits_first4{tail}", first, 2e-4)
        close(case, f"mask_logits_point{tail}", part[:, :, 13, 9], 2e-4)
        # Probabilities were recorded in float16: half of its step is added.
        close(case, f"mask_prob{tail}", one.masks, 2e-4 / 4 + 2**-12)


def same_order(run: Run, image: int, tail: str) -> bool:
    """Whether no two neighbouring proposals changed places, which would renumber rows."""
    recorded = run.case[f"proposals_boxes{tail}"]
    return bool(np.abs(run.proposals[image].numpy() - recorded).max() <= BOXES)


def among_ties(scores: np.ndarray, recorded: np.ndarray, found: Any) -> list[int]:
    """Return the order in which found boxes lie as recorded.

    Rows change places only where their recorded scores are nearer to each other than the tolerance
    of a score; how many threads add the numbers up then decides which comes first.
    """
    boxes, left, order = np.asarray(found), set(range(len(scores))), []
    for place, score in enumerate(scores):
        tied = [row for row in left if abs(scores[row] - score) <= SCORES]
        nearest = min(tied, key=lambda row: np.abs(boxes[row] - recorded[place]).max())
        order.append(nearest)
        left.remove(nearest)
    return order


def close_rows(case: Case, name: str, found: Any, tolerance: float, rows: int) -> None:
    recorded = case[name]
    assert len(found) == len(recorded), name
    np.testing.assert_allclose(
        np.asarray(found)[:rows], recorded[:rows], rtol=0, atol=tolerance, err_msg=name
    )


def tails_of(run: Run) -> list[str]:
    if "input" in run.case:
        return [""]
    return [f"_img{image}" for image in range(len(run.sizes))]


def check(name: str, folder: Path) -> None:
    run = Run(Case(name), folder)
    with torch.inference_mode():
        for image, tail in enumerate(tails_of(run)):
            check_maps(run, image, tail)
            check_proposals(run, image, tail)
        if "fixed_boxes" in run.case:
            check_fixed_boxes(run)
            check_fixed_cascade(run)
        check_detections(run)
    assert run.case["input_shape"].tolist() == list(run.images.shape)
    assert run.case["image_sizes"].tolist() == [list(size) for size in run.sizes]
    assert not run.case.unread


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_full_size(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)
