"""Writing and reading features, in GB/s of values, against other ways to keep arrays.

Two kinds of rows: CLIP vectors (512 float16, 1 KiB) and regions (100 × 2048 float16, 400 KiB).
Reading gives one NumPy array in memory: all rows in order, or random batches of 128 rows. Writing
ends when the files are synced.
"""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .formats import ArrowColumn, Format, HuggingFace, MemoryMap, Ours

NAME = "store"
TITLE = "(b) Writing and reading features"
BATCH = 128
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    # Importing a library belongs to no format.
    import datasets  # noqa: F401

    sets = {
        "clip vectors": ((512,), 4_000 if quick else 100_000),
        "regions": ((100, 2048), 160 if quick else 2_000),
    }
    repeats = 1 if quick else 3
    cold = can_drop_caches()
    runs = []
    for name, (shape, rows) in sets.items():
        values = _values(rows, shape)
        for kind in _formats(workdir / "files", shape):
            found = _measure(kind, values, workdir / "files", repeats, cold)
            runs.append({"set": name, "format": kind.name, "rows": rows, **found})
    return {
        "target": "report",
        "met": None,
        "headline": _headline(runs),
        "settings": {"random_batch": BATCH, "repeats": repeats, "page_cache_dropped": cold},
        "runs": runs,
        "columns": [
            "values", "format", "write GB/s", "read all GB/s", "read all, cold GB/s",
            "random GB/s", "random ms per batch", "bytes ÷ values",
        ],
        "rows": [_row(one) for one in runs],
        "notes": [
            "Medians; the page cache is warm but for the column that says cold"
            + ("." if cold else ", which needs the right to drop it and was not measured."),
            "Ours is written as the engine writes: each value checked for shape and finiteness, "
            "keys and statuses stored, every shard hashed with SHA-256, synced, renamed and "
            "committed; each other format is one file, or folder, of values alone.",
            "Random batches come by key for ours and by row number for the others.",
        ],
    }  # fmt: skip


def _headline(runs: list[dict[str, Any]]) -> str:
    ours = [one for one in runs if one["format"].startswith("affectflow")]
    return "; ".join(
        f"{one['set']}: write {one['write_gbs']:.2f}, read {one['read_gbs']:.2f}, random "
        f"{one['random_gbs']:.2f} GB/s"
        for one in ours[::2]
    )


def _row(one: dict[str, Any]) -> list[Any]:
    names = ("set", "format", "write_gbs", "read_gbs", "read_cold_gbs", "random_gbs", "random_ms")
    return [*(one[name] for name in names), one["size_ratio"]]


def _values(rows: int, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.standard_normal((rows, *shape), dtype=np.float32).astype(np.float16)


def _formats(folder: Path, shape: tuple[int, ...]) -> list[Format]:
    large = 8192 if math.prod(shape) < 10_000 else 1024
    return [
        Ours(folder, shape, 256),
        Ours(folder, shape, large),
        ArrowColumn(folder, shape, tensor=False),
        ArrowColumn(folder, shape, tensor=True),
        MemoryMap(folder, shape),
        HuggingFace(folder, shape),
    ]


def _measure(
    kind: Format, values: np.ndarray, folder: Path, repeats: int, cold: bool
) -> dict[str, Any]:
    size = values.nbytes
    writes = []
    for _ in range(repeats):
        shutil.rmtree(folder, ignore_errors=True)
        writes.append(_seconds(lambda: kind.write(values)))
    kind.open()
    _check(kind, values)
    reads = [_seconds(kind.read_all) for _ in range(repeats)]
    colds = [_cold(kind) for _ in range(repeats)] if cold else []
    randoms = _random(kind, len(values), 4 if repeats == 1 else 12)
    per_batch = min(BATCH, len(values)) * size / len(values)
    random_s = statistics.median(randoms)
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return {
        "write_gbs": _rate(size, statistics.median(writes)),
        "read_gbs": _rate(size, statistics.median(reads)),
        "read_cold_gbs": _rate(size, statistics.median(colds)) if colds else None,
        "random_gbs": _rate(per_batch, random_s),
        "random_ms": round(1e3 * random_s, 3),
        "size_ratio": round(on_disk / size, 4),
        "write_s": writes,
        "read_s": reads,
        "read_cold_s": colds,
        "random_s": randoms,
    }


def _check(kind: Format, values: np.ndarray) -> None:
    rows = np.array([3, 0, len(values) - 1])
    if not np.array_equal(kind.read_all(), values):
        raise RuntimeError(f"{kind.name}: read other values than were written")
    if not np.array_equal(kind.read_rows(rows), values[rows]):
        raise RuntimeError(f"{kind.name}: random rows are other values than were written")


def _random(kind: Format, rows: int, batches: int) -> list[float]:
    generator = np.random.default_rng(1)
    size = min(BATCH, rows)
    picks = [generator.choice(rows, size, replace=False) for _ in range(batches)]
    return [_seconds(lambda pick=pick: kind.read_rows(pick)) for pick in picks]


def _cold(kind: Format) -> float:
    DROP_CACHES.write_text("1\n", encoding="ascii")
    # What is mapped must be opened again: mapped pages are not dropped.
    kind.open()
    return _seconds(kind.read_all)


def can_drop_caches() -> bool:
    """Return whether the kernel lets this process empty the page cache."""
    try:
        DROP_CACHES.write_text("1\n", encoding="ascii")
    except OSError:
        return False
    return True


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    del result
    return round(seconds, 6)


def _rate(size: float, seconds: float) -> float:
    return round(size / seconds / 1e9, 4)
