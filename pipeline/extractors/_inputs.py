"""What extractors read of a row: clean or raw text, inpainted or original image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..media.images import load_image
from ..records import Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TextSource = Literal["clean", "raw"]
ImageSource = Literal["inpainted", "original"]


def stages_read(
    text: TextSource | None = None, image: ImageSource | None = None
) -> tuple[str, ...]:
    """Return the names of the stages whose tables the given sources come from."""
    names = ["clean_text"] if text == "clean" else []
    return (*names, "inpaint") if image == "inpainted" else tuple(names)


def read_text(row: Row, source: TextSource) -> str:
    """Return the text of a row; empty where it has none.

    Raises:
        RowError: The stage that cleans it failed for this row.
    """
    if source == "raw":
        return row.sample.text
    return str(row.read("clean_text")["text"])


def read_image(row: Row, source: ImageSource) -> NDArray[np.uint8]:
    """Return the image ``(H, W, 3)`` uint8 RGB of a row.

    Raises:
        RowAbsent: The sample has no image.
        RowError: The image cannot be read.
    """
    return load_image(row, source)
