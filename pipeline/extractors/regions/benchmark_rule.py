"""What the mmf script does before and after vqa-maskrcnn-benchmark's network.

``H``, ``W`` of the image, ``P`` proposals, ``K`` classes, ``R`` regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .selection import select

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def original_scale(height: int, width: int, min_size: int, max_size: int) -> float:
    """Return the factor an image is enlarged by.

    The short side becomes ``min_size`` unless the long one, rounded, would pass ``max_size``.
    """
    scale = min_size / min(height, width)
    if round(scale * max(height, width)) > max_size:
        scale = max_size / max(height, width)
    return scale


def scaled(pixels: NDArray[np.uint8], min_size: int, max_size: int) -> NDArray[np.float32]:
    """Return an image as the network reads it, not padded.

    Blue, green, red; the mean is subtracted before the image is enlarged bilinearly, without
    smoothing, coordinates mapped by the factor itself and not by the ratio of rounded sizes.

    Args:
        pixels: ``(H, W, 3)`` uint8 RGB.
        min_size: Pixels of the short side.
        max_size: Limit of the long side.

    Returns:
        ``(3, h, w)`` float32.
    """
    import cv2

    from affectflow.models.vision.rcnn.faster import MEAN

    height, width = pixels.shape[:2]
    scale = original_scale(height, width, min_size, max_size)
    centred = pixels[..., ::-1].astype(np.float32) - np.asarray(MEAN, dtype=np.float32)
    if round(min(height, width) * scale) < 1:
        # The original cannot read a strip that would be thinner than a pixel.
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        found = cv2.resize(centred, size, interpolation=cv2.INTER_LINEAR)
    else:
        found = cv2.resize(centred, None, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(found.transpose(2, 0, 1))


def top_regions(
    scores: Tensor,
    boxes: Tensor,
    num_boxes: int,
    nms_iou: float,
    threshold: float,
    background: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return which proposals become regions and how confident they are.

    Args:
        scores: Class probabilities ``(P, K + 1)``, background first.
        boxes: Proposals ``(P, 4)`` in original pixels; they count pixels, so a width is one more
            than the difference of the sides.
        num_boxes: R.
        nms_iou: A proposal overlapping a better one by more than this is suppressed in a class.
        threshold: Scores up to this do not count.
        background: Whether the background counts as a class.

    Returns:
        Indices ``(min(P, R),)`` int64 and confidences of the same length, descending.
    """
    wide = boxes + boxes.new_tensor([0, 0, 1, 1])
    foreground = scores if background else scores[:, 1:]
    return select(foreground, wide, num_boxes, nms_iou, threshold)
