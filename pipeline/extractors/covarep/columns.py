"""The 74 columns: names, groups, and the grid their rows lie on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Every analysis runs at this rate; row i lies at 1-based sample FIRST + HOP * i.
RATE = 16_000
HOP = 160
FIRST = 80
HOP_S = HOP / RATE
# Sample number n (from 1) is at (n - 1) / RATE seconds.
T0_S = (FIRST - 1) / RATE

GLOTTAL = ("NAQ", "QOQ", "H1H2", "PSP")
MCEP = tuple(f"MCEP_{i}" for i in range(25))
HMPDM = tuple(f"HMPDM_{i}" for i in range(25))
HMPDD = tuple(f"HMPDD_{i}" for i in range(13))
NAMES = (
    "F0",
    "VUV",
    *GLOTTAL,
    "MDQ",
    "peakSlope",
    "Rd",
    "Rd_conf",
    "creak",
    *MCEP,
    *HMPDM,
    *HMPDD,
)

# Columns that are valid or invalid together in a frame.
GROUPS = {
    "f0": slice(0, 1),
    "vuv": slice(1, 2),
    "glottal": slice(2, 6),
    "mdq": slice(6, 7),
    "peak_slope": slice(7, 8),
    "rd": slice(8, 10),
    "creak": slice(10, 11),
    "mcep": slice(11, 36),
    "hmpdm": slice(36, 61),
    "hmpdd": slice(61, 74),
}


def num_frames(num_samples: int) -> int:
    """Return the number of rows of a recording at `RATE`."""
    return max(0, (num_samples - FIRST) // HOP + 1) if num_samples >= FIRST else 0


def positions(num_samples: int) -> NDArray[np.float64]:
    """Return the 1-based sample numbers ``(N,)`` of the rows."""
    return FIRST + HOP * np.arange(num_frames(num_samples), dtype=np.float64)


def interpolate(
    at: NDArray[Any], known_at: NDArray[Any], values: NDArray[Any]
) -> NDArray[np.float64]:
    """Return ``values`` linearly interpolated, NaN outside the range that is known.

    Args:
        at: Positions wanted, ``(N,)``.
        known_at: Positions known, ascending, ``(K,)``; with one position only that one is hit.
        values: ``(K,)`` or ``(K, C)``.

    Returns:
        ``(N,)`` or ``(N, C)``.
    """
    shape = (len(at), *values.shape[1:])
    if len(known_at) == 0:
        return np.full(shape, np.nan)
    right = np.clip(np.searchsorted(known_at, at, side="left"), 1, max(1, len(known_at) - 1))
    left = right - 1
    right = np.minimum(right, len(known_at) - 1)
    width = known_at[right] - known_at[left]
    share = np.divide(at - known_at[left], width, out=np.zeros_like(at), where=width > 0)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    found = values[left] + share * (values[right] - values[left])
    found[(at < known_at[0]) | (at > known_at[-1])] = np.nan
    return np.asarray(found)


def round_away(value: NDArray[Any] | float) -> NDArray[np.int64]:
    """Return the nearest integer; halves go away from zero."""
    array = np.asarray(value, dtype=np.float64)
    return np.asarray(np.sign(array) * np.floor(np.abs(array) + 0.5)).astype(np.int64)
