"""One decoding policy for every image: what the pixels are never depends on the caller.

Format by magic bytes, not by extension; strict (a truncated file is an error, not black rows); EXIF
orientation applied; first frame only; transparency composited on white; L, P, CMYK, 16-bit to RGB.

``H`` height, ``W`` width; images are ``(H, W, 3)`` uint8 RGB.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import RowAbsent, RowError
from ..records import Row
from .paths import check_unchanged, confine

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODE_POLICY = 1
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 256 * 1024 * 1024
# Pillow has many more plug-ins; some of them start other programs.
Image.init()
_WANTED = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "ICO")
FORMATS = tuple(name for name in _WANTED if name in Image.OPEN)
# The size is checked here, from the header, against `MAX_PIXELS`.
Image.MAX_IMAGE_PIXELS = None
# Broken metadata is no reason to refuse or to worry about a picture.
warnings.filterwarnings("ignore", module=r"PIL\.")

_WIDE_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


def read_bytes(root: Path, relative: str) -> bytes:
    """Return the bytes of a media file below ``root``.

    Raises:
        RowError: ``missing_file``, ``path_outside_root``, ``not_a_file``, ``empty_file``,
            ``too_large`` or ``unreadable_file``.
    """
    path = confine(root, relative)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            limit = MAX_FILE_BYTES // 2**20
            raise RowError("too_large", f"'{relative}' has {size} bytes, limit {limit} MiB")
        data = path.read_bytes()
    except OSError as error:
        cause = error.strerror or str(error)
        raise RowError("unreadable_file", f"'{relative}': {cause}", "check permissions") from None
    if not data:
        raise RowError("empty_file", f"'{relative}' has 0 bytes", "obtain the file again")
    return data


def decode_image(data: bytes, name: str = "image") -> NDArray[np.uint8]:
    """Return the pixels ``(H, W, 3)`` uint8 RGB of an encoded image.

    Raises:
        RowError: ``decode_error`` or ``too_large`` (more than `MAX_PIXELS` pixels).
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened, name)
            opened.load()
            return np.ascontiguousarray(np.asarray(_to_rgb(_upright(opened))))
    except UnidentifiedImageError:
        head = data[:8].hex(" ")
        message = f"'{name}' is no known image format (starts with {head})"
        raise RowError("decode_error", message, "expected JPEG, PNG, GIF, BMP, WebP") from None
    except RowError:
        raise
    except MemoryError:
        raise RowError("out_of_memory", f"'{name}' does not fit in memory", "shrink it") from None
    except Exception as error:
        # Pillow's plug-ins raise many types on damaged files; each means the same here.
        cause = f"{type(error).__name__}: {error}"
        hint = "the file is damaged or truncated; obtain it again"
        raise RowError("decode_error", f"'{name}': {cause}", hint) from None


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        limit = f"limit {MAX_PIXELS // 1_000_000} megapixels"
        raise RowError("too_large", f"'{name}' is {width}x{height}, {limit}", "shrink the image")


def _upright(image: Image.Image) -> Image.Image:
    turned = ImageOps.exif_transpose(image)
    return image if turned is None else turned


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _WIDE_MODES:
        image = _eight_bit(image)
    if image.mode in {"LA", "La", "RGBA", "RGBa", "PA"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit and wider grey to 8 bits: values above 255 mean a 16-bit range."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257.0
    elif image.mode == "F" and values.max(initial=0) <= 1.0:
        values = values * 255.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8), mode="L")


def load_original(row: Row) -> NDArray[np.uint8]:
    """Return the sample's own image ``(H, W, 3)`` uint8 RGB.

    Raises:
        RowAbsent: The sample has no image.
        RowError: The image cannot be read.
    """
    name = row.sample.image
    if name is None:
        raise RowAbsent("no_image", "the sample has no image")
    data = read_bytes(row.root, name)
    check_unchanged(hashlib.sha256(data).hexdigest(), row.sample.image_sha256, row.sample, name)
    return decode_image(data, name)


def load_image(row: Row, source: str) -> NDArray[np.uint8]:
    """Return the image a feature is taken from.

    Args:
        row: The sample.
        source: ``original``, or ``inpainted``: the picture the `inpaint` stage stored, which is
            the original where nothing was painted.
    """
    if source == "original":
        return load_original(row)
    stored = row.read("inpaint")["image"]
    return load_original(row) if stored is None else decode_image(stored, row.key)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return ``(H, W, 3)`` RGB or ``(H, W)`` grey uint8 pixels as PNG bytes, lossless."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
