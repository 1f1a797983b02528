"""Pictures with captions drawn on them, and rows that point at them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from affectflow.pipeline.records import Row, Sample

TOP, BOTTOM = "WHEN THE TEST IS GREEN", "AND NOBODY IS SURPRISED"


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a smooth picture ``(H, W, 3)`` uint8 RGB with one disc and no text."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    colours = generator.integers(60, 200, size=(3, 3)).astype(np.float64)
    across, down = (x / max(1, width - 1))[..., None], (y / max(1, height - 1))[..., None]
    picture = colours[0] * (1 - across) + colours[1] * across * (1 - down) + colours[2] * down / 2
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 6) ** 2
    picture[inside] = 255 - picture[inside]
    return np.clip(picture, 0, 255).astype(np.uint8)


def meme(height: int = 360, width: int = 480, seed: int = 0) -> np.ndarray:
    """Return a scene with two outlined captions."""
    picture = Image.fromarray(scene(height, width, seed))
    drawing = ImageDraw.Draw(picture)
    size = round(width / 17)
    font = ImageFont.load_default(size)
    for line, centre in ((TOP, size), (BOTTOM, height - size)):
        drawing.text(
            (width / 2, centre),
            line,
            fill="white",
            font=font,
            anchor="mm",
            stroke_width=2,
            stroke_fill="black",
        )
    return np.asarray(picture)


def row_of(
    folder: Path,
    picture: np.ndarray | Image.Image | None,
    upstream: Mapping[str, Any] | None = None,
    name: str = "a.png",
    **sample: Any,
) -> Row:
    """Save the picture below ``folder`` and return the row of the sample that has it."""
    if picture is not None:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(folder / name)
    facts = {"key": name, "split": "train", "image": name if picture is not None else None}
    return Row(Sample(**{**facts, **sample}), folder, upstream or {})
