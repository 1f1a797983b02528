"""Faster R-CNN with a ResNeXt-152, as vqa-maskrcnn-benchmark has it: Visual Genome, fc6 of 2048.

The model of the mmf feature files, often called "Mask R-CNN X152" although it has no masks. A
region is a *proposal*: its vector and class scores are pooled at the proposal, and the regressed
boxes are not used. It belongs to the older family: boxes count pixels, anchors have whole pixels,
ROIAlign is not aligned, frozen batch norm has no eps, the background is class 0.

The image's size is that of the padded batch, as in the original: boxes may lie in the padding.

Input: BGR minus `MEAN`, padded on the right and at the bottom with zeros to a multiple of 32.

``B`` batch, ``P`` proposals, ``D`` width of a vector, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .boxes import decode, grid_anchors, rounded_anchors
from .heads import BOX_SIDE, Predictor, TwoLayerBoxHead
from .pooling import Pooling
from .proposals import Limits, ProposalHead, choose_older, flat_deltas, flat_logits
from .pyramid import STRIDES, Pyramid
from .resnext import Trunk

# Blue, green, red; subtracted, nothing is divided.
MEAN = (102.9801, 115.9465, 122.7717)
ANCHOR_SIZES = (32, 64, 128, 256, 512)
POOLING = Pooling(aligned=False, samples=2, extent=1.0, eps=1e-6)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the network; the defaults are those of the published X-152.

    Attributes:
        pyramid: Channels of the feature pyramid.
        vector: D.
        logits: K + 1; the background is logit 0.
    """

    trunk: Trunk = field(default_factory=lambda: Trunk(norm_eps=0.0))
    pyramid: int = 512
    vector: int = 2048
    logits: int = 1601


@dataclass(frozen=True, slots=True)
class Proposed:
    """The proposals of one image, best first.

    Attributes:
        boxes: ``(P, 4)`` in pixels of the padded network input.
        objectness: ``(P,)`` probabilities.
        vectors: ``(P, D)``.
        scores: Class probabilities ``(P, K + 1)``, background first.
    """

    boxes: Tensor
    objectness: Tensor
    vectors: Tensor
    scores: Tensor


class Proposals(nn.Module):
    """The proposal head and its anchors, which the published file holds too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rpn_head = ProposalHead(width)
        for level, (stride, size) in enumerate(zip(STRIDES, ANCHOR_SIZES, strict=True)):
            self.register_buffer(f"anchors{level}", rounded_anchors(stride, size))

    def forward(
        self, maps: Sequence[Tensor], size: tuple[int, int], limits: Limits
    ) -> list[tuple[Tensor, Tensor]]:
        """Return per image the proposals ``(P, 4)`` and their probabilities ``(P,)``."""
        logits, deltas = self.rpn_head(maps)
        return self.choose(logits, deltas, size, limits)

    def choose(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        size: tuple[int, int],
        limits: Limits,
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the same from the head's maps; ``size`` is that of the padded batch."""
        anchors = [
            grid_anchors(self.get_buffer(f"anchors{level}"), (one.shape[2], one.shape[3]), stride)
            for level, (one, stride) in enumerate(zip(logits, STRIDES, strict=True))
        ]
        scores, shifts = [flat_logits(one) for one in logits], [flat_deltas(one) for one in deltas]
        found = []
        for image in range(len(logits[0])):
            boxes = [decode(d[image], a, extent=1) for d, a in zip(shifts, anchors, strict=True)]
            found.append(choose_older(boxes, [one[image] for one in scores], size, limits))
        return found


class FasterRCNN(nn.Module):
    """The whole network."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.backbone = Pyramid(sizes.trunk, sizes.pyramid)
        self.proposal_generator = Proposals(sizes.pyramid)
        self.box_head = TwoLayerBoxHead(sizes.pyramid, sizes.vector)
        self.box_predictor = Predictor(sizes.vector, sizes.logits, sizes.logits)

    def look(
        self, maps: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Run the box head on the boxes of each image.

        Returns:
            Layers by name ``(P, D)``, see `heads.TwoLayerBoxHead`; logits ``(P, K + 1)``; deltas
            ``(P, 4 K + 4)``, one box per class.
        """
        layers = self.box_head(POOLING(maps, boxes, BOX_SIDE))
        logits, deltas = self.box_predictor(layers["fc7"])
        return layers, logits, deltas

    def forward(
        self, images: Tensor, limits: Limits | None = None, layer: str = "fc6"
    ) -> list[Proposed]:
        """Return the proposals of each image with vectors and class scores.

        Args:
            images: ``(B, 3, H, W)`` BGR minus `MEAN`, padded.
            limits: How many proposals pass.
            layer: ``fc6`` or ``fc7``; with ``_linear`` before its ReLU.
        """
        maps = self.backbone(images)
        size = (images.shape[2], images.shape[3])
        proposals = self.proposal_generator(maps, size, limits or Limits())
        boxes = [box for box, _ in proposals]
        layers, logits, _ = self.look(maps, boxes)
        counts = [len(one) for one in boxes]
        parts = zip(
            proposals,
            layers[layer].float().split(counts),
            torch.softmax(logits, dim=-1).split(counts),
            strict=True,
        )
        return [
            Proposed(box, objectness, vectors, classes)
            for (box, objectness), vectors, classes in parts
        ]
