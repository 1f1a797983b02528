"""Box arithmetic of the two families.

Boxes are xyxy in pixels. The newer family measures a box from edge to edge; the older one counts
pixels, so that a box from 3 to 3 is one pixel wide: every width and height has ``extent`` 1 added,
and limits are the last pixel instead of the border.

``N`` boxes, ``K`` boxes decoded per box, ``A`` anchors of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# A box grows at most by this factor per decoding, as a logarithm.
MAX_LOG_GROWTH = math.log(1000.0 / 16)
RATIOS = (0.5, 1.0, 2.0)
# Boxes of this many pixels a side are pooled from the level of this number.
CANONICAL_SIZE = 224
CANONICAL_LEVEL = 4


def decode(
    deltas: Tensor, boxes: Tensor, weights: Sequence[float] = (1, 1, 1, 1), extent: float = 0
) -> Tensor:
    """Return boxes moved and scaled by deltas.

    Args:
        deltas: ``(N, 4 K)``: shift of the centre in widths and heights, logarithms of the growth.
        boxes: ``(N, 4)``.
        weights: What the four deltas were multiplied by in training.
        extent: See the module.

    Returns:
        ``(N, 4 K)``, not clipped.
    """
    width = boxes[:, 2] - boxes[:, 0] + extent
    height = boxes[:, 3] - boxes[:, 1] + extent
    size = torch.stack([width, height], dim=1)[:, None]  # (N, 1, 2)
    centre = boxes[:, None, :2] + 0.5 * size
    parts = deltas.unflatten(1, (-1, 4))  # (N, K, 4)
    shift = parts[..., :2] / parts.new_tensor(weights[:2])
    growth = (parts[..., 2:] / parts.new_tensor(weights[2:])).clamp(max=MAX_LOG_GROWTH)
    middle = shift * size + centre
    half = 0.5 * (growth.exp() * size)
    return torch.cat([middle - half, middle + half - extent], dim=-1).flatten(1)


def clip(boxes: Tensor, size: tuple[int, int], extent: float = 0) -> Tensor:
    """Return boxes ``(..., 4)`` moved inside an image of height and width ``size``."""
    height, width = size
    limits = boxes.new_tensor([width, height, width, height]) - extent
    return torch.minimum(boxes.clamp(min=0), limits)


def area(boxes: Tensor, extent: float = 0) -> Tensor:
    """Return the areas ``(N,)`` of boxes ``(N, 4)``."""
    return (boxes[:, 2] - boxes[:, 0] + extent) * (boxes[:, 3] - boxes[:, 1] + extent)


def levels(boxes: Tensor, low: int, high: int, extent: float = 0, eps: float = 1e-8) -> Tensor:
    """Return the pyramid level ``(N,)`` int64 that each box is pooled from, by its size."""
    side = area(boxes, extent).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIZE + eps))
    return level.clamp(low, high).to(torch.int64)


def centred_anchors(size: float, ratios: Sequence[float] = RATIOS) -> Tensor:
    """Return anchors ``(A, 4)`` of area ``size`` squared around the origin; ratio is h / w."""
    widths = [math.sqrt(size * size / ratio) for ratio in ratios]
    pairs = [(width / 2, ratio * width / 2) for width, ratio in zip(widths, ratios, strict=True)]
    return torch.tensor([[-x, -y, x, y] for x, y in pairs], dtype=torch.float32)


def rounded_anchors(stride: int, size: float, ratios: Sequence[float] = RATIOS) -> Tensor:
    """Return the older family's anchors ``(A, 4)``: whole pixels around the middle of a cell.

    The shapes are rounded at the size of the stride and then enlarged.
    """
    rows = []
    middle = 0.5 * (stride - 1)
    for ratio in ratios:
        width = round(math.sqrt(stride * stride / ratio))
        height = round(width * ratio)
        x = 0.5 * (width * size / stride - 1)
        y = 0.5 * (height * size / stride - 1)
        rows.append([middle - x, middle - y, middle + x, middle + y])
    return torch.tensor(rows, dtype=torch.float32)


def grid_anchors(cell: Tensor, grid: tuple[int, int], stride: int) -> Tensor:
    """Return the anchors of a map, ordered by row, column and ratio.

    Args:
        cell: Anchors ``(A, 4)`` of the cell at the origin.
        grid: Rows and columns of the map.
        stride: Pixels between cells.

    Returns:
        ``(rows * columns * A, 4)``.
    """
    y = torch.arange(grid[0], device=cell.device, dtype=torch.float32) * stride
    x = torch.arange(grid[1], device=cell.device, dtype=torch.float32) * stride
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([columns, rows, columns, rows], dim=-1)  # (rows, columns, 4)
    return (shifts[:, :, None] + cell).reshape(-1, 4)
