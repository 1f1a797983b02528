"""A picture of a recording: waveform, pitch with voicing, and its acoustic columns over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..engine.session import Session
from ..errors import UsageError
from ..media.audio import read_recording
from ..media.clips import Clip
from ..media.paths import confine
from .inspect import feature_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 1200
_WAVE, _PITCH, _ROW, _GAP = 160, 160, 6, 12
_INK, _VOICED, _UNVOICED, _PAPER = (60, 60, 60), (20, 90, 200), (200, 200, 200), (255, 255, 255)
_HIGHEST_HZ = 500.0
_FEATURE = "covarep"
_DISK_ABOVE_S = 300.0


def voice_picture(session: Session, key: str) -> Image.Image:
    """Return the picture of one sample: F0 is blue where voiced, columns are dark where high.

    Raises:
        UsageError: The sample has no recording or its acoustic columns are not in the store.
        RowError: The recording cannot be read.
    """
    row, columns = feature_of(session, key, _FEATURE)
    audio = row["audio"]
    if audio is None or columns is None:
        missing = "recording" if audio is None else f"feature '{_FEATURE}' in the store"
        raise UsageError(f"sample '{key}' has no {missing}", "nothing to draw")
    path = confine(session.root, audio)
    recording = read_recording(path, audio, 16_000, disk_above_s=_DISK_ABOVE_S)
    start, end = Clip(recording, row.get("start_s"), row.get("end_s")).samples()
    return draw_voice(recording.samples[start:end], columns)


def draw_voice(samples: NDArray[np.float64], columns: NDArray[np.float32]) -> Image.Image:
    """Return the picture of samples ``(L,)`` and columns ``(N, C)``, F0 and voicing first."""
    height = _WAVE + _PITCH + _ROW * columns.shape[1] + 2 * _GAP
    image = Image.new("RGB", (WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(image)
    _draw_wave(draw, samples)
    _draw_pitch(draw, columns, _WAVE + _GAP)
    if len(columns):
        image.paste(_shades(columns), (0, _WAVE + _PITCH + 2 * _GAP))
    return image


def _draw_wave(draw: ImageDraw.ImageDraw, samples: NDArray[np.float64]) -> None:
    if len(samples) == 0:
        return
    # Without a copy, since a recording of an hour lies on disk.
    loudest = max(float(samples.max()), -float(samples.min())) or 1.0
    edges = np.linspace(0, len(samples), WIDTH + 1).astype(int)
    for x in range(WIDTH):
        part = samples[edges[x] : max(edges[x + 1], edges[x] + 1)]
        low, high = (_WAVE / 2 * (1 - value / loudest) for value in (part.max(), part.min()))
        draw.line([(x, low), (x, high)], fill=_INK)


def _draw_pitch(draw: ImageDraw.ImageDraw, columns: NDArray[np.float32], top: int) -> None:
    draw.line([(0, top + _PITCH), (WIDTH, top + _PITCH)], fill=_UNVOICED)
    for row, (f0, voiced) in enumerate(columns[:, :2]):
        x = (row + 0.5) * WIDTH / len(columns)
        y = top + _PITCH * (1 - min(float(f0), _HIGHEST_HZ) / _HIGHEST_HZ)
        colour = _VOICED if voiced else _UNVOICED
        draw.ellipse([(x - 1, y - 1), (x + 1, y + 1)], fill=colour)


def _shades(columns: NDArray[np.float32]) -> Image.Image:
    """Return one stripe per column, each scaled to its own range without the outermost 2 %."""
    low, high = np.percentile(columns, [2, 98], axis=0)
    span = np.where(high > low, high - low, 1.0)
    level = np.clip((columns - low) / span, 0.0, 1.0)
    grey = (255 * (1 - level.T)).astype(np.uint8)
    size = (WIDTH, _ROW * columns.shape[1])
    return Image.fromarray(grey).resize(size, Image.Resampling.NEAREST).convert("RGB")
