"""What every scene is painted with: gradients, noise, shaded balls, shadows, lens and film.

``H`` height, ``W`` width in pixels; colours are ``(red, green, blue)`` from 0 to 255; pictures in
the making are float arrays ``(H, W, 3)`` or Pillow images at `SCALE` times the final size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[float, float, float]
Pixels = NDArray[np.float32]

# Scenes are painted at this multiple of the final size, then reduced: smooth edges.
SCALE = 2


@dataclass(frozen=True, slots=True)
class Light:
    """Mood of a scene from -1 (gloomy) over 0 to 1 (sunny)."""

    mood: int

    def pick(self, gloomy: Any, neutral: Any, sunny: Any) -> Any:
        """Return the choice that goes with the mood."""
        return (gloomy, neutral, sunny)[self.mood + 1]


def gradient(width: int, height: int, stops: Sequence[Colour]) -> Pixels:
    """Return a vertical gradient ``(H, W, 3)`` through evenly spaced colours."""
    places = np.linspace(0, len(stops) - 1, height)
    table = np.asarray(stops, dtype=np.float64)
    rows = [np.interp(places, np.arange(len(stops)), table[:, channel]) for channel in range(3)]
    column = np.stack(rows, axis=-1).astype(np.float32)
    return np.repeat(column[:, None, :], width, axis=1)


def noise(rng: np.random.Generator, width: int, height: int, cells: int, octaves: int) -> Pixels:
    """Return smooth noise ``(H, W)`` from 0 to 1: octaves of interpolated random grids.

    Args:
        rng: Source of randomness.
        width: Pixels.
        height: Pixels.
        cells: Grid cells along the longer side in the first octave; doubled in each next one.
        octaves: Number of grids.
    """
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        number = cells * 2**octave
        shape = (max(2, round(number * height / width)), max(2, number))
        grid = Image.fromarray(rng.random(shape).astype(np.float32))
        smooth = np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        total += smooth * np.float32(0.5**octave)
    total -= total.min()
    return total / max(float(total.max()), 1e-9)


def doubled(pixels: Pixels) -> Pixels:
    """Return the pixels at twice the size: backgrounds are smooth, so half of it is enough."""
    return np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)


def image_of(pixels: Pixels) -> Image.Image:
    """Return an RGB image from float pixels, clipped to 0..255."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def pixels_of(image: Image.Image) -> Pixels:
    """Return the float pixels ``(H, W, 3)`` of an RGB image."""
    return np.asarray(image, dtype=np.float32)


def rgb(colour: Colour) -> Pixels:
    """Return a colour as (3,) float, for arithmetic with pixels."""
    return np.asarray(colour, dtype=np.float32)


def mix(first: Colour, second: Colour, share: float) -> tuple[int, int, int]:
    """Return the colour ``share`` (0 to 1) of the way from ``first`` to ``second``."""
    values = [round(a + (b - a) * share) for a, b in zip(first, second, strict=True)]
    return (values[0], values[1], values[2])


def glow(pixels: Pixels, centre: tuple[float, float], radius: float, colour: Colour) -> Pixels:
    """Return the pixels with light added around a point; ``radius`` in pixels."""
    height, width = pixels.shape[:2]
    # A Gaussian of the distance is the product of one along each axis.
    across = np.exp(-(((np.arange(width) - centre[0]) / radius) ** 2)).astype(np.float32)
    down = np.exp(-(((np.arange(height) - centre[1]) / radius) ** 2)).astype(np.float32)
    strength = np.outer(down, across)[..., None]
    return pixels + (rgb(colour) - pixels) * strength


def ball(image: Image.Image, centre: tuple[float, float], radius: float, colour: Colour) -> None:
    """Paint a sphere lit from the upper left, with a highlight, into the image."""
    size = int(2 * radius) + 2
    axis = ((np.arange(size) - size / 2 + 0.5) / radius).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    inside = np.clip(1 - x**2 - y**2, 0, 1)
    z = np.sqrt(inside)
    diffuse = np.clip(-0.5 * x - 0.6 * y + 0.62 * z, 0, 1)
    shine = np.clip(-0.45 * x - 0.55 * y + 0.7 * z, 0, 1) ** 24
    shade = rgb(colour) * (0.35 + 0.75 * diffuse[..., None])
    painted = image_of(shade + 190 * shine[..., None])
    edge = np.clip((1 - np.hypot(x, y)) * radius, 0, 1) * 255
    mask = Image.fromarray(edge.astype(np.uint8))
    image.paste(painted, (int(centre[0] - size / 2), int(centre[1] - size / 2)), mask)


def shadow(
    image: Image.Image, box: tuple[float, float, float, float], strength: float = 0.45
) -> Image.Image:
    """Return the image with a soft elliptic shadow in ``box`` (left, top, right, bottom)."""
    layer = Image.new("L", image.size, 0)
    ImageDraw.Draw(layer).ellipse(box, fill=round(255 * strength))
    blurred = layer.filter(ImageFilter.GaussianBlur((box[3] - box[1]) / 3))
    return Image.composite(Image.new("RGB", image.size, (12, 10, 14)), image, blurred)


def finished(rng: np.random.Generator, image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the scene at its final size with the edges of a lens and the grain of film."""
    pixels = pixels_of(image.resize(size, Image.Resampling.LANCZOS))
    height, width = pixels.shape[:2]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    return image_of(pixels * (1 - 0.16 * (down + across))[..., None] + 3 * grain)
