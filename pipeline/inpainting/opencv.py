"""Filling with OpenCV: Telea's fast marching or the Navier-Stokes method.

Both continue colours and lines from the border of the hole; neither invents texture.

A. Telea, "An image inpainting technique based on the fast marching method", 2004.
M. Bertalmio, A. L. Bertozzi, G. Sapiro, "Navier-Stokes, fluid dynamics, and image and video
inpainting", 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .inpainter import InpainterConfig

LIBRARIES = ("opencv-python-headless",)

# A shrunk pixel is known when at least this share of what it covers is known.
_KNOWN_SHARE = 0.25


def identity(config: InpainterConfig) -> dict[str, str]:
    """Return nothing: there are no weights."""
    return {}


class Inpainter:
    """`cv2.inpaint`, on a shrunk copy where the picture is large."""

    def __init__(self, config: InpainterConfig) -> None:
        import cv2

        flags = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}
        self._flag = flags[config.method]
        self._radius, self._side = config.radius, config.fill_side

    def fill(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> list[NDArray[np.uint8]]:
        """Return the filled pictures; see `inpainter.Inpainter.fill`."""
        return [self._fill_one(image, mask) for image, mask in zip(images, masks, strict=True)]

    def _fill_one(self, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        height, width = mask.shape
        longest = max(height, width)
        if self._side == 0 or longest <= self._side:
            return self._inpaint(image, mask)
        scale = self._side / longest
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small, small_mask = shrink(image, mask, size)
        filled = self._inpaint(small, small_mask)
        enlarged = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, dtype=np.uint8)

    def _inpaint(self, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        return np.asarray(cv2.inpaint(image, mask, self._radius, self._flag), dtype=np.uint8)


def shrink(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return picture and mask at ``size`` (width, height), averaging known pixels only.

    A plain shrink would mix the text into the pixels around the mask and smear it back.
    """
    import cv2

    known = (mask == 0).astype(np.float32)
    colours = image.astype(np.float32) * known[:, :, None]
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    mean = total / np.maximum(share, 1e-6)[:, :, None]
    hole = share < _KNOWN_SHARE
    # A picture of a few pixels may lose its last known pixel; its best-known one serves.
    hole &= share < share.max()
    small = np.clip(np.rint(np.where(hole[:, :, None], 0, mean)), 0, 255).astype(np.uint8)
    return small, hole.astype(np.uint8) * 255
