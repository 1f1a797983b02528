"""Rows for extractor tests: small synthetic pictures, texts and sounds; no dataset, no engine."""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from affectflow.pipeline.records import Failure, Row, Sample
from affectflow.pipeline.stage import BaseStage

TEXTS = ("when the coffee is gone", "", "one two three four five six seven eight nine ten " * 4)


def picture(seed: int, width: int = 60, height: int = 44) -> np.ndarray:
    """Return a picture ``(H, W, 3)`` uint8 with blocks of colour and noise."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))
    noise = generator.integers(-20, 20, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


def make_row(
    root: Path,
    key: str,
    text: str = TEXTS[0],
    image: str | None = "default",
    upstream: Mapping[str, Any] | None = None,
    audio: str | None = "default",
) -> Row:
    """Return a row; files with a default name are made when they do not exist."""
    name = f"{key}.png" if image == "default" else image
    if image == "default" and not (root / f"{key}.png").exists():
        Image.fromarray(picture(abs(hash_of(key)))).save(root / f"{key}.png")
    sound = f"{key}.wav" if audio == "default" else audio
    if audio == "default" and not (root / f"{key}.wav").exists():
        write_sound(root / f"{key}.wav", hash_of(key))
    tables = {"clean_text": {"text": text}, "inpaint": {"image": None}, **(upstream or {})}
    sample = Sample(key=key, split="train", text=text, image=name, audio=sound)
    return Row(sample, root, tables)


def write_sound(path: Path, seed: int, seconds: float = 0.4, rate: int = 16_000) -> None:
    """Write a mono 16-bit WAV file with a buzz, whose pitch depends on the seed, and noise."""
    generator = np.random.default_rng(seed)
    phase = np.cumsum(np.full(int(seconds * rate), generator.uniform(90, 240))) / rate
    voice = sum(np.cos(2 * np.pi * k * phase) / k for k in range(1, 20))
    values = 0.1 * voice + 0.003 * generator.standard_normal(len(phase))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.rint(values * 32767), -32768, 32767).astype("<i2").tobytes())


def hash_of(key: str) -> int:
    """Return a small number that depends on the key only."""
    return int.from_bytes(key.encode()[:4].ljust(4, b"\0"), "big")


def make_rows(root: Path, number: int = 6) -> list[Row]:
    """Return rows with texts of different lengths and pictures of one size."""
    return [make_row(root, f"row{i}", TEXTS[i % len(TEXTS)]) for i in range(number)]


def run(stage: BaseStage[Any, Any], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the values of rows in order, batched by bucket as an engine would."""
    items = [stage.load(row) for row in rows]
    buckets: dict[Any, list[int]] = {}
    for place, item in enumerate(items):
        buckets.setdefault(stage.bucket(item), []).append(place)
    values: dict[int, dict[str, Any]] = {}
    for places in buckets.values():
        found = stage.compute([items[place] for place in places])
        assert len(found) == len(places)
        values.update({place: dict(one) for place, one in zip(places, found, strict=True)})
    return [values[place] for place in range(len(rows))]


def assert_close(first: Any, second: Any) -> None:
    """Compare two values of one feature: float16 to its rounding, counts and names exactly."""
    if isinstance(first, Failure) or isinstance(second, Failure):
        assert first == second
        return
    assert first.shape == second.shape
    assert first.dtype == second.dtype
    if np.issubdtype(first.dtype, np.integer):
        np.testing.assert_array_equal(first, second)
    else:
        tolerance = 2e-3 if first.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(
            first.astype(np.float64), second.astype(np.float64), rtol=tolerance, atol=tolerance
        )
