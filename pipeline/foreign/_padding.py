"""Where a padded sequence begins and ends, found from its zeros.

``N`` rows, ``L`` padded length, ``D`` width. A step is empty when all its D values are 0; NaN and
infinities are values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Side = Literal["front", "end", "none"]
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Extents:
    """Half-open range of steps per row, (N,) int64 each; equal where a row is empty."""

    first: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        """Return N."""
        return len(self.first)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64."""
        return self.stop - self.first


def content(values: np.ndarray) -> Extents:
    """Return from the first to the last step of (N, L, D) that is not empty."""
    first = np.zeros(len(values), np.int64)
    stop = np.zeros(len(values), np.int64)
    for start in range(0, len(values), _CHUNK):
        steps = (values[start : start + _CHUNK] != 0).any(axis=2)
        found = steps.any(axis=1)
        here = slice(start, start + len(steps))
        first[here] = np.where(found, steps.argmax(axis=1), 0)
        last = steps.shape[1] - steps[:, ::-1].argmax(axis=1)
        stop[here] = np.where(found, last, 0)
    return Extents(first, stop)


def padding_side(blocks: Sequence[tuple[Extents, int]]) -> tuple[Side, float]:
    """Return on which side rows are padded, and the share of rows that say otherwise.

    A row speaks for a side when it has empty steps there and none at the other end. Silence at
    the beginning of a clip is thereby not taken for padding unless most rows look like that.

    Args:
        blocks: Where the content of the rows lies and their padded length L, per split.
    """
    front = end = lead_steps = trail_steps = 0
    for found, length in blocks:
        filled = found.lengths > 0
        lead, trail = found.first[filled], length - found.stop[filled]
        front += int(((lead > 0) & (trail == 0)).sum())
        end += int(((trail > 0) & (lead == 0)).sum())
        lead_steps += int(lead.sum())
        trail_steps += int(trail.sum())
    if front == end:
        front, end = lead_steps, trail_steps
    if front == end:
        return ("end", 0.5) if end else ("none", 0.0)
    against = min(front, end) / (front + end)
    return ("front" if front > end else "end"), against


def side_of_lengths(
    blocks: Sequence[tuple[Extents, int]], lengths: Sequence[np.ndarray]
) -> tuple[Side, float]:
    """Return the padded side by given lengths: on which side they hold what is not empty.

    Args:
        blocks: Where the content of the rows lies and their padded length L, per split.
        lengths: (N,) per split.
    """
    front = end = 0
    for (found, length), given in zip(blocks, lengths, strict=True):
        filled = found.lengths > 0
        at_end, at_front = found.stop <= given, found.first >= length - given
        end += int((filled & at_end & ~at_front).sum())
        front += int((filled & at_front & ~at_end).sum())
    if front == end:
        return padding_side(blocks)
    against = min(front, end) / (front + end)
    return ("front" if front > end else "end"), against


def trimmed(found: Extents, length: int, side: Side) -> Extents:
    """Return the rows without the empty steps on the padded side; empty rows stay empty."""
    filled = found.lengths > 0
    first = found.first if side == "front" else np.zeros_like(found.first)
    stop = found.stop if side == "end" else np.full_like(found.stop, length)
    return Extents(np.where(filled, first, 0), np.where(filled, stop, 0))


def of_lengths(lengths: np.ndarray, length: int, side: Side) -> Extents:
    """Return the rows of given lengths; a length beyond the array is cut to it."""
    kept = np.clip(lengths, 0, length)
    if side == "front":
        return Extents(np.where(kept > 0, length - kept, 0), np.where(kept > 0, length, 0))
    return Extents(np.zeros_like(kept), kept)


def at_least(own: Extents, text: Extents) -> Extents:
    """Return ``own`` widened to the steps of the text, for rows that are not empty.

    For streams that were aligned to words: an empty frame beside a word is a frame, no padding.
    """
    both = (own.lengths > 0) & (text.lengths > 0)
    first = np.where(both, np.minimum(own.first, text.first), own.first)
    return Extents(first, np.where(both, np.maximum(own.stop, text.stop), own.stop))
