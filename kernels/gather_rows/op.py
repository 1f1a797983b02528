"""`gather_rows`: rows of a table, taken by number into a batch.

``N`` rows of the table, ``W`` numbers per row, ``B`` rows taken.
"""

from __future__ import annotations

import functools
import logging
import platform
import sys
from typing import TYPE_CHECKING

import numpy as np

from . import reference

if TYPE_CHECKING:
    from .kernel import Gather, Kernels

PAST_CACHE_BYTES = 16 << 20
"""From so many stored bytes on, batches are written past the cache.

Two batches of this size, the one that is made and the one in use, no longer fit into the 32 MiB
that cores commonly share; below, the next to read a batch finds it in the cache.
"""
WIDE_ROW_BYTES = 2 << 10
"""Narrower rows, as stored, are never written past the cache: the kernel fetches this far ahead,
and no further than into the next row."""
_LINE_BYTES = 64


def gather_rows(table: np.ndarray, where: np.ndarray, out: np.ndarray) -> None:
    """``out[i] = table[where[i]]``, without the interpreter lock.

    Args:
        table: (N, W), contiguous; may be mapped from a file and read-only.
        where: (B,) integers: row numbers, in any order, also several times.
        out: (B, W), contiguous, of the table's dtype or one that its values are converted to, in
            memory of its own.

    Raises:
        IndexError: A row number outside ``[0, N)``.
        ValueError: Shapes do not agree, row numbers are not integers, an array is not contiguous,
            or the output is read-only or lies in the table.
    """
    _check(table, where, out)
    where = np.ascontiguousarray(where, np.int64)
    # As unsigned numbers, negative ones are the largest.
    if len(where) and where.view(np.uint64).max() >= len(table):
        raise IndexError(f"rows {where.min()} to {where.max()} of {len(table)}")
    if not out.size:
        return
    gather = _kernel_for(table, len(where), out)
    if gather is None:
        reference.gather_rows(table, where, out)
        return
    width = table.shape[1] * (table.itemsize if table.dtype == out.dtype else 1)
    gather(out.ctypes.data, table.ctypes.data, where.ctypes.data, len(where), width)


def _check(table: np.ndarray, where: np.ndarray, out: np.ndarray) -> None:
    if table.ndim != 2 or where.ndim != 1 or out.shape != (len(where), table.shape[1]):
        raise ValueError(f"{where.shape} rows of {table.shape} do not make {out.shape}")
    if where.dtype.kind not in "iu":
        raise ValueError(f"row numbers are {where.dtype}, not integers")
    if not (table.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError("table and output have to be contiguous")
    if not out.flags.writeable or np.may_share_memory(table, out):
        raise ValueError("the output is read-only or lies in the table")


def _kernel_for(table: np.ndarray, count: int, out: np.ndarray) -> Gather | None:
    """Return the kernel for this gather, or None where there is none or it gains nothing."""
    row_bytes = table.shape[1] * table.itemsize
    same = table.dtype == out.dtype and not table.dtype.hasobject
    widened = table.dtype == np.float16 and out.dtype == np.float32
    large = count * row_bytes >= PAST_CACHE_BYTES and row_bytes >= WIDE_ROW_BYTES
    past_cache = large and out.ctypes.data % _LINE_BYTES == 0
    if row_bytes % _LINE_BYTES or not (widened or (same and past_cache)):
        return None
    found = kernels()
    if found is None:
        return None
    if same:
        return found.copy
    return found.widen_past if past_cache else found.widen


@functools.cache
def kernels() -> Kernels | None:
    """Return the compiled kernels; None without llvmlite, or on machines they are not made for."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        from . import kernel

        return kernel.build()
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        logger = logging.getLogger(__name__)
        message = "llvmlite is installed and does not work (%s); NumPy makes the batches"
        logger.warning(message, error)
        return None
