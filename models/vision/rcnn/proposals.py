"""The proposal head and the two rules by which its boxes are chosen (Ren et al. 2015).

``B`` batch, ``A`` anchors of a cell, ``M`` anchors of a map, ``P`` proposals of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import batched_nms, nms

from .boxes import RATIOS, clip


@dataclass(frozen=True, slots=True)
class Limits:
    """How many boxes pass.

    Attributes:
        before: Best boxes of a level that are looked at.
        level: Boxes of a level that pass suppression; only the older rule counts them.
        after: P at most.
        nms_iou: Of two boxes of a level that overlap by more, the better one is kept.
    """

    before: int = 1000
    level: int = 1000
    after: int = 1000
    nms_iou: float = 0.7


class ProposalHead(nn.Module):
    """A 3x3 convolution, one logit and four deltas per anchor, the same for every level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.objectness_logits = nn.Conv2d(width, len(RATIOS), 1)
        self.anchor_deltas = nn.Conv2d(width, 4 * len(RATIOS), 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return per level the logits ``(B, A, H, W)`` and deltas ``(B, 4 A, H, W)``."""
        hidden = [functional.relu_(self.conv(one)) for one in maps]
        logits = [self.objectness_logits(one) for one in hidden]
        return logits, [self.anchor_deltas(one) for one in hidden]


def flat_logits(logits: Tensor) -> Tensor:
    """Return ``(B, M)`` float32 in the order of anchors: row, column, ratio."""
    return logits.float().permute(0, 2, 3, 1).flatten(1)


def flat_deltas(deltas: Tensor) -> Tensor:
    """Return ``(B, M, 4)`` float32 in the order of anchors."""
    return deltas.float().unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)


def choose(
    boxes: Sequence[Tensor], logits: Sequence[Tensor], size: tuple[int, int], limits: Limits
) -> tuple[Tensor, Tensor]:
    """Return the proposals of one image: suppression per level, then the best of all levels.

    Args:
        boxes: Per level the decoded boxes ``(M, 4)``.
        logits: Per level ``(M,)``.
        size: Height and width of the image without padding.
        limits: How many pass.

    Returns:
        Boxes ``(P, 4)`` inside the image and logits ``(P,)``, best first.
    """
    tops = [one.topk(min(limits.before, len(one))) for one in logits]
    score = torch.cat([top.values for top in tops])
    box = torch.cat([one[top.indices] for one, top in zip(boxes, tops, strict=True)])
    level = torch.cat([top.indices.new_full((len(top.indices),), n) for n, top in enumerate(tops)])
    finite = box.isfinite().all(dim=1) & score.isfinite()
    box, score, level = clip(box[finite], size), score[finite], level[finite]
    solid = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
    box, score, level = box[solid], score[solid], level[solid]
    kept = batched_nms(box, score, level, limits.nms_iou)[: limits.after]
    return box[kept], score[kept]


def choose_older(
    boxes: Sequence[Tensor], logits: Sequence[Tensor], size: tuple[int, int], limits: Limits
) -> tuple[Tensor, Tensor]:
    """Return the proposals of one image by the older rule, which counts pixels.

    Per level: the best by probability, suppression, the first ``limits.level``; then the best over
    all levels. Probabilities of logits above about 16 are equal, so their order is the levels'.

    Args:
        boxes: Per level the decoded boxes ``(M, 4)``.
        logits: Per level ``(M,)``.
        size: Height and width of the padded image.
        limits: How many pass.

    Returns:
        Boxes ``(P, 4)`` and probabilities ``(P,)``, best first.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for level_boxes, level_logits in zip(boxes, logits, strict=True):
        top = level_logits.sigmoid().topk(min(limits.before, len(level_logits)))
        box, score = clip(level_boxes[top.indices], size, extent=1), top.values
        solid = (box[:, 2:] - box[:, :2] + 1 >= 0).all(dim=1)
        box, score = box[solid], score[solid]
        kept = suppress_older(box, score, limits.nms_iou)[: limits.level]
        found.append((box[kept], score[kept]))
    box, score = (torch.cat(parts) for parts in zip(*found, strict=True))
    best = score.topk(min(limits.after, len(score)))
    return box[best.indices], best.values


def suppress_older(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Return the indices of kept boxes in ascending order; sizes are counted in pixels."""
    wide = boxes + boxes.new_tensor([0, 0, 1, 1])
    return torch.sort(nms(wide, scores, iou)).values
