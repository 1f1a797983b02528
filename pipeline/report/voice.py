"""A picture of a recording: waveform, pitch with voicing, and its acoustic columns over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..engine.session import Session
from ..errors import UsageError
from ..extractors.covarep import Config as CovarepConfig
from ..extractors.covarep.columns import GROUPS, NAMES
from ..media.audio import Channel, read_recording
from ..media.clips import Clip
from ..media.paths import confine
from .inspect import feature_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 1200
# Where curves and stripes begin; labels stand before.
LEFT = 130
_WAVE, _PITCH, _GAP = 160, 160, 12
# Heights of a stripe with a name of its own, and of one among others of a group.
_TALL, _LOW = 18, 6
_LETTERS = 15
# A group of more columns than this has one label.
_NAMED = 4
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
    if columns.shape[1] != len(NAMES):
        got = f"feature '{_FEATURE}' has {columns.shape[1]} columns, not {len(NAMES)}"
        raise UsageError(got, "only columns of the extractor of that name can be drawn")
    path = confine(session.root, audio)
    channel = _channel(session)
    recording = read_recording(path, audio, 16_000, channel, disk_above_s=_DISK_ABOVE_S)
    start, end = Clip(recording, row.get("start_s"), row.get("end_s")).samples()
    return draw_voice(recording.samples[start:end], columns)


def _channel(session: Session) -> Channel:
    """Return which channel the columns were computed from."""
    configs = (planned.stage.config for planned in session.plan.nodes.values())
    found = [config.channel for config in configs if isinstance(config, CovarepConfig)]
    return found[0] if found else "first"


def draw_voice(samples: NDArray[np.float64], columns: NDArray[np.float32]) -> Image.Image:
    """Return the picture of samples ``(L,)`` and columns ``(N, 74)``."""
    top = _WAVE + _PITCH + 2 * _GAP
    image = Image.new("RGB", (WIDTH, top + sum(stripe_heights())), _PAPER)
    draw = ImageDraw.Draw(image)
    _draw_wave(draw, samples)
    _draw_pitch(draw, columns, _WAVE + _GAP)
    if len(columns):
        image.paste(_shades(columns), (LEFT, top))
    _draw_labels(draw, top)
    return image


def stripe_heights() -> list[int]:
    """Return the height of each column's stripe, in their order."""
    widths = [group.stop - group.start for group in GROUPS.values()]
    return [_TALL if width <= _NAMED else _LOW for width in widths for _ in range(width)]


def _draw_labels(draw: ImageDraw.ImageDraw, top: int) -> None:
    """Write what is drawn: columns of small groups by name, large groups as a range."""
    _draw_label(draw, "waveform", 0, _WAVE)
    _draw_label(draw, "F0, 500 Hz", _WAVE + _GAP, _WAVE + _GAP + _TALL)
    _draw_label(draw, "0 Hz", top - _GAP - _TALL, top - _GAP)
    edges = top + np.concatenate([[0], np.cumsum(stripe_heights())])
    for group in GROUPS.values():
        first, last = group.start, group.stop - 1
        draw.line([(0, edges[first]), (WIDTH, edges[first])], fill=_UNVOICED)
        if last - first < _NAMED:
            for place in range(first, last + 1):
                _draw_label(draw, NAMES[place], edges[place], edges[place + 1])
        else:
            number = NAMES[last].rpartition("_")[2]
            _draw_label(draw, f"{NAMES[first]} to {number}", edges[first], edges[last + 1])


def _draw_label(draw: ImageDraw.ImageDraw, text: str, top: float, bottom: float) -> None:
    font = ImageFont.load_default(_LETTERS)
    place = (LEFT - 8, (top + bottom) / 2)
    draw.text(place, text, fill=_INK, font=font, anchor="rm")


def _draw_wave(draw: ImageDraw.ImageDraw, samples: NDArray[np.float64]) -> None:
    if len(samples) == 0:
        return
    # Without a copy, since a recording of an hour lies on disk.
    loudest = max(float(samples.max()), -float(samples.min())) or 1.0
    edges = np.linspace(0, len(samples), WIDTH - LEFT + 1).astype(int)
    for x in range(WIDTH - LEFT):
        part = samples[edges[x] : max(edges[x + 1], edges[x] + 1)]
        low, high = (_WAVE / 2 * (1 - value / loudest) for value in (part.max(), part.min()))
        draw.line([(LEFT + x, low), (LEFT + x, high)], fill=_INK)


def _draw_pitch(draw: ImageDraw.ImageDraw, columns: NDArray[np.float32], top: int) -> None:
    draw.line([(LEFT, top + _PITCH), (WIDTH, top + _PITCH)], fill=_UNVOICED)
    for row, (f0, voiced) in enumerate(columns[:, :2]):
        x = LEFT + (row + 0.5) * (WIDTH - LEFT) / len(columns)
        y = top + _PITCH * (1 - min(float(f0), _HIGHEST_HZ) / _HIGHEST_HZ)
        colour = _VOICED if voiced else _UNVOICED
        draw.ellipse([(x - 1, y - 1), (x + 1, y + 1)], fill=colour)


def _shades(columns: NDArray[np.float32]) -> Image.Image:
    """Return one stripe per column, each scaled to its own range without the outermost 2 %."""
    low, high = np.percentile(columns, [2, 98], axis=0)
    span = np.where(high > low, high - low, 1.0)
    level = np.clip((columns - low) / span, 0.0, 1.0)
    grey = np.repeat((255 * (1 - level.T)).astype(np.uint8), stripe_heights(), axis=0)
    size = (WIDTH - LEFT, len(grey))
    return Image.fromarray(grey).resize(size, Image.Resampling.NEAREST).convert("RGB")
