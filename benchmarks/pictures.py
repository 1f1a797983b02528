"""Generated pictures and captions for measurements where no real memes are at hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

_WORDS = [
    "when",
    "you",
    "finally",
    "and",
    "the",
    "cat",
    "monday",
    "nobody",
    "never",
    "asked",
    "about",
    "my",
    "new",
    "boss",
    "says",
    "it",
    "was",
    "friday",
    "again",
    "people",
    "think",
    "this",
    "meeting",
    "could",
    "have",
    "been",
    "an",
    "email",
    "but",
    "here",
    "we",
    "are",
]


def make_memes(root: Path, count: int, side: int, seed: int = 0) -> None:
    """Write smooth random JPEG pictures, ``labels.csv`` and ``manifest.yaml`` in ``root``.

    Args:
        root: Folder to make.
        count: Number of rows.
        side: Width and height in pixels.
        seed: Seed of pictures and captions.
    """
    generator = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    with open(root / "labels.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text"])
        for index in range(count):
            name = f"picture_{index:06d}.jpg"
            coarse = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
            picture.save(root / "images" / name, quality=85)
            words = generator.choice(_WORDS, int(generator.integers(4, 30)))
            writer.writerow([name, " ".join(words)])
    (root / "manifest.yaml").write_text(
        "name: generated\ntitle: Generated pictures\nreader: table\nlicence: none\n"
        "obtain: made by the benchmark\n"
        "table:\n  path: labels.csv\n  image_folder: images\n"
        "  columns: {key: image, image: image, text: text}\n",
        encoding="utf-8",
    )


def make_captions(root: Path, count: int, bad_every: int = 0) -> None:
    """Write ``rows.csv`` with different captions, and ``manifest.yaml``, in ``root``.

    Args:
        root: Folder to make.
        count: Number of rows.
        bad_every: One row in this many has no id and is a bad row; 0 for none.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "rows.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for index in range(count):
            words = (_WORDS[(index * step) % len(_WORDS)] for step in (1, 3, 7))
            name = "" if bad_every and index % bad_every == 7 else f"row-{index:07d}"
            writer.writerow([name, f"{' '.join(words)} number {index}"])
    (root / "manifest.yaml").write_text(
        "name: captions\ntitle: Generated captions\nreader: table\nlicence: none\n"
        "obtain: made by the benchmark\nmodalities: [text]\n"
        "table:\n  path: rows.csv\n  columns: {key: id, text: text}\n",
        encoding="utf-8",
    )
