"""Perceptual hashes of images and near-duplicate pairs.

The hash is the DCT hash in common use (Zauner 2010): the picture in grey at 32x32, its 8x8 lowest
frequencies, one bit each for "above their median". Two copies of a meme differ in few bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 32
_LOW = 8
BITS = 64
# A flat picture has no low frequencies to speak of: its bits are noise and would join strangers.
_MIN_CONTRAST = 2.0


def _dct_rows() -> NDArray[np.float64]:
    index = np.arange(_SIDE)
    return np.cos(np.pi * (index + 0.5) * np.arange(_LOW)[:, None] / _SIDE)


_DCT = _dct_rows()


def perceptual_hash(pixels: NDArray[np.uint8]) -> int | None:
    """Return the 64-bit hash of an ``(H, W, 3)`` uint8 image; None for a flat one."""
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(grey, dtype=np.float64)
    if values.std() < _MIN_CONTRAST:
        return None
    low = _DCT @ values @ _DCT.T
    bits = (low > np.median(low)).ravel()
    return int(np.packbits(bits).view(">u8")[0])


def near_pairs(hashes: NDArray[np.uint64], distance: int = 6) -> Iterator[tuple[int, int]]:
    """Yield index pairs whose hashes differ in at most ``distance`` bits.

    Two such hashes agree in at least one of ``distance + 1`` bands of bits, so only rows that share
    a band are compared; equal hashes are joined in a chain instead of all pairs.
    """
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    for index, which in enumerate(inverse):
        if first[which] != index:
            yield int(first[which]), index
    edges = np.linspace(0, BITS, distance + 2).astype(int)
    for low, high in itertools.pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        band = (unique >> np.uint64(low)) & mask
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order][:1] + np.uint64(1)))
        for bucket in np.split(order, starts[1:] if len(starts) else []):
            yield from _close_in(bucket, unique, first, distance)


def _close_in(
    bucket: NDArray[np.int64],
    unique: NDArray[np.uint64],
    first: NDArray[np.int64],
    distance: int,
) -> Iterator[tuple[int, int]]:
    for position in range(len(bucket) - 1):
        here, rest = bucket[position], bucket[position + 1 :]
        close = rest[np.bitwise_count(unique[here] ^ unique[rest]) <= distance]
        for other in close:
            yield int(first[here]), int(first[other])
