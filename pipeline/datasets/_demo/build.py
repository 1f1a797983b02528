"""Building the demo dataset: ``labels.jsonl``, ``images/`` and ``audio/`` from a seed.

Everything about an item comes from a generator seeded with (seed, kind, number). Only its caption
also depends on the items before it, because no caption is written twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from ...config import Config
from . import indoors, outdoors
from .canvas import SCALE, Light, finished
from .captions import SARCASM, SENTIMENTS, Caption, CaptionWriter
from .defects import Meme, jpeg, odd_memes, png
from .lettering import STYLES, lettered
from .speech import F0_HOP_S, SAMPLE_RATE_HZ, spoken, wav_bytes

GENERATOR_VERSION = 1
_SCENES = (
    outdoors.mountains,
    indoors.cat,
    outdoors.city,
    indoors.desk,
    outdoors.sea,
    indoors.robot,
    outdoors.space,
    indoors.fruit,
)
_SIZES = ((560, 420), (480, 480), (420, 520), (600, 400), (500, 376))
_MEME, _CLIP, _ODD = range(3)
# Shares of the labels, and of scenes whose mood is that of the caption.
_SENTIMENT_SHARES = (0.33, 0.27, 0.4)
_SARCASM_SHARE = 0.3
_MOOD_AGREES = 0.7


class DemoOptions(Config):
    """Options of the demo's manifest.

    Attributes:
        items: Ordinary memes; sixteen deliberately odd ones are added.
        clips: Spoken clips.
        seed: Everything follows from it.
        label_noise: Share of ordinary rows whose sentiment is drawn anew at random.
    """

    items: int = Field(default=80, ge=1, le=20_000)
    clips: int = Field(default=12, ge=0, le=20_000)
    seed: int = Field(default=7, ge=0)
    label_noise: float = Field(default=0.1, ge=0, le=1)


@dataclass(slots=True)
class Builder:
    """Writes the dataset into an empty folder."""

    folder: Path
    options: DemoOptions
    _captions: CaptionWriter = field(default_factory=CaptionWriter)

    def build(self) -> None:
        """Write every file.

        Raises:
            OSError: The folder cannot be written.
        """
        for name in ("images", "audio"):
            (self.folder / name).mkdir()
        rows = [self._write_meme(meme) for meme in self._memes()]
        rows += [self._write_clip(number) for number in range(self.options.clips)]
        rows += [self._write_meme(meme) for meme in odd_memes(self._fresh)]
        lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows]
        (self.folder / "labels.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _rng(self, kind: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.options.seed, kind, number])

    def _memes(self) -> Iterator[Meme]:
        for number in range(self.options.items):
            extension = "png" if number % 5 == 4 else "jpg"
            yield self._meme(self._rng(_MEME, number), number, f"meme_{number:04d}.{extension}")

    def _fresh(self, number: int) -> Meme:
        return self._meme(self._rng(_ODD, number), number, f"odd_{number:02d}.jpg", noisy=False)

    def _meme(self, rng: np.random.Generator, number: int, name: str, noisy: bool = True) -> Meme:
        caption = self._caption(rng)
        mood = SENTIMENTS.index(caption.sentiment) - 1
        if rng.random() > _MOOD_AGREES:
            mood = int(rng.integers(-1, 2))
        scene = _scene(rng, number, Light(mood))
        style = STYLES[int(rng.choice(len(STYLES), p=(0.6, 0.25, 0.15)))]
        top, bottom = caption.top, caption.bottom
        if style == "outline":
            top, bottom = top.upper(), bottom.upper()
        picture, boxes = lettered(scene, top, bottom, style)
        row = self._labels(rng, caption, noisy)
        row |= {"style": style, "mood": mood, "scene_only": scene}
        return Meme(name, _split(rng), picture, boxes, row)

    def _caption(self, rng: np.random.Generator) -> Caption:
        sentiment = SENTIMENTS[int(rng.choice(3, p=_SENTIMENT_SHARES))]
        return self._captions.write(rng, sentiment, SARCASM[int(rng.random() < _SARCASM_SHARE)])

    def _labels(self, rng: np.random.Generator, caption: Caption, noisy: bool) -> dict[str, Any]:
        flipped = noisy and bool(rng.random() < self.options.label_noise)
        drawn = SENTIMENTS[int(rng.integers(len(SENTIMENTS)))]
        return {
            "text": caption.text,
            "sentiment": drawn if flipped else caption.sentiment,
            "sarcasm": caption.sarcasm,
            "noisy_label": flipped,
        }

    def _write_meme(self, meme: Meme) -> dict[str, Any]:
        encoded = meme.encoded
        if meme.plain:
            encoded = png(meme.picture) if meme.name.endswith(".png") else jpeg(meme.picture)
        if encoded is not None:
            (self.folder / "images" / meme.name).write_bytes(encoded)
        row = {name: value for name, value in meme.row.items() if name != "scene_only"}
        return {
            **row,
            "key": meme.name,
            "image": f"images/{meme.name}",
            "split": meme.split,
            "text_boxes": meme.boxes,
            "width": meme.picture.width,
            "height": meme.picture.height,
        }

    def _write_clip(self, number: int) -> dict[str, Any]:
        rng = self._rng(_CLIP, number)
        name = f"clip_{number:03d}.wav"
        caption = self._caption(rng)
        mood = SENTIMENTS.index(caption.sentiment) - 1
        syllables = max(4, round(len(caption.text.replace(" ", "")) / 3.2))
        clip = spoken(rng, syllables, mood)
        (self.folder / "audio" / name).write_bytes(wav_bytes(clip.samples))
        return {
            **self._labels(rng, caption, noisy=True),
            "text": caption.text.capitalize(),
            "key": name,
            "audio": f"audio/{name}",
            "split": _split(rng),
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "f0_hop_s": F0_HOP_S,
            "f0_hz": [round(float(value), 2) for value in clip.f0_hz],
        }


def _scene(rng: np.random.Generator, number: int, light: Light) -> Image.Image:
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    paint = _SCENES[number % len(_SCENES)]
    picture = paint(rng, width * SCALE, height * SCALE, light)
    return finished(rng, picture, (width, height))


def _split(rng: np.random.Generator) -> str:
    return str(rng.choice(("train", "val", "test"), p=(0.7, 0.15, 0.15)))
