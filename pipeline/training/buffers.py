"""Memory of batches that nobody uses any more, given out again.

A batch of regions takes tens of megabytes. Fresh memory of that size costs more than filling it:
the kernel hands it out page by page, zeroed, and takes it back when the batch is gone.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

import numpy as np

_SMALL_BYTES = 1 << 18
# A line of the processor's cache: copying from memory that is aligned alike is fastest.
_ALIGNMENT = 64


class BufferPool:
    """Gives out arrays, and their memory again when neither NumPy nor torch refers to them.

    Args:
        spare_bytes: Most memory kept for later.
    """

    def __init__(self, spare_bytes: int = 1 << 29) -> None:
        self._spare_bytes = spare_bytes
        self._kept_bytes = 0
        self._free: dict[int, list[np.ndarray]] = {}
        # A buffer may come back while this thread holds the lock: releasing is done by the
        # garbage collector too.
        self._lock = threading.RLock()

    def take(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Return an array of this shape with arbitrary content."""
        size = dtype.itemsize
        for extent in shape:
            size *= extent
        if size < _SMALL_BYTES:
            return np.empty(shape, dtype)
        buffer = self._buffer(_size_class(size))
        array = buffer[:size].view(dtype).reshape(shape)
        # torch.from_numpy keeps the array it is given alive, not the buffer behind it.
        weakref.finalize(array, self._give_back, buffer).atexit = False
        return array

    def __reduce__(self) -> tuple[type[BufferPool], tuple[int]]:
        """Another process gets a pool of its own."""
        return BufferPool, (self._spare_bytes,)

    def _buffer(self, size: int) -> np.ndarray:
        with self._lock:
            free = self._free.get(size)
            if free:
                self._kept_bytes -= size
                return free.pop()
        raw = np.empty(size + _ALIGNMENT, np.uint8)
        skipped = -raw.ctypes.data % _ALIGNMENT
        return raw[skipped : skipped + size]

    def _give_back(self, buffer: np.ndarray) -> None:
        with self._lock:
            if self._kept_bytes + buffer.nbytes > self._spare_bytes:
                # What is kept may be of sizes that are not asked for any more.
                self._free.clear()
                self._kept_bytes = 0
            if buffer.nbytes <= self._spare_bytes:
                self._free.setdefault(buffer.nbytes, []).append(buffer)
                self._kept_bytes += buffer.nbytes


def _size_class(size: int) -> int:
    """Return the size rounded up by at most a quarter, so that similar batches share buffers."""
    step = 1 << max(0, size.bit_length() - 3)
    return -(-size // step) * step
