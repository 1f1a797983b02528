"""Colour operations of image augmentation, defined without any image library.

Pictures are ``(H, W, 3)`` float64 in [0, 1], red green blue. Each operation clips its result to
[0, 1]; nothing is rounded before `to_bytes`.

- brightness: ``x + delta``.
- contrast: ``(x - m) * factor + m`` with ``m`` the mean of the channel over the picture.
- hue and saturation in the hexcone model: ``v = max``, ``c = max - min``, ``s = c / v`` (0 for
  black); hue is a fraction of the circle, red 0, green 1/3, blue 2/3. Hue becomes
  ``(h + turn) mod 1``, saturation ``min(1, s * factor)``, ``v`` stays.
- to bytes: ``255 x`` rounded half to even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.float64]


def from_bytes(pixels: NDArray[np.uint8]) -> Picture:
    """Return uint8 pixels as float64 in [0, 1]."""
    return pixels.astype(np.float64) / 255.0


def to_bytes(picture: Picture) -> NDArray[np.uint8]:
    """Return the picture as uint8, rounded half to even."""
    return np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)


def brightness(picture: Picture, delta: float) -> Picture:
    """Add ``delta``, a fraction of the range."""
    return np.clip(picture + delta, 0.0, 1.0)


def contrast(picture: Picture, factor: float) -> Picture:
    """Stretch every channel about its mean."""
    mean = picture.mean(axis=(0, 1), keepdims=True)
    return np.clip((picture - mean) * factor + mean, 0.0, 1.0)


def hue_and_saturation(picture: Picture, turn: float, factor: float) -> Picture:
    """Turn the hue by a fraction of the circle and multiply the saturation."""
    hue, saturation, value = to_hexcone(picture)
    return from_hexcone((hue + turn) % 1.0, np.minimum(saturation * factor, 1.0), value)


def to_hexcone(picture: Picture) -> tuple[Picture, Picture, Picture]:
    """Return hue (fraction of the circle), saturation and value, each ``(H, W)``."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    value = picture.max(axis=-1)
    chroma = value - picture.min(axis=-1)
    divisor = np.where(chroma > 0, chroma, 1.0)
    sextant = np.select(
        [value == red, value == green],
        [(green - blue) / divisor, 2.0 + (blue - red) / divisor],
        4.0 + (red - green) / divisor,
    )
    saturation = np.divide(chroma, value, out=np.zeros_like(value), where=value > 0)
    return (sextant / 6.0) % 1.0, saturation, value


def from_hexcone(hue: Picture, saturation: Picture, value: Picture) -> Picture:
    """Return the picture ``(H, W, 3)`` of hue, saturation and value."""
    # Channel n (red 5, green 3, blue 1) falls from v to v(1-s) within two sextants of its corner.
    channels = []
    for corner in (5.0, 3.0, 1.0):
        position = (corner + hue * 6.0) % 6.0
        fall = np.clip(np.minimum(position, 4.0 - position), 0.0, 1.0)
        channels.append(value - value * saturation * fall)
    return np.stack(channels, axis=-1)
