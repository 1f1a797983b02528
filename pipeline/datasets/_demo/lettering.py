"""Captions drawn into pictures, with the box of every line.

A box is eight numbers, ``x1, y1, … x4, y4``: the corners clockwise from the upper left, in pixels
of the finished picture, around the ink including its outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Quad = list[float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
STYLES = ("outline", "banner", "subtitle")
_MARGIN = 0.035


@dataclass(frozen=True, slots=True)
class Pen:
    """How letters look: fill, outline and their widths as shares of the letter size."""

    fill: tuple[int, int, int]
    outline: tuple[int, int, int]
    outline_share: float
    bold_share: float

    def reach(self, size: int) -> int:
        """Return how far the ink reaches beyond the letters, in pixels."""
        return max(round(size * (self.outline_share + self.bold_share)), 0)


# The built-in font has one weight: a stroke in the fill colour makes it bold.
IMPACT = Pen((255, 255, 255), (0, 0, 0), 0.07, 0.035)
PRINT = Pen((16, 16, 18), (16, 16, 18), 0.0, 0.02)
FAINT = Pen((232, 232, 232), (60, 60, 60), 0.06, 0.0)
YELLOW = Pen((255, 228, 92), (10, 10, 10), 0.07, 0.02)


def lettered(
    image: Image.Image, top: str, bottom: str, style: str
) -> tuple[Image.Image, list[Quad]]:
    """Return the picture with its caption and the box of each line.

    Args:
        image: RGB.
        top: First part of the caption.
        bottom: Second part; may be empty.
        style: ``outline`` (above and below, white with a black outline), ``banner`` (black on a
            white band that is added above) or ``subtitle`` (all of it below, in yellow).
    """
    if style == "banner":
        return _banner(image, f"{top} {bottom}".strip())
    picture = image.copy()
    height = picture.height
    if style == "subtitle":
        text = f"{top} {bottom}".strip().capitalize()
        return picture, _block(picture, text, YELLOW, height * 0.062, height * 0.975, anchor=1.0)
    boxes = _block(picture, top, IMPACT, height * 0.095, height * 0.025, anchor=0.0)
    boxes += _block(picture, bottom, IMPACT, height * 0.095, height * 0.975, anchor=1.0)
    return picture, boxes


def watermark(image: Image.Image, text: str) -> Quad:
    """Write a small text into the lower left corner and return its box."""
    font = _font(max(11, round(image.height * 0.026)))
    return _line(ImageDraw.Draw(image), text, font, FAINT, 6, image.height - 20)


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _banner(image: Image.Image, text: str) -> tuple[Image.Image, list[Quad]]:
    size = image.height * 0.068
    trial = Image.new("RGB", (image.width, image.height))
    lowest = max(box[5] for box in _block(trial, text, PRINT, size, size * 0.45, anchor=0.0))
    band = round(lowest + size * 0.45)
    picture = Image.new("RGB", (image.width, image.height + band), (255, 255, 255))
    picture.paste(image, (0, band))
    return picture, _block(picture, text, PRINT, size, size * 0.45, anchor=0.0)


def _block(
    image: Image.Image, text: str, pen: Pen, size: float, place: float, anchor: float
) -> list[Quad]:
    """Draw wrapped lines; ``anchor`` 0 hangs them from ``place``, 1 stands them on it."""
    if not text:
        return []
    room = image.width * (1 - 2 * _MARGIN)
    letter, lines = _fitted(text, pen, round(size), room)
    font, draw = _font(letter), ImageDraw.Draw(image)
    step = letter * 1.18
    top = place - anchor * step * len(lines)
    boxes = []
    for number, line in enumerate(lines):
        left = (image.width - font.getlength(line)) / 2
        boxes.append(_line(draw, line, font, pen, left, top + number * step))
    return boxes


def _fitted(text: str, pen: Pen, size: int, room: float) -> tuple[int, list[str]]:
    """Return the largest letter size up to ``size`` at which the text takes at most three lines."""
    for letter in range(size, 9, -1):
        lines = _wrapped(text, _font(letter), room - 2 * pen.reach(letter))
        if len(lines) <= 3:
            return letter, lines
    return 10, _wrapped(text, _font(10), room)


def _wrapped(text: str, font: Font, room: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _line(
    draw: ImageDraw.ImageDraw, text: str, font: Font, pen: Pen, left: float, top: float
) -> Quad:
    size = float(getattr(font, "size", 12))
    reach, bold = pen.reach(round(size)), max(round(size * pen.bold_share), 0)
    place = (round(left), round(top))
    if reach > bold:
        draw.text(
            place, text, fill=pen.outline, font=font, stroke_width=reach, stroke_fill=pen.outline
        )
    draw.text(place, text, fill=pen.fill, font=font, stroke_width=bold, stroke_fill=pen.fill)
    box = draw.textbbox(place, text, font=font, stroke_width=max(reach, bold))
    return _quad(box)


def _quad(box: Sequence[float]) -> Quad:
    left, top, right, bottom = (float(value) for value in box)
    return [left, top, right, top, right, bottom, left, bottom]
