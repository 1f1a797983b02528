"""A small dataset of a user's own, made on the fly: a CSV, pictures, and its manifest."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

MANIFEST = """\
name: mini
title: A small made-up dataset
reader: table
licence: CC0-1.0
obtain: made by the tests
tasks:
  mood: {kind: single, classes: [sad, glad]}
splits: {val: 0.1, test: 0.1, seed: 7, stratify: mood}
table:
  path: rows.csv
  columns: {key: id, text: caption, image: picture, labels: {mood: mood}}
"""

WORDS = [
    "river",
    "stone",
    "lamp",
    "cloud",
    "paper",
    "garden",
    "window",
    "bread",
    "music",
    "winter",
    "copper",
    "island",
]


def picture(index: int, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """Return a picture ``(H, W, 3)`` uint8 that differs from every other index."""
    generator = np.random.default_rng(index)
    coarse = generator.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(image)


def png(pixels: np.ndarray) -> bytes:
    """Return pixels as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def caption(index: int) -> str:
    """Return a caption that differs from every other index."""
    generator = np.random.default_rng(1000 + index)
    return " ".join(generator.choice(WORDS, 6)) + f" number {index}"


def make_corpus(folder: Path, rows: int, images: bool = False) -> Path:
    """Write a dataset of ``rows`` samples and return the path of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    with open(folder / "rows.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "caption", "picture", "mood"])
        for index in range(rows):
            name = f"images/{index:04d}.png" if images else ""
            if images:
                (folder / name).write_bytes(png(picture(index)))
            writer.writerow([f"row-{index:04d}", caption(index), name, ["sad", "glad"][index % 2]])
    manifest = folder / "mini.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    return manifest
