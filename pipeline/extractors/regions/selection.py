"""Which proposals become regions: the rule of the mmf extractor, for all classes at once.

For each foreground class, proposals are thinned by non-maximum suppression on their own boxes (not
on regressed ones). A proposal's confidence is the highest class score above the threshold among the
classes it survived in, else 0. The ``R`` most confident proposals are kept, ties in proposal order.

``N`` proposals, ``C`` foreground classes, ``E`` overlapping pairs, ``R`` regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Classes handled together; bounds memory at E x 256 values.
CLASS_BLOCK = 256


def select(
    scores: Tensor, boxes: Tensor, num_boxes: int, nms_iou: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """Return which proposals are kept and how confident they are.

    Args:
        scores: Foreground class probabilities ``(N, C)`` float.
        boxes: Proposals ``(N, 4)`` xyxy in original pixels.
        num_boxes: R, at most that many are kept.
        nms_iou: A proposal overlapping a better one by more than this is suppressed in a class.
        threshold: Scores up to this do not count.

    Returns:
        Indices ``(min(N, R),)`` int64 and confidences of the same length, descending.
    """
    import torch

    confidence = scores.new_zeros(scores.shape[0])
    pairs = overlapping_pairs(boxes, nms_iou)
    for block in scores.split(CLASS_BLOCK, dim=1):
        kept = surviving(block, pairs)
        counted = torch.where(kept & (block > threshold), block, block.new_zeros(()))
        if counted.shape[1]:
            confidence = torch.maximum(confidence, counted.amax(dim=1))
    ordered, indices = torch.sort(confidence, descending=True, stable=True)
    return indices[:num_boxes], ordered[:num_boxes]


def overlapping_pairs(boxes: Tensor, iou: float) -> tuple[Tensor, Tensor]:
    """Return pairs ``a != b`` of boxes, two ``(E,)`` int64, that overlap by more than ``iou``."""
    import torch

    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(dim=-1)  # (N, N)
    ratio = inter / (area[:, None] + area[None, :] - inter)
    # Two boxes without area give 0 / 0, which is not more than any threshold.
    over = ratio > iou
    over.fill_diagonal_(False)
    first, second = over.nonzero(as_tuple=True)
    return first, second


def surviving(scores: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Return which proposals ``(N, C)`` bool greedy suppression keeps, for each class on its own.

    A proposal is suppressed when a better one that overlaps it is kept; of equal ones the earlier
    is better. Better-than is acyclic, so applying this rule to its own result until nothing changes
    ends in the greedy result, after as many rounds as the longest chain of overlaps.
    """
    import torch

    first, second = pairs
    kept = torch.ones_like(scores, dtype=torch.bool)
    if not len(first):
        return kept
    mine, other = scores[first], scores[second]  # (E, C)
    beaten = (other > mine) | ((other == mine) & (second < first)[:, None])
    while True:
        hits = torch.zeros_like(scores).index_add_(
            0, first, (beaten & kept[second]).to(scores.dtype)
        )
        again = hits == 0
        if torch.equal(again, kept):
            return kept
        kept = again
