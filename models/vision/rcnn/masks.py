"""Mask probabilities of boxes, drawn into the image.

``N`` boxes, ``S`` side of a mask, ``H``, ``W`` of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Return which pixels each mask covers.

    A pixel's centre is looked up in the mask bilinearly; outside the box a mask is 0.

    Args:
        masks: Probabilities ``(N, S, S)``.
        boxes: ``(N, 4)`` xyxy in pixels of the image.
        size: H and W.
        threshold: Probabilities from this on count.

    Returns:
        ``(N, H, W)`` bool.
    """
    height, width = size
    found = torch.zeros((len(masks), height, width), dtype=torch.bool, device=masks.device)
    y = torch.arange(height, device=masks.device, dtype=torch.float32) + 0.5
    x = torch.arange(width, device=masks.device, dtype=torch.float32) + 0.5
    # One at a time: all at once would take N times the image in float32.
    for place, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        left, top, right, bottom = box.unbind()
        down = (y - top) / (bottom - top) * 2 - 1
        along = (x - left) / (right - left) * 2 - 1
        grid = torch.stack(
            [along.expand(height, width), down[:, None].expand(height, width)], dim=-1
        )
        drawn = functional.grid_sample(mask[None, None].float(), grid[None], align_corners=False)
        found[place] = drawn[0, 0] >= threshold
    return found
