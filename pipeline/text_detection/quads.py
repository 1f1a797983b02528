"""Geometry of text quads: order of corners, height of text, filled masks, area of a union.

``Q`` quads, ``H`` height, ``W`` width. A quad is ``(4, 2)`` float32, corners x, y in pixels of the
original picture, clockwise from the upper left. Pixel centres lie on whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# OpenCV's 16-bit drawing coordinates overflow silently far outside the picture.
_FAR = 32_000


def clockwise(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the corners ``(4, 2)`` clockwise, starting with the smallest ``x + y``."""
    centre = points.mean(axis=0)
    angles = np.arctan2(points[:, 1] - centre[1], points[:, 0] - centre[0])
    # The y axis points down, so growing angles go clockwise.
    ordered = points[np.argsort(angles, kind="stable")]
    return np.roll(ordered, -int(np.argmin(ordered.sum(axis=1))), axis=0).astype(np.float32)


def box_quad(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    """Return the quad of an upright box."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.array(corners, dtype=np.float32)


def area(quad: NDArray[np.float32]) -> float:
    """Return the area in square pixels (shoelace formula)."""
    x, y = quad[:, 0].astype(np.float64), quad[:, 1].astype(np.float64)
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def text_height(quad: NDArray[np.float32]) -> float:
    """Return the shorter mean side in pixels: the height of a line, the width of a column."""
    sides = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return float(min((sides[0] + sides[2]) / 2, (sides[1] + sides[3]) / 2))


def fill(quads: Sequence[NDArray[np.float32]], height: int, width: int) -> NDArray[np.uint8]:
    """Return the mask ``(H, W)`` uint8 that is 255 inside or on the border of any quad."""
    import cv2

    mask = np.zeros((height, width), dtype=np.uint8)
    for quad in quads:
        corners = np.clip(np.rint(quad), -_FAR, _FAR).astype(np.int32)
        # One call per quad: overlapping polygons of a single call cancel out (even-odd rule).
        cv2.fillPoly(mask, [corners], 255)
    return mask


def union_area(quads: Sequence[NDArray[np.float32]], height: int, width: int) -> int:
    """Return how many pixels of the picture lie in at least one quad."""
    return int(np.count_nonzero(fill(quads, height, width)))
