"""Text detection from edges alone: lines of text are wide bands full of short, strong edges.

Needs no model. It finds captions in large type and misses thin, small and curved text; textured
pictures fool it. Good for tests, for demonstrations and where nothing else may be installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .quads import box_quad
from .scaling import detection_size, resized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .detection import DetectorConfig, Found

VERSION = 1

# Shares of the long side of the searched picture.
_GAP_BETWEEN_LETTERS = 0.03
_SMALLEST_HEIGHT = 0.015
# Grey levels: a weaker edge is texture, not type.
_WEAKEST_EDGE = 60
_SMALLEST_ASPECT = 1.4
# Share of edge pixels in a band: text lies between a bar and noise.
_EDGE_SHARE = (0.2, 0.9)
# Letters alternate: strokes per band height, at least.
_STROKES_PER_HEIGHT = 0.8


def identity(config: DetectorConfig) -> dict[str, int]:
    """Return the version of the rules in this file."""
    return {"heuristic": VERSION}


class Detector:
    """Rules over the morphological gradient."""

    def __init__(self, config: DetectorConfig, threads: int) -> None:
        self._config = config

    def detect(self, image: NDArray[np.uint8]) -> list[Found]:
        """Return quad and score of every band that looks like text in ``(H, W, 3)`` uint8 RGB."""
        import cv2

        height, width = image.shape[:2]
        size = detection_size(width, height, self._config.min_side, self._config.max_side)
        grey = np.asarray(cv2.cvtColor(resized(image, size), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        edges = strong_edges(grey)
        scale_x, scale_y = width / size[0], height / size[1]
        found: list[Found] = []
        for left, top, wide, high in bands(edges):
            score = band_score(edges[top : top + high, left : left + wide])
            if score > 0:
                right, bottom = (left + wide) * scale_x - 1, (top + high) * scale_y - 1
                found.append((box_quad(left * scale_x, top * scale_y, right, bottom), score, ""))
        return found


def strong_edges(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 where the morphological gradient of ``(h, w)`` is strong, else 0."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    gradient = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, kernel)
    otsu, _ = cv2.threshold(gradient, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return (gradient > max(otsu, _WEAKEST_EDGE)).astype(np.uint8)


def bands(edges: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Return left, top, width, height of wide groups of edges, from top to bottom."""
    import cv2

    side = max(edges.shape)
    gap = max(3, round(_GAP_BETWEEN_LETTERS * side))
    joined = cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
    # Specks and thin lines go; bands of letters stay.
    joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((3, 5), np.uint8))
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        boxes.append((left, top, width, height))
    tall = max(5, round(_SMALLEST_HEIGHT * side))
    return sorted(
        (box for box in boxes if box[3] >= tall and box[2] >= _SMALLEST_ASPECT * box[3]),
        key=lambda box: (box[1], box[0]),
    )


def band_score(edges: NDArray[np.uint8]) -> float:
    """Return 0 for what is not text, else 0.5 to 1: how often strokes alternate along the band."""
    height, width = edges.shape
    share = float(edges.mean())
    if not _EDGE_SHARE[0] <= share <= _EDGE_SHARE[1]:
        return 0.0
    changes = float(np.abs(np.diff(edges.astype(np.int8), axis=1)).sum(axis=1).mean())
    strokes_per_height = changes / 2 / (width / height)
    if strokes_per_height < _STROKES_PER_HEIGHT:
        return 0.0
    return min(1.0, 0.5 + 0.25 * (strokes_per_height - _STROKES_PER_HEIGHT))
