"""Shapes and types of `gather_rows`, for tests and benchmark."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """One gather: ``(num_rows, num_columns)`` stored, ``num_taken`` rows taken."""

    name: str
    num_rows: int
    num_columns: int
    num_taken: int
    stored: str
    given: str

    def arrays(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the table, of arbitrary bits where they are numbers, and the rows to take."""
        generator = np.random.default_rng(seed)
        dtype = np.dtype(self.stored)
        size = self.num_rows * self.num_columns
        bits = np.frombuffer(generator.bytes(size * dtype.itemsize), np.uint8)
        table = (bits % 2 if dtype.kind == "b" else bits).view(dtype)
        # Rows come several times where more are taken than there are.
        where = generator.integers(0, max(self.num_rows, 1), self.num_taken)
        return table.reshape(self.num_rows, self.num_columns), where


CASES = (
    Case("one row of one number", 1, 1, 1, "float16", "float16"),
    Case("none taken", 3, 64, 0, "float16", "float32"),
    Case("rows of nothing", 5, 0, 3, "float16", "float32"),
    Case("one row", 5, 64, 1, "float16", "float32"),
    Case("odd sizes", 63, 65, 31, "float16", "float16"),
    Case("odd sizes, widened", 63, 65, 31, "float16", "float32"),
    Case("vectors", 1000, 512, 64, "float16", "float16"),
    Case("vectors, widened", 1000, 512, 64, "float16", "float32"),
    Case("lines of the cache", 200, 32, 1000, "float16", "float32"),
    Case("float32", 100, 768, 63, "float32", "float32"),
    Case("double to single", 20, 64, 7, "float64", "float32"),
    Case("integers", 50, 64, 33, "int32", "int64"),
    Case("halves of integers", 50, 64, 33, "int16", "float32"),
    Case("single of integers", 50, 64, 33, "int32", "float32"),
    Case("bytes", 50, 640, 33, "uint8", "uint8"),
    Case("truth values", 50, 64, 33, "bool", "int64"),
    Case("regions", 70, 100 * 2048, 63, "float16", "float16"),
    Case("regions, widened", 70, 100 * 2048, 63, "float16", "float32"),
    Case("a row wider than a chunk", 5, 40_001, 4, "float16", "float32"),
)
