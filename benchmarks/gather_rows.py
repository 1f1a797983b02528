"""Taking rows of regions out of a mapped file: the kernel against what it stands in for.

Batches of 64 and of 8 rows of 100 × 2048 float16, shuffled, as stored and widened to float32; into
two arrays by turns, as when a model holds one batch while the next is made. ``read`` adds somebody
who reads every number of a batch afterwards: what past the cache is saved must not be paid there.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectflow.kernels.gather_rows import op, reference
from affectflow.kernels.gather_rows.cases import CASES

NAME = "gather_rows"
TITLE = "(j) Taking rows by number"
WIDTH = 100 * 2048
Gather = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    torch.set_num_threads(1)
    _check()
    table = _table(workdir, 130 if quick else 2_400)
    rounds, seconds = (1, 0.05) if quick else (5, 0.5)
    runs = []
    for batch in (64, 8):
        for given in ("float16", "float32"):
            for threads, read in ((1, False), (1, True), (2, False)):
                setting = {"batch": batch, "to": given, "threads": threads, "read": read}
                runs.append(setting | _compared(table, setting, rounds, seconds))
    first = runs[0]
    columns = ["batch", "to", "threads", "read", "kernel", "reference", "ratio"]
    return {
        "target": "report",
        "met": None,
        "headline": f"64 regions: {first['ratio']:.2f} × the reference as stored, "
        f"{runs[3]['ratio']:.2f} × widened to float32",
        "settings": {"width": WIDTH, "torch_threads": 1, "rounds": rounds},
        "runs": runs,
        "columns": ["rows per batch", "given as", "threads", "and read",
                    "operation, rows/s", "reference, rows/s", "ratio of medians"],
        "rows": [[one[name] for name in columns] for one in runs],
        "notes": [
            "The reference is `numpy.take`, or chunks converted by torch. Both give the same "
            "bits, checked before; medians of rounds in which they take turns.",
            f"Kernel: {'compiled' if op.kernels() else 'not available, both are the reference'}. "
            "Eight rows as stored are the reference in both.",
        ],
    }  # fmt: skip


def _check() -> None:
    """Refuse to time kernels that compute something else."""
    usual = op.PAST_CACHE_BYTES, op.WIDE_ROW_BYTES
    for limits in (usual, (0, 0)):
        op.PAST_CACHE_BYTES, op.WIDE_ROW_BYTES = limits
        for case in CASES:
            table, where = case.arrays()
            found = _lines(case.num_taken, case.num_columns, case.given)
            expected = np.empty(found.shape, found.dtype)
            op.gather_rows(table, where, found)
            reference.gather_rows(table, where, expected)
            if not np.array_equal(found, expected, equal_nan=found.dtype.kind == "f"):
                raise RuntimeError(f"{case.name}: the kernel and the reference differ")
    op.PAST_CACHE_BYTES, op.WIDE_ROW_BYTES = usual


def _table(workdir: Path, rows: int) -> np.ndarray:
    path = workdir / "rows.bin"
    generator = np.random.default_rng(0)
    with open(path, "wb") as file:
        for _ in range(rows):
            file.write(generator.standard_normal(WIDTH, np.float32).astype(np.float16).tobytes())
    return np.memmap(path, np.float16, "r", shape=(rows, WIDTH)).view(np.ndarray)


def _compared(
    table: np.ndarray, setting: dict[str, Any], rounds: int, seconds: float
) -> dict[str, Any]:
    ways: dict[str, Gather] = {"kernel": op.gather_rows, "reference": reference.gather_rows}
    each: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            each[name].append(_rate(way, table, setting, seconds))
    found = {name: statistics.median(rates) for name, rates in each.items()}
    ratio = round(found["kernel"] / found["reference"], 2)
    return found | {f"{name}_rounds": rates for name, rates in each.items()} | {"ratio": ratio}


def _rate(way: Gather, table: np.ndarray, setting: dict[str, Any], seconds: float) -> float:
    """Return rows per second of all threads together, each with two arrays of its own."""
    batch, counts = setting["batch"], [0] * setting["threads"]
    outs = [[_lines(batch, WIDTH, setting["to"]) for _ in range(2)] for _ in counts]
    start = time.perf_counter()

    def work(number: int) -> None:
        order = np.random.default_rng(number).permutation(len(table))
        turn = 0
        while time.perf_counter() - start < seconds:
            first = turn * batch % (len(table) - batch)
            out = outs[number][turn % 2]
            way(table, order[first : first + batch], out)
            if setting["read"]:
                out.view(np.int64).max()
            turn += 1
        counts[number] = turn * batch

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(counts) / (time.perf_counter() - start), 1)


def _lines(rows: int, columns: int, dtype: str) -> np.ndarray:
    """Return an array that begins at a line of the cache, touched once."""
    size = rows * columns * np.dtype(dtype).itemsize
    raw = np.ones(size + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + size].view(dtype).reshape(rows, columns)
