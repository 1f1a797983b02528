"""The size at which a picture is searched for text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def detection_size(
    width: int, height: int, min_side: int, max_side: int, multiple: int = 1
) -> tuple[int, int]:
    """Return width and height with the long side in the range and both sides multiples.

    Args:
        width: Of the picture, in pixels.
        height: Likewise.
        min_side: Smallest long side in pixels.
        max_side: Largest long side in pixels.
        multiple: Both sides are rounded to multiples of this, at least one.
    """
    longest = max(width, height)
    scale = min(max(longest, min_side), max_side) / longest
    return (
        max(multiple, round(width * scale / multiple) * multiple),
        max(multiple, round(height * scale / multiple) * multiple),
    )


def resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture at ``size`` (width, height), bilinear; the same array where equal."""
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
