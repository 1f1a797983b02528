"""Random holes for training: boxes joined with strokes as published, and bands like captions.

Sizes are those published for pictures of 256 pixels and scale with the shorter side. ``H`` height,
``W`` width; a mask is ``(H, W)`` bool, True in holes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PUBLISHED_SIDE = 256


def free_form(height: int, width: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return a box joined with one to three brush strokes."""
    return box(height, width, generator) | strokes(height, width, generator)


def box(height: int, width: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return a square at a random place, each of its sides moved inwards by up to an eighth."""
    scale = min(height, width) / _PUBLISHED_SIDE
    side, most = max(1, round(128 * scale)), round(16 * scale)
    mask = np.zeros((height, width), dtype=bool)
    top = int(generator.integers(0, height - side + 1))
    left = int(generator.integers(0, width - side + 1))
    above, below, before, after = (int(n) for n in generator.integers(0, most + 1, 4))
    mask[top + above : top + side - below, left + before : left + side - after] = True
    return mask


def strokes(height: int, width: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return one to three broad polylines that turn back and forth, with round joints.

    A polyline runs from left to right; half of the masks are mirrored, and half turned upside down.
    The published code means to do the same and drops the mirrored copy, so that its holes are
    almost twice as frequent on the right.
    """
    canvas = np.zeros((height, width), dtype=np.uint8)
    for _ in range(int(generator.integers(1, 4))):
        _draw_stroke(canvas, generator)
    down, along = (-1 if generator.random() < 0.5 else 1 for _ in range(2))
    return np.ascontiguousarray(canvas[::down, ::along] > 0)


def _draw_stroke(canvas: NDArray[np.uint8], generator: np.random.Generator) -> None:
    import cv2

    height, width = canvas.shape
    diagonal = math.hypot(height, width)
    thickness = max(1, round(generator.integers(12, 40) * min(height, width) / _PUBLISHED_SIDE))
    middle, most = 2 * math.pi / 5, 2 * math.pi / 15
    lowest, highest = middle - generator.uniform(0, most), middle + generator.uniform(0, most)
    x, y = int(generator.integers(0, width)), int(generator.integers(0, height))
    for vertex in range(int(generator.integers(4, 12))):
        angle = generator.uniform(lowest, highest)
        if vertex % 2 == 0:
            angle = 2 * math.pi - angle
        radius = float(np.clip(generator.normal(diagonal / 8, diagonal / 16), 0, diagonal / 4))
        next_x = int(np.clip(x + radius * math.cos(angle), 0, width))
        next_y = int(np.clip(y + radius * math.sin(angle), 0, height))
        cv2.line(canvas, (x, y), (next_x, next_y), 1, thickness)
        for joint in ((x, y), (next_x, next_y)):
            cv2.circle(canvas, joint, thickness // 2, 1, -1)
        x, y = next_x, next_y


def text_like(height: int, width: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return one to three horizontal bands as broad and high as lines of a caption."""
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(int(generator.integers(1, 4))):
        broad = round(width * generator.uniform(0.6, 0.95))
        high = max(1, round(height * generator.uniform(0.08, 0.2)))
        top = int(generator.integers(0, height - high + 1))
        left = int(generator.integers(0, width - broad + 1))
        mask[top : top + high, left : left + broad] = True
    return mask
