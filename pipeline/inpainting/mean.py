"""Filling each hole with the mean colour of the pixels around it; for tests and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .inpainter import InpainterConfig

LIBRARIES = ("opencv-python-headless",)


def identity(config: InpainterConfig) -> dict[str, str]:
    """Return nothing: there are no weights."""
    return {}


class Inpainter:
    """One colour per connected hole."""

    def __init__(self, config: InpainterConfig) -> None:
        self._config = config

    def fill(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> list[NDArray[np.uint8]]:
        """Return the filled pictures; see `inpainter.Inpainter.fill`."""
        return [_fill_one(image, mask) for image, mask in zip(images, masks, strict=True)]


def _fill_one(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    filled = image.copy()
    count, holes = cv2.connectedComponents((mask > 0).astype(np.uint8), connectivity=8)
    for number in range(1, count):
        hole = (holes == number).astype(np.uint8)
        border = (cv2.dilate(hole, np.ones((3, 3), np.uint8)) > 0) & (mask == 0)
        if border.any():
            filled[hole > 0] = np.rint(image[border].mean(axis=0)).astype(np.uint8)
    return filled
