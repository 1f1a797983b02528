"""Pictures inside the page: small JPEGs as ``data:`` addresses, blurred until asked for.

``H`` height, ``W`` width; images are ``(H, W, 3)`` uint8 RGB, masks ``(H, W)`` uint8.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import RowError
from ..ingest.scan import is_uri
from ..media.images import decode_image, read_bytes
from .html import Child, Markup, element
from .numbers import shortened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THUMBNAIL_PIXELS = 160
PICTURE_PIXELS = 320
MAX_PAGE_BYTES = 4_000_000
_QUALITY = 72


@dataclass
class Gallery:
    """Makes the pictures of one page and keeps their sum bounded.

    Attributes:
        root: Folder that media paths are confined to.
        left_bytes: How much may still be put into the page.
    """

    root: Path
    left_bytes: int = MAX_PAGE_BYTES

    def sample(
        self,
        name: str | None,
        alt: str,
        *caption: Child,
        pixels: int = THUMBNAIL_PIXELS,
        terse: bool = False,
    ) -> Markup:
        """Return the figure of a sample's own image, or of the reason why there is none.

        Args:
            name: Path below the root; None when the sample has no image.
            alt: Text in place of the picture.
            caption: What stands below it.
            pixels: Longest side.
            terse: Without a picture, leave the cause to the caption.
        """
        if name is None:
            return placeholder("no image", "the sample has no image", *caption)
        if is_uri(name):
            return placeholder("remote", "the image is not on this machine", *caption)
        try:
            return self.encoded(read_bytes(self.root, name), name, alt, *caption, pixels=pixels)
        except RowError as error:
            return placeholder(error.code, error.message, *caption, terse=terse)

    def encoded(
        self,
        data: bytes,
        name: str,
        alt: str,
        *caption: Child,
        pixels: int = THUMBNAIL_PIXELS,
        covered: bool = True,
    ) -> Markup:
        """Return the figure of encoded image bytes, blurred when ``covered``.

        Raises:
            RowError: The bytes are no image.
        """
        small = thumbnail(decode_image(data, name), pixels)
        address = base64.b64encode(small).decode()
        if len(address) > self.left_bytes:
            return placeholder("left out", "the page holds enough pictures already", *caption)
        self.left_bytes -= len(address)
        source = f"data:image/jpeg;base64,{address}"
        kind = "frame blur" if covered else "frame"
        picture = element("img", src=source, alt=shortened(alt, 120), loading="lazy")
        frame = element("span", picture, class_=kind, tabindex=0)
        return element("figure", frame, element("figcaption", *caption), class_="thumb")


def placeholder(word: str, reason: str, *caption: Child, terse: bool = False) -> Markup:
    """Return the figure that stands where a picture would be, saying why there is none."""
    cause = None if terse else element("small", shortened(reason, 110))
    words = (element("b", word.replace("_", " ")), cause)
    frame = element("span", *words, class_="frame empty", title=shortened(reason, 400))
    return element("figure", frame, element("figcaption", *caption), class_="thumb")


def thumbnail(pixels: NDArray[np.uint8], longest: int) -> bytes:
    """Return an image as JPEG bytes with at most ``longest`` pixels per side, never enlarged."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def strip(figures: list[Markup]) -> Markup:
    """Return figures side by side."""
    return element("div", figures, class_="strip")
