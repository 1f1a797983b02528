"""The items that are wrong or unusual on purpose, each with a name that says how.

The first group cannot be decoded; the second is unusual and must decode; the third has odd
captions or labels; the last two pairs are duplicates.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from .lettering import Quad, lettered, watermark

HOST = "imgflip.com"


@dataclass(frozen=True, slots=True)
class Meme:
    """One row and its picture.

    Attributes:
        name: File name.
        split: Official split.
        picture: RGB, lettered.
        boxes: Where the letters are.
        row: The other fields of the row.
        encoded: The file's bytes where they are special; None when there is no file.
        plain: Whether the picture is encoded as its name says.
    """

    name: str
    split: str
    picture: Image.Image
    boxes: list[Quad]
    row: dict[str, Any]
    encoded: bytes | None = None
    plain: bool = True


# Gives a meme by number: one that no other item uses.
Fresh = Callable[[int], Meme]


def odd_memes(fresh: Fresh) -> Iterator[Meme]:
    """Yield every deliberate defect, always the same sixteen in the same order."""
    yield from _broken(fresh)
    yield from _unusual(fresh)
    yield from _odd_rows(fresh)
    yield from _near_duplicates(fresh)
    yield from _repeated_caption(fresh)


def jpeg(image: Image.Image, quality: int = 88) -> bytes:
    """Return the image as JPEG bytes."""
    return _saved(image, "JPEG", quality=quality)


def png(image: Image.Image) -> bytes:
    """Return the image as PNG bytes."""
    return _saved(image, "PNG", compress_level=4)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _special(meme: Meme, name: str, encoded: bytes | None, note: str) -> Meme:
    row = {**meme.row, "note": note}
    return replace(meme, name=name, encoded=encoded, plain=False, row=row)


def _broken(fresh: Fresh) -> Iterator[Meme]:
    meme = fresh(0)
    whole = jpeg(meme.picture)
    cut = whole[: len(whole) * 55 // 100]
    yield _special(meme, "broken_truncated.jpg", cut, "the file ends after 55 % of its bytes")
    yield _special(fresh(1), "broken_empty.png", b"", "zero bytes")
    yield _special(fresh(2), "broken_missing.jpg", None, "listed, but there is no file")
    text = b"This is a text file with the name of a picture.\n"
    yield _special(fresh(3), "broken_text.png", text, "a text file")


def _unusual(fresh: Fresh) -> Iterator[Meme]:
    meme = fresh(4)
    yield _special(meme, "odd_cmyk.jpg", jpeg(meme.picture.convert("CMYK"), 92), "CMYK colours")
    meme = fresh(5)
    yield _special(meme, "odd_palette.png", _palette(meme.picture), "palette with transparency")
    meme = fresh(6)
    yield _special(meme, "odd_16bit.png", _sixteen_bit(meme.picture), "16-bit grey")
    meme = fresh(7)
    mirrored = meme.picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    frames = [meme.picture.quantize(128), mirrored.quantize(128)]
    moving = _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=500)
    yield _special(meme, "odd_animated.gif", moving, "two frames; the first one counts")


def _palette(image: Image.Image) -> bytes:
    """Return a palette PNG whose index 255 is transparent, along the left and right edge."""
    reduced = image.quantize(255)
    indexed = np.array(reduced)
    edge = max(4, image.width // 100)
    indexed[:, :edge] = 255
    indexed[:, -edge:] = 255
    palette = (reduced.getpalette() or [])[: 255 * 3]
    picture = Image.fromarray(indexed, mode="P")
    picture.putpalette(palette + [0] * (768 - len(palette)))
    return _saved(picture, "PNG", transparency=255)


def _sixteen_bit(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return png(Image.fromarray(grey))


def _odd_rows(fresh: Fresh) -> Iterator[Meme]:
    meme = fresh(8)
    row = {**meme.row, "text": "", "note": "no caption"}
    bare = meme.row["scene_only"]
    yield replace(meme, name="odd_no_caption.jpg", picture=bare, boxes=[], row=row)
    meme = fresh(9)
    row = {**meme.row, "text": "#NAME?", "note": "the caption is a spreadsheet's error"}
    yield replace(meme, name="odd_spreadsheet_error.jpg", row=row)
    meme = fresh(10)
    picture = meme.picture.copy()
    boxes = [*meme.boxes, watermark(picture, HOST)]
    text = f'<div class="caption"><b>{meme.row["text"]}</b><br/></div> {HOST}'
    row = {**meme.row, "text": text, "note": "markup and a watermark host in the caption"}
    yield replace(meme, name="odd_markup.jpg", picture=picture, boxes=boxes, row=row)
    meme = fresh(11)
    row = {**meme.row, "sentiment": "ecstatic", "note": "the sentiment is in no vocabulary"}
    yield replace(meme, name="odd_unknown_label.jpg", row=row)


def _near_duplicates(fresh: Fresh) -> Iterator[Meme]:
    """Yield one picture twice: brighter, compressed harder, otherwise labelled; both in train."""
    meme = fresh(12)
    first = {**meme.row, "sentiment": "positive", "note": "near-duplicate of near_duplicate_b.jpg"}
    yield replace(meme, name="near_duplicate_a.jpg", split="train", row=first)
    paler = ImageEnhance.Brightness(meme.picture).enhance(1.06)
    second = {**first, "sentiment": "negative", "note": "near-duplicate of near_duplicate_a.jpg"}
    second["text"] = f"{meme.row['text']} LOL"
    yield _special(
        replace(meme, split="train", row=second),
        "near_duplicate_b.jpg",
        jpeg(paler, 55),
        second["note"],
    )


def _repeated_caption(fresh: Fresh) -> Iterator[Meme]:
    """Yield two pictures with the same words, in train and in test."""
    first, second = fresh(13), fresh(14)
    note = "the same caption as in the other split"
    row = {**first.row, "note": note}
    yield replace(first, name="repeated_caption_a.jpg", split="train", row=row)
    words = first.row["text"].lower()
    picture, boxes = lettered(second.row["scene_only"], words, "", "banner")
    row = {**row, "style": "banner", "mood": second.row["mood"]}
    yield replace(
        second, name="repeated_caption_b.jpg", split="test", row=row, picture=picture, boxes=boxes
    )
