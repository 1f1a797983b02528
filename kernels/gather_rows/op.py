"""`gather_rows`: rows of a table, taken by number into a batch.

``N`` rows of the table, ``W`` numbers per row, ``B`` rows taken.
"""

from __future__ import annotations

import functools
import platform
import sys
from types import ModuleType

import numpy as np

from . import reference

PAST_CACHE_BYTES = 16 << 20
"""From so many stored bytes on, batches are written past the cache.

Two batches of this size, the one that is made and the one in use, no longer fit into the 32 MiB
that cores commonly share; below, the next to read a batch finds it in the cache.
"""


def gather_rows(table: np.ndarray, where: np.ndarray, out: np.ndarray) -> None:
    """``out[i] = table[where[i]]``, without the interpreter lock.

    Args:
        table: (N, W), contiguous; may be mapped from a file and read-only.
        where: (B,) int64: row numbers, in any order, also several times.
        out: (B, W), contiguous, of the table's dtype or one that its values are converted to.

    Raises:
        IndexError: A row number outside ``[0, N)``.
        ValueError: The shapes do not agree, or an array is not contiguous.
    """
    if out.shape != (len(where), *table.shape[1:]) or table.ndim != 2:
        raise ValueError(f"rows of {table.shape} by {where.shape} do not make {out.shape}")
    if not (table.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError("table and output have to be contiguous")
    where = np.ascontiguousarray(where, np.int64)
    # As unsigned numbers, negative ones are the largest.
    if where.view(np.uint64).max(initial=0) >= len(table) and len(where):
        raise IndexError(f"rows {where.min()} to {where.max()} of {len(table)}")
    if out.size and not _with_kernel(table, where, out):
        reference.gather_rows(table, where, out)


def _with_kernel(table: np.ndarray, where: np.ndarray, out: np.ndarray) -> bool:
    """Take rows with the kernel if that is possible and faster; return whether it was done."""
    row_bytes = table.shape[1] * table.itemsize
    past_cache = len(where) * row_bytes >= PAST_CACHE_BYTES
    same = table.dtype == out.dtype
    widened = table.dtype == np.float16 and out.dtype == np.float32
    module = kernel() if (same and past_cache) or widened else None
    if module is None or row_bytes % module.LINE_BYTES:
        return False
    aligned = out.ctypes.data % module.LINE_BYTES == 0
    if same and aligned:
        gather, width = module.copying(), row_bytes
    elif widened and module.can_widen():
        gather, width = module.widening(past_cache and aligned), table.shape[1]
    else:
        return False
    gather(out.ctypes.data, table.ctypes.data, where.ctypes.data, len(where), width)
    return True


@functools.cache
def kernel() -> ModuleType | None:
    """Return the module of the kernel, or None where it cannot be compiled or was not measured."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        from . import kernel as found
    except ImportError:
        return None
    return found
