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
    output, width = torch.from_numpy(out), table.shape[1]
    columns = _CHUNK_BYTES // table.itemsize
    rows = max(1, columns // max(1, width))
    scratch = np.empty((rows, min(columns, width)), table.dtype)
    for row in range(0, len(where), rows):
        some = where[row : row + rows]
        for column in range(0, width, columns):
            piece = scratch[: len(some), : width - column]
            if width <= columns:
                np.take(table, some, axis=0, out=piece, mode="clip")
            else:
                piece[0] = table[some[0], column : column + columns]
            target = output[row : row + len(some), column : column + columns]
            target.copy_(torch.from_numpy(piece))
