"""Pixels to what the image tower reads: resize, crop or pad, normalise.

Mode ``shortest`` gives, bit for bit, what open_clip's own evaluation transform gives. Its centre
crop cuts top and bottom off tall pictures; ``longest`` pads instead, ``squash`` changes the aspect.

``H`` height, ``W`` width, ``S`` side of the square the tower reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

ResizeMode = Literal["shortest", "longest", "squash"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

# A strip longer than this many times its width is cut to its middle before it is enlarged; the
# centre crop would drop the rest, and a 1 x 20000 picture would need gigabytes.
MAX_ASPECT = 64


def prepare_image(
    pixels: NDArray[np.uint8], side: int, mode: ResizeMode = "shortest"
) -> NDArray[np.float32]:
    """Return the network's input ``(3, S, S)`` float32 of an image ``(H, W, 3)`` uint8 RGB."""
    image = Image.fromarray(pixels)
    if mode == "shortest":
        image = _cover(_middle(image), side)
    elif mode == "longest":
        image = _contain(image, side)
    else:
        image = _resize(image, side, side)
    values = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    values -= np.asarray(MEAN, dtype=np.float32)[:, None, None]
    values /= np.asarray(STD, dtype=np.float32)[:, None, None]
    return np.ascontiguousarray(values)


def _resize(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, min(width, left + longest), min(height, top + longest)))


def _cover(image: Image.Image, side: int) -> Image.Image:
    """Scale the short side to ``side`` and cut the middle out."""
    width, height = image.size
    if width <= height:
        image = _resize(image, side, int(side * height / width))
    else:
        image = _resize(image, int(side * width / height), side)
    left, top = round((image.width - side) / 2.0), round((image.height - side) / 2.0)
    return image.crop((left, top, left + side, top + side))


def _contain(image: Image.Image, side: int) -> Image.Image:
    """Scale the long side to ``side`` and pad the rest with black."""
    ratio = max(image.size) / side
    width, height = (max(1, round(length / ratio)) for length in image.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(_resize(image, width, height), ((side - width) // 2, (side - height) // 2))
    return canvas
