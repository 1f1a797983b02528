"""Batches of crops: which picture, which part and which hole follow from seed and step alone.

``B`` batch, ``S`` side of a crop in pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...errors import DatasetError, RowError
from ...media.images import decode_image
from .masks import free_form, text_like

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

MaskKind = Literal["free_form", "text_like", "both"]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

# Random streams of one seed that must not meet.
_TRAINING, _VALIDATION = 0, 1


@dataclass(frozen=True, slots=True)
class Pictures:
    """Picture files of a folder, parted by a digest of their names."""

    training: tuple[Path, ...]
    held_out: tuple[Path, ...]


def find_pictures(folder: Path, held_out: float) -> Pictures:
    """Return the pictures below a folder.

    Args:
        folder: Searched with its subfolders.
        held_out: Share (0 to 1) that is never trained on; the same files whatever else is there.

    Raises:
        DatasetError: There are too few pictures for both parts.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    kept: list[Path] = []
    rest: list[Path] = []
    for path in found:
        name = path.relative_to(folder).as_posix().encode()
        place = int.from_bytes(hashlib.sha256(name).digest()[:8], "big") / 2**64
        (rest if place < held_out else kept).append(path)
    if not kept or not rest:
        message = f"'{folder}' has {len(kept)} pictures to train on and {len(rest)} held out"
        raise DatasetError(message, "expected some of each; pass a folder with more pictures")
    return Pictures(tuple(kept), tuple(rest))


class Crops:
    """Crops of pictures with holes.

    Args:
        paths: Files; those that cannot be read are passed over for the next.
        side: S; smaller pictures are enlarged.
        masks: Kind of holes.
        seed: Of everything random.
    """

    def __init__(self, paths: Sequence[Path], side: int, masks: MaskKind, seed: int) -> None:
        self._paths, self._side, self._masks, self._seed = tuple(paths), side, masks, seed
        self._unreadable: set[int] = set()

    def batch(self, step: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the training batch of a step; see `_stack`."""
        return _stack(
            [
                self._crop(np.random.default_rng((self._seed, _TRAINING, step, n)), None)
                for n in range(size)
            ]
        )

    def fixed(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same crops at every call, each of another picture; see `_stack`."""
        return _stack(
            [
                self._crop(np.random.default_rng((self._seed, _VALIDATION, n)), n)
                for n in range(min(count, len(self._paths)))
            ]
        )

    def _crop(
        self, generator: np.random.Generator, index: int | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        chosen = int(generator.integers(len(self._paths))) if index is None else index
        picture = self._picture(chosen)
        height, width = picture.shape[:2]
        top = int(generator.integers(0, height - self._side + 1))
        left = int(generator.integers(0, width - self._side + 1))
        crop = picture[top : top + self._side, left : left + self._side]
        if index is None and generator.random() < 0.5:
            crop = crop[:, ::-1]
        return crop, self._mask(generator)

    def _mask(self, generator: np.random.Generator) -> NDArray[np.bool_]:
        bands = generator.random() < 0.5 if self._masks == "both" else self._masks == "text_like"
        make = text_like if bands else free_form
        return make(self._side, self._side, generator)

    def _picture(self, index: int) -> NDArray[np.uint8]:
        import cv2

        image = self._readable(index)
        shortest = min(image.shape[:2])
        if shortest >= self._side:
            return image
        size = [max(self._side, round(n * self._side / shortest)) for n in image.shape[:2]]
        enlarged = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        return np.asarray(enlarged, dtype=np.uint8)

    def _readable(self, index: int) -> NDArray[np.uint8]:
        """Return a picture, or the next one that can be read."""
        for step in range(len(self._paths)):
            place = (index + step) % len(self._paths)
            if place in self._unreadable:
                continue
            try:
                return decode_image(self._paths[place].read_bytes(), self._paths[place].name)
            except (RowError, OSError):
                self._unreadable.add(place)
        raise DatasetError("none of the pictures can be read", "see `pipeline verify`")


def _stack(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures ``(B, S, S, 3)`` uint8 RGB and masks ``(B, 1, S, S)`` float, 1 in holes."""
    import torch

    pictures = np.stack([crop for crop, _ in pairs])
    masks = np.stack([mask for _, mask in pairs])[:, None]
    return torch.from_numpy(pictures), torch.from_numpy(masks).float()
