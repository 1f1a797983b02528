"""Pictures that stand in the page itself."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from ..html import Markup, element


@dataclass(frozen=True)
class Picture:
    """A picture in the page.

    Attributes:
        jpeg: Encoded, small.
        width, height: Size in the pixels that boxes are given in.
    """

    jpeg: bytes
    width: int
    height: int


def shown(picture: Picture, alternative: str) -> Markup:
    """Return the picture as an element that loads nothing."""
    address = base64.b64encode(picture.jpeg).decode()
    return element("img", src=f"data:image/jpeg;base64,{address}", alt=alternative)
