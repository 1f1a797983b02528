"""A stand-in for detectron2's interface, as far as one backend of ours uses it.

The functions have detectron2's names and arguments; inside is our own network. It shows that the
walk through the stages is right, not that detectron2 itself is called as it wants to be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from affectflow.models.vision.rcnn import cascade
from affectflow.models.vision.rcnn.boxes import clip, decode


class Boxes:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def clip(self, size: tuple[int, int]) -> None:
        self.tensor = clip(self.tensor, size)

    def __len__(self) -> int:
        return len(self.tensor)


class Instances:
    def __init__(self, size: tuple[int, int], **fields: Any) -> None:
        self.image_size = size
        self.__dict__.update(fields)

    def __len__(self) -> int:
        return len(self.proposal_boxes if hasattr(self, "proposal_boxes") else self.pred_boxes)


class ImageList:
    def __init__(self, tensor: torch.Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensor, self.image_sizes = tensor, image_sizes


class Backbone(cascade.Pyramid):
    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return dict(zip(("p2", "p3", "p4", "p5", "p6"), super().forward(images), strict=True))


class Generator(cascade.Proposals):
    limits: Any

    def forward(self, images: ImageList, features: Any, _targets: None) -> Any:  # type: ignore[override]
        found = super().forward(list(features.values()), images.image_sizes, self.limits)
        pairs = zip(images.image_sizes, found, strict=True)
        return [Instances(size, proposal_boxes=Boxes(box)) for size, (box, _) in pairs], {}


class Heads(cascade.CascadeHeads):
    box_in_features = ("p2", "p3", "p4", "p5")

    def __init__(self, sizes: cascade.Sizes) -> None:
        super().__init__(sizes)
        for predictor, weights in zip(self.box_predictor, cascade.BOX_WEIGHTS, strict=True):
            predictor.predict_boxes = boxes_by(weights)
            predictor.predict_probs = probabilities

    def box_pooler(self, maps: Any, boxes: list[Boxes]) -> torch.Tensor:
        return cascade.POOLING(maps, [one.tensor for one in boxes], 7)


def boxes_by(weights: Any) -> Callable[[Any, list[Instances]], Any]:
    def predict(said: Any, given: list[Instances]) -> Any:
        start = torch.cat([one.proposal_boxes.tensor for one in given])
        return decode(said[1], start, weights).split([len(one) for one in given])

    return predict


def probabilities(said: Any, given: list[Instances]) -> Any:
    return said[0].softmax(dim=-1).split([len(one) for one in given])


def fast_rcnn_inference(
    boxes: Any, scores: Any, sizes: Any, threshold: float, nms: float, most: int
) -> Any:
    rule = cascade.Selection(threshold, nms, most)
    found = [cascade.select(*one, rule) for one in zip(boxes, scores, sizes, strict=True)]
    instances = [
        Instances(size, pred_boxes=Boxes(f.boxes), scores=f.scores, pred_classes=f.classes)
        for f, size in zip(found, sizes, strict=True)
    ]
    return instances, [one.rows for one in found]


def build_model(settings: Any) -> nn.Module:
    from affectflow.models.vision.rcnn.proposals import Limits

    network = nn.Module()
    sizes = settings.sizes
    network.backbone = Backbone(sizes.trunk, sizes.pyramid)
    network.proposal_generator = Generator(sizes.pyramid)
    network.roi_heads = Heads(sizes)
    rpn = settings.MODEL.RPN
    network.proposal_generator.limits = Limits(
        before=rpn.PRE_NMS_TOPK_TEST, after=rpn.POST_NMS_TOPK_TEST
    )
    return network


def install(monkeypatch: pytest.MonkeyPatch, sizes: cascade.Sizes) -> None:
    """Put the stand-in where ``import detectron2`` finds it, with a network of the given sizes."""

    def get_cfg() -> Any:
        model = SimpleNamespace(RPN=SimpleNamespace(), DEVICE="")
        return SimpleNamespace(MODEL=model, merge_from_file=lambda _path: None, sizes=sizes)

    contents: dict[str, dict[str, Any]] = {
        "detectron2": {"model_zoo": SimpleNamespace(get_config_file=lambda name: name)},
        "detectron2.config": {"get_cfg": get_cfg},
        "detectron2.modeling": {"build_model": build_model},
        "detectron2.modeling.roi_heads": {},
        "detectron2.modeling.roi_heads.fast_rcnn": {"fast_rcnn_inference": fast_rcnn_inference},
        "detectron2.structures": {
            "Boxes": Boxes,
            "ImageList": ImageList,
            "Instances": Instances,
        },
    }
    for name, values in contents.items():
        module = ModuleType(name)
        module.__spec__ = SimpleNamespace(name=name)  # type: ignore[assignment]
        module.__path__ = []
        module.__dict__.update(values)
        monkeypatch.setitem(sys.modules, name, module)
