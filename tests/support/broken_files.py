"""A folder of files as users have them: most readable, some damaged, some hostile."""

from __future__ import annotations

import csv
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from support.corpus import MANIFEST, caption, picture, png


def _encoded(mode: str, kind: str, index: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(index)).convert(mode).save(buffer, format=kind, **options)
    return buffer.getvalue()


def _palette_with_transparency() -> bytes:
    image = Image.fromarray(picture(101)).convert("P", palette=Image.Palette.ADAPTIVE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=0)
    return buffer.getvalue()


def _sixteen_bit() -> bytes:
    grey = picture(102)[..., 0].astype(np.uint16) * 257
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return buffer.getvalue()


def _animated_gif() -> bytes:
    frames = [Image.fromarray(picture(index)) for index in (103, 104)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """Return a small PNG that claims to be 3.6 gigapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(b"\x00" * 10_000)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


READABLE: dict[str, Callable[[], bytes]] = {
    "cmyk.jpg": lambda: _encoded("CMYK", "JPEG", 100),
    "palette.png": _palette_with_transparency,
    "sixteen.png": _sixteen_bit,
    "animated.gif": _animated_gif,
    "grey_alpha.png": lambda: _encoded("LA", "PNG", 105),
    "jpeg_inside.png": lambda: _encoded("RGB", "JPEG", 106),
    "bitmap.bmp": lambda: _encoded("RGB", "BMP", 107),
    "upper.JPE": lambda: _encoded("RGB", "JPEG", 108),
    "one_pixel.png": lambda: png(picture(109)[:1, :1]),
    "very_wide.png": lambda: png(picture(110, (4, 900))),
}

# Name, content (None: nothing is written) and the class its rows must carry.
BROKEN: dict[str, tuple[Callable[[], bytes] | None, str]] = {
    "cut.jpg": (lambda: _encoded("RGB", "JPEG", 120, quality=95)[:700], "decode_error"),
    "cut.png": (lambda: png(picture(121))[:-400], "decode_error"),
    "empty.png": (lambda: b"", "empty_file"),
    "text.png": (lambda: b"this is no picture at all", "decode_error"),
    "bomb.png": (bomb, "too_large"),
    "absent.png": (None, "missing_file"),
}

HOSTILE = {
    "outside": ("../outside.png", "path_outside_root"),
    "absolute": ("/etc/hostname", "path_outside_root"),
    "link": ("images/link.png", "path_outside_root"),
    "folder": ("images/folder.png", "not_a_file"),
}


def make_broken_corpus(folder: Path, good: int, broken: bool) -> tuple[Path, dict[str, str]]:
    """Write good samples and, when asked, every kind of broken one between them.

    Returns:
        The manifest, and for each key that must fail in the image path, its class.
    """
    images = folder / "images"
    images.mkdir(parents=True)
    rows: list[tuple[str, str, str]] = []
    for index in range(good):
        (images / f"good-{index:03d}.png").write_bytes(png(picture(index)))
        rows.append((f"good-{index:03d}", caption(index), f"images/good-{index:03d}.png"))
    for name, make in READABLE.items():
        (images / name).write_bytes(make())
        rows.append((f"readable-{name}", caption(500 + len(rows)), f"images/{name}"))
    expected: dict[str, str] = {}
    if broken:
        expected = _add_broken(folder, rows)
    with open(folder / "rows.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "caption", "picture", "mood"])
        writer.writerows([key, text, path, "glad"] for key, text, path in rows)
        if broken:
            file.write("only,three,fields\n")
            writer.writerow(["bad-label", "a caption", "images/good-000.png", "furious"])
            writer.writerow([rows[0][0], "a repeated key", "images/good-000.png", "sad"])
    manifest = folder / "mini.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    return manifest, expected


def _add_broken(folder: Path, rows: list[tuple[str, str, str]]) -> dict[str, str]:
    images = folder / "images"
    (folder.parent / "outside.png").write_bytes(png(picture(130)))
    os.symlink(folder.parent / "outside.png", images / "link.png")
    (images / "folder.png").mkdir()
    expected: dict[str, str] = {}
    for position, (name, (make, code)) in enumerate(BROKEN.items()):
        if make is not None:
            (images / name).write_bytes(make())
        rows.insert(2 * position + 1, (f"broken-{name}", caption(700 + position), f"images/{name}"))
        expected[f"broken-{name}"] = code
    for key, (path, code) in HOSTILE.items():
        rows.insert(5, (f"hostile-{key}", caption(800 + len(key)), path))
        expected[f"hostile-{key}"] = code
    return expected
