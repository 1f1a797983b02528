"""Cascade Mask R-CNN with a deformable ResNeXt-152: the detectron2 zoo's "Mask R-CNN X152".

Cai & Vasconcelos 2018 (cascade), He et al. 2017 (masks). Three box heads look at a proposal, each
at the boxes that the one before regressed; a class score is the mean of the three softmaxes. Group
norm is in the heads only: the trunk's norm is frozen, the pyramid has none.

A region's vector is what the third head says about the boxes it was given ("stage"), or about the
final boxes, pooled once more ("final"). They are different numbers; the first costs nothing.

Input: BGR minus `MEAN`, padded on the right and at the bottom with zeros to a multiple of 32.
Parameter names are those of the published file.

``B`` batch, ``P`` proposals, ``R`` detections, ``D`` width of a vector, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from .boxes import centred_anchors, clip, decode, grid_anchors
from .heads import BOX_SIDE, MASK_SIDE, ConvBoxHead, MaskHead, Predictor
from .pooling import Pooling
from .proposals import Limits, ProposalHead, choose, flat_deltas, flat_logits
from .pyramid import STRIDES, Pyramid
from .resnext import Trunk

# Blue, green, red; subtracted, nothing is divided.
MEAN = (103.53, 116.28, 123.675)
ANCHOR_SIZES = (32, 64, 128, 256, 512)
# What the deltas of each stage were multiplied by in training.
BOX_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
POOLING = Pooling(aligned=True, samples=0, extent=0.0, eps=1e-8)
DEFORMABLE = (False, True, True, True)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the network; the defaults are the published model's.

    Attributes:
        pyramid: Channels of the feature pyramid.
        head: Channels of the box heads' convolutions.
        head_convs: Their number.
        vector: D.
        mask: Channels of the mask head.
        mask_convs: Number of its convolutions.
        classes: K; the background is the logit after the last class.
    """

    trunk: Trunk = field(default_factory=lambda: Trunk(deformable=DEFORMABLE))
    pyramid: int = 256
    head: int = 256
    head_convs: int = 4
    vector: int = 1024
    mask: int = 256
    mask_convs: int = 8
    classes: int = 80


@dataclass(frozen=True, slots=True)
class Stage:
    """What one box head was given and said, for the boxes of all images.

    Attributes:
        boxes: Boxes it looked at, one ``(P, 4)`` per image.
        linear: Vectors ``(P, D)`` before their ReLU.
        logits: ``(P, K + 1)``.
        deltas: ``(P, 4)``.
    """

    boxes: list[Tensor]
    linear: Tensor
    logits: Tensor
    deltas: Tensor

    @property
    def vectors(self) -> Tensor:
        """Vectors ``(P, D)`` after their ReLU."""
        return self.linear.relu()


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, most certain first.

    Attributes:
        boxes: ``(R, 4)`` in pixels of the network's input, inside the image.
        scores: ``(R,)``.
        classes: ``(R,)`` int64, 0-based.
        rows: ``(R,)`` int64, the proposal each came from; one can give several.
        linear: Vectors ``(R, D)`` before their ReLU, None until they were taken.
        masks: Probabilities ``(R, 28, 28)`` of the predicted class, None until they were asked for.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    rows: Tensor
    linear: Tensor | None = None
    masks: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which scored boxes become detections.

    Attributes:
        threshold: Scores up to this do not count.
        nms_iou: Of two boxes of a class that overlap by more, the better one is kept.
        most: R at most.
    """

    threshold: float = 0.05
    nms_iou: float = 0.5
    most: int = 100


class CascadeHeads(nn.Module):
    """Three box heads and the mask head."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        stages = range(len(BOX_WEIGHTS))
        self.box_head = nn.ModuleList(
            ConvBoxHead(sizes.pyramid, sizes.head, sizes.head_convs, sizes.vector) for _ in stages
        )
        self.box_predictor = nn.ModuleList(
            Predictor(sizes.vector, sizes.classes + 1, 1) for _ in stages
        )
        self.mask_head = MaskHead(sizes.pyramid, sizes.mask, sizes.mask_convs, sizes.classes)

    def look(self, stage: int, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> Stage:
        """Run one box head (0 to 2) on the boxes of each image."""
        pooled = POOLING(maps, boxes, BOX_SIDE)
        linear = self.box_head[stage].linear(pooled).float()  # type: ignore[operator]
        logits, deltas = self.box_predictor[stage](linear.relu())
        return Stage(list(boxes), linear, logits, deltas)

    def cascade(
        self, maps: Sequence[Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> tuple[list[Stage], list[Tensor], list[Tensor]]:
        """Run the three heads, each at the boxes of the one before.

        Between stages boxes are moved inside the image and none is dropped, so that some may be
        without area.

        Args:
            maps: p2 to p6.
            boxes: One ``(P, 4)`` per image.
            sizes: Height and width of each image without padding.

        Returns:
            The stages; per image the final boxes ``(P, 4)``, not clipped, and the mean
            probabilities ``(P, K + 1)``.
        """
        stages: list[Stage] = []
        moved = list(boxes)
        for number, weights in enumerate(BOX_WEIGHTS):
            given = (
                moved if not stages else [clip(*pair) for pair in zip(moved, sizes, strict=True)]
            )
            stages.append(self.look(number, maps, given))
            found = decode(stages[-1].deltas, torch.cat(given), weights)
            moved = list(found.split([len(one) for one in given]))
        mean = sum(stage.logits.softmax(dim=-1) for stage in stages) / len(stages)
        assert isinstance(mean, Tensor)
        return stages, moved, list(mean.split([len(one) for one in moved]))

    def mask_logits(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Return logits ``(N, K, 28, 28)`` of boxes, images one after the other."""
        logits: Tensor = self.mask_head(POOLING(maps, boxes, MASK_SIDE))
        return logits


class Proposals(nn.Module):
    """The proposal head and the anchors of its five levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rpn_head = ProposalHead(width)

    def forward(
        self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]], limits: Limits
    ) -> list[tuple[Tensor, Tensor]]:
        """Return per image the proposals ``(P, 4)`` and their logits ``(P,)``."""
        logits, deltas = self.rpn_head(maps)
        return self.choose(logits, deltas, sizes, limits)

    def choose(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        limits: Limits,
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the same from the head's maps."""
        anchors = [
            grid_anchors(centred_anchors(size).to(one.device), (one.shape[2], one.shape[3]), stride)
            for one, size, stride in zip(logits, ANCHOR_SIZES, STRIDES, strict=True)
        ]
        scores, shifts = [flat_logits(one) for one in logits], [flat_deltas(one) for one in deltas]
        found = []
        for image, size in enumerate(sizes):
            boxes = [decode(d[image], a) for d, a in zip(shifts, anchors, strict=True)]
            found.append(choose(boxes, [one[image] for one in scores], size, limits))
        return found


class CascadeRCNN(nn.Module):
    """The whole network."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.backbone = Pyramid(sizes.trunk, sizes.pyramid)
        self.proposal_generator = Proposals(sizes.pyramid)
        self.roi_heads = CascadeHeads(sizes)

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        limits: Limits | None = None,
        selection: Selection | None = None,
        pooled_at: str = "stage",
        masks: bool = False,
    ) -> list[Detections]:
        """Return the detections of each image, with vectors.

        Args:
            images: ``(B, 3, H, W)`` BGR minus `MEAN`, padded.
            sizes: Height and width of each image without padding.
            limits: How many proposals pass.
            selection: Which of them become detections.
            pooled_at: Where the vectors are taken: ``stage`` or ``final``, see the module.
            masks: Whether masks are wanted.
        """
        maps = self.backbone(images)
        proposals = self.proposal_generator(maps, sizes, limits or Limits())
        boxes = [box for box, _ in proposals]
        stages, final, scores = self.roi_heads.cascade(maps, boxes, sizes)
        rule = selection or Selection()
        found = [select(*one, rule) for one in zip(final, scores, sizes, strict=True)]
        found = self.with_vectors(maps, stages[-1], found, pooled_at)
        return self.with_masks(maps, found) if masks else found

    def with_vectors(
        self, maps: Sequence[Tensor], last: Stage, found: list[Detections], pooled_at: str
    ) -> list[Detections]:
        """Return the detections with vectors.

        Args:
            maps: p2 to p6.
            last: The third stage.
            found: The detections of each image.
            pooled_at: ``stage`` or ``final``.
        """
        counts = [len(one.boxes) for one in found]
        if pooled_at == "final":
            linear = self.roi_heads.look(
                len(BOX_WEIGHTS) - 1, maps, [f.boxes for f in found]
            ).linear
            parts = linear.split(counts)
        else:
            rows = last.linear.split([len(boxes) for boxes in last.boxes])
            parts = tuple(part[one.rows] for part, one in zip(rows, found, strict=True))
        return [replace(one, linear=part) for one, part in zip(found, parts, strict=True)]

    def with_masks(self, maps: Sequence[Tensor], found: list[Detections]) -> list[Detections]:
        """Return the detections with masks."""
        logits = self.roi_heads.mask_logits(maps, [one.boxes for one in found])
        parts = logits.split([len(one.boxes) for one in found])
        own = [
            part[torch.arange(len(part), device=part.device), one.classes].sigmoid()
            for part, one in zip(parts, found, strict=True)
        ]
        return [replace(one, masks=mask) for one, mask in zip(found, own, strict=True)]


def select(boxes: Tensor, scores: Tensor, size: tuple[int, int], rule: Selection) -> Detections:
    """Return the detections of one image: every pair of box and class is judged.

    Args:
        boxes: Final boxes ``(P, 4)``.
        scores: Probabilities ``(P, K + 1)``, background last.
        size: Height and width of the image without padding.
        rule: The thresholds.
    """
    finite = boxes.isfinite().all(dim=1) & scores.isfinite().all(dim=1)
    (rows,) = finite.nonzero(as_tuple=True)
    boxes, scores = clip(boxes[finite], size), scores[finite, :-1]
    place, kind = (scores > rule.threshold).nonzero(as_tuple=True)
    certain = scores[place, kind]
    kept = batched_nms(boxes[place], certain, kind, rule.nms_iou)[: rule.most]
    return Detections(boxes[place[kept]], certain[kept], kind[kept], rows[place[kept]])
