"""The definition of `gather_rows`, and what computes it where the kernel does not."""

from __future__ import annotations

import numpy as np
import torch

# Bytes converted at a time: they stay in the cache of a core, and torch does not start threads
# for so few, which several workers at once would pay for.
_CHUNK_BYTES = 1 << 16


def gather_rows(table: np.ndarray, where: np.ndarray, out: np.ndarray) -> None:
    """``out[i] = table[where[i]]``; arguments as those of the operation, already checked."""
    if table.dtype == out.dtype:
        # "clip" spares a copy; every number was seen to lie inside.
        np.take(table, where, axis=0, out=out, mode="clip")
        return
    # torch converts half precision with vector instructions, NumPy number by number.
    output = torch.from_numpy(out)
    columns = max(1, _CHUNK_BYTES // table.itemsize)
    rows = max(1, columns // table.shape[1]) if table.shape[1] else len(where)
    for row in range(0, len(where), max(1, rows)):
        some = where[row : row + rows]
        for column in range(0, table.shape[1], columns):
            scratch = table[some, column : column + columns]
            target = output[row : row + len(some), column : column + columns]
            target.copy_(torch.from_numpy(scratch))
