"""No filling: the text stays in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .inpainter import InpainterConfig

LIBRARIES = ()


def identity(config: InpainterConfig) -> dict[str, str]:
    """Return nothing: there are no weights."""
    return {}


class Inpainter:
    """Gives back what it got."""

    def __init__(self, config: InpainterConfig) -> None:
        self._config = config

    def fill(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> list[NDArray[np.uint8]]:
        """Return the pictures unchanged."""
        return list(images)
