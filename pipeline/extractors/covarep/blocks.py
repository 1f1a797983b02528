"""Signals of any length in bounded memory: arrays on disk, work cut into blocks of fixed size.

The blocks of a stage do not depend on where its arrays lie, so that a recording gives the same
bytes in memory and on disk.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

# Samples of one block of a filter, and frames or instants of one batch.
SAMPLES = 1 << 18
FRAMES = 256


def allocate(
    shape: int | tuple[int, ...], on_disk: bool, dtype: type[np.generic] = np.float64
) -> NDArray[Any]:
    """Return zeros, in memory or in an unnamed temporary file that vanishes with the array."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not on_disk or size == 0:
        return np.zeros(shape, dtype=dtype)
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def release(*arrays: NDArray[Any]) -> None:
    """Give the pages of arrays on disk back to the system; arrays in memory stay as they are."""
    for array in arrays:
        mapped = getattr(array, "_mmap", None)
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_DONTNEED)


def spans(length: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield ``(start, stop)`` of the blocks of a range."""
    for start in range(0, length, size):
        yield start, min(start + size, length)


def gather(
    signal: NDArray[np.float64], starts: NDArray[np.int64], length: int
) -> NDArray[np.float64]:
    """Return rows ``(B, length)`` of a signal, zeros where a row leaves it."""
    if len(starts) == 0:
        return np.zeros((0, length))
    low, high = int(starts.min()), int(starts.max()) + length
    if low >= 0 and high <= len(signal):
        part = np.ascontiguousarray(signal[low:high], dtype=np.float64)
    else:
        part = np.zeros(high - low)
        inside = slice(max(low, 0), max(min(high, len(signal)), 0))
        if inside.stop > inside.start:
            part[inside.start - low : inside.stop - low] = signal[inside]
    # A row for every start; `sliding_window_view` takes as long as the rows themselves.
    step = part.itemsize
    view: NDArray[np.float64] = np.ndarray(
        (len(part) - length + 1, length), part.dtype, part, 0, (step, step)
    )
    return view[starts - low]


def zero_phase(
    sections: NDArray[np.float64], signal: NDArray[np.float64], pad: int, on_disk: bool
) -> NDArray[np.float64]:
    """Return a signal filtered forwards and backwards, with an odd extension at both ends.

    Args:
        sections: Second-order sections ``(S, 6)``.
        signal: ``(L,)``, longer than ``pad``.
        pad: Samples of the extension.
        on_disk: Where the result lies.
    """
    length = len(signal)
    head = 2 * signal[0] - signal[pad:0:-1]
    tail = 2 * signal[-1] - signal[-2 : -pad - 2 : -1]
    rest = scipy.signal.sosfilt_zi(sections)
    result = allocate(length, on_disk)
    _, state = scipy.signal.sosfilt(sections, head, zi=rest * (head[0] if pad else signal[0]))
    for start, stop in spans(length, SAMPLES):
        result[start:stop], state = scipy.signal.sosfilt(sections, signal[start:stop], zi=state)
        release(result, signal)
    tail_out, state = scipy.signal.sosfilt(sections, tail, zi=state)
    backward = tail_out[::-1]
    first = backward[0] if pad else result[-1]
    _, state = scipy.signal.sosfilt(sections, backward, zi=rest * first)
    for start, stop in reversed(list(spans(length, SAMPLES))):
        done, state = scipy.signal.sosfilt(sections, result[start:stop][::-1], zi=state)
        result[start:stop] = done[::-1]
        release(result)
    return result
