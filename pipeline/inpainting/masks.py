"""Masks from text quads, and pasting a filled picture into the original.

``H`` height, ``W`` width. A mask is ``(H, W)`` uint8, 255 where pixels are to be painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..text_detection import quads as geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray


def text_mask(
    quads: Sequence[NDArray[np.float32]],
    height: int,
    width: int,
    dilate_frac: float,
    min_dilate_px: int,
) -> NDArray[np.uint8]:
    """Return the mask that covers every quad with a margin for outlines and shadows.

    Args:
        quads: ``(4, 2)`` float32 each, in pixels.
        height: Of the picture, in pixels.
        width: Likewise.
        dilate_frac: Margin as a share of each quad's own text height.
        min_dilate_px: Smallest margin in pixels.
    """
    mask = np.zeros((height, width), dtype=np.uint8)
    for quad in quads:
        margin = max(min_dilate_px, round(dilate_frac * geometry.text_height(quad)))
        _cover(mask, quad, margin)
    return mask


def _cover(mask: NDArray[np.uint8], quad: NDArray[np.float32], margin: int) -> None:
    """Draw one quad, grown by a disc of ``margin`` pixels, in a window around it."""
    import cv2

    height, width = mask.shape
    low = np.floor(quad.min(axis=0)).astype(int) - margin - 1
    high = np.ceil(quad.max(axis=0)).astype(int) + margin + 2
    left, top = np.clip(low, 0, (width, height))
    right, bottom = np.clip(high, 0, (width, height))
    if left >= right or top >= bottom:
        return
    shifted = quad - np.array((left, top), dtype=np.float32)
    window = geometry.fill([shifted], bottom - top, right - left)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    grown = np.asarray(cv2.dilate(window, disc), dtype=np.uint8)
    mask[top:bottom, left:right] |= grown


def cover(mask: NDArray[np.uint8]) -> float:
    """Return the share of pixels to be painted, 0 to 1."""
    return float(np.count_nonzero(mask)) / mask.size


def composite(
    original: NDArray[np.uint8], filled: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return ``filled`` inside the mask and, bit for bit, ``original`` outside.

    Raises:
        ValueError: The filled picture has another shape or type than the original.
    """
    if filled.shape != original.shape or filled.dtype != original.dtype:
        got = f"{filled.shape} {filled.dtype}"
        raise ValueError(f"filled picture is {got}, expected {original.shape} {original.dtype}")
    return np.where(mask[:, :, None] > 0, filled, original)
