"""The vectorised selection rule against the rule written as loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from affectflow.pipeline.extractors.regions.selection import (
    overlapping_pairs,
    select,
    surviving,
)


def iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union else 0.0


def suppress(boxes: list[list[float]], scores: list[float], limit: float) -> list[int]:
    """Greedy suppression of one class, best first, ties in order."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou(boxes[index], boxes[other]) <= limit for other in kept):
            kept.append(index)
    return kept


def literal(
    scores: Tensor, boxes: Tensor, num_boxes: int, nms_iou: float, threshold: float
) -> tuple[list[int], list[float]]:
    """The rule as it is told: a loop over classes, then a sort."""
    # Float64 of float32 values: exact, so that loops and tensors compare the same numbers.
    rows, places = scores.tolist(), boxes.tolist()
    best = [0.0] * len(rows)
    for column in range(scores.shape[1]):
        column_scores = [row[column] for row in rows]
        for index in suppress(places, column_scores, nms_iou):
            if column_scores[index] > threshold:
                best[index] = max(best[index], column_scores[index])
    order = sorted(range(len(rows)), key=lambda i: (-best[i], i))[:num_boxes]
    return order, [best[i] for i in order]


def proposals(seed: int, number: int, classes: int, grid: int = 0) -> tuple[Tensor, Tensor]:
    """Return softmaxed scores (background dropped) and boxes, on a coarse grid if asked."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand((number, 2), generator=generator) * 60
    size = torch.rand((number, 2), generator=generator) * 40 + 1
    boxes = torch.cat([corner, corner + size], dim=1)
    if grid:
        boxes = (boxes / grid).round() * grid
    logits = torch.randn((number, classes + 1), generator=generator) * 2
    if grid:
        logits = logits.round()
    return logits.softmax(dim=1)[:, 1:], boxes


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("number", [1, 2, 37, 120])
@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_equals_the_literal_loop(seed: int, number: int, threshold: float) -> None:
    scores, boxes = proposals(seed, number, classes=9)
    indices, confidence = select(scores, boxes, 50, 0.5, threshold)
    expected = literal(scores, boxes, 50, 0.5, threshold)
    assert indices.tolist() == expected[0]
    assert confidence.tolist() == expected[1]


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_literal_loop_with_ties_and_equal_boxes(seed: int) -> None:
    scores, boxes = proposals(seed, 90, classes=5, grid=16)
    indices, confidence = select(scores, boxes, 40, 0.5, 0.0)
    expected = literal(scores, boxes, 40, 0.5, 0.0)
    assert indices.tolist() == expected[0]
    assert confidence.tolist() == expected[1]


def test_equals_the_libraries_suppression() -> None:
    from torchvision.ops import nms

    scores, boxes = proposals(3, 300, classes=4)
    kept = surviving(scores, overlapping_pairs(boxes, 0.5))
    for column in range(4):
        expected = sorted(nms(boxes, scores[:, column], 0.5).tolist())
        assert kept[:, column].nonzero().flatten().tolist() == expected


def test_many_classes_are_handled_in_blocks() -> None:
    scores, boxes = proposals(4, 40, classes=600)
    assert select(scores, boxes, 40, 0.5, 0.0)[0].tolist() == literal(scores, boxes, 40, 0.5, 0)[0]


def test_a_chain_of_overlaps_is_resolved_greedily() -> None:
    # Each box overlaps its neighbours only; the best suppresses the second, which then cannot
    # suppress the third.
    boxes = torch.tensor([[10.0 * i, 0, 10.0 * i + 40, 10] for i in range(6)])
    scores = torch.tensor([[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]])
    kept = surviving(scores, overlapping_pairs(boxes, 0.55))
    assert kept.flatten().tolist() == [True, False, True, False, True, False]


def test_overlap_of_exactly_the_limit_is_kept() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]])
    scores = torch.tensor([[0.9], [0.8]])
    assert surviving(scores, overlapping_pairs(boxes, 0.5)).all()


def test_zero_scores_fill_up_in_proposal_order() -> None:
    scores, boxes = torch.zeros((5, 3)), torch.rand((5, 4)).sort(dim=1).values[:, [0, 1, 2, 3]]
    indices, confidence = select(scores, boxes, 4, 0.5, 0.0)
    assert indices.tolist() == [0, 1, 2, 3]
    assert confidence.tolist() == [0, 0, 0, 0]


def test_boxes_without_area_and_no_proposals() -> None:
    empty = torch.zeros((3, 4))
    indices, _ = select(torch.tensor([[0.1], [0.3], [0.2]]), empty, 10, 0.5, 0.0)
    assert indices.tolist() == [1, 2, 0]
    indices, confidence = select(torch.zeros((0, 3)), torch.zeros((0, 4)), 10, 0.5, 0.0)
    assert indices.tolist() == confidence.tolist() == []
