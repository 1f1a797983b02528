"""Resident memory of runs over N and over 10 × N rows: it must not grow with the rows.

Three runs, each as a whole process with two workers, sampled from outside every 50 ms: `values`
writes large values (100 × 2048 float16, 400 KiB per row), `pictures` decodes pictures for a tiny
CLIP network, `captions` has many small rows, where the parent's own bookkeeping would show.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .pictures import make_captions, make_memes
from .processes import measure, pipeline

NAME = "memory"
TITLE = "(c) Resident memory over N and 10 × N rows"
TARGET = 1.25
WORKERS = 2
WHO = ("parent_mb", "worker_mb", "total_mb")


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of run.

    Attributes:
        name: For the table.
        rows: N.
        make: Writes a dataset of so many rows into a folder.
        settings: Options of the run beside the dataset.
    """

    name: str
    rows: int
    make: Callable[[Path, int], None]
    settings: tuple[str, ...]


def cases(quick: bool) -> tuple[Case, ...]:
    """Return what is run; N is large enough for every worker to be at its steady state."""
    small = 4 if quick else 1
    return (
        Case(
            "values", 512 // small, make_captions,
            ("--features", "fake", "--set", "fake.shape=[100,2048]",
             "--set", f"engine.shard_rows={128 // small}"),
        ),
        Case(
            "pictures", 256 // small, lambda root, rows: make_memes(root, rows, side=640),
            ("--features", "clip", "--set", "clip.model=tiny", "--set", "clip.text_source=raw",
             "--set", "clip.image_source=original", "--set", f"engine.shard_rows={128 // small}"),
        ),
        Case(
            "captions", 10_000 // small, make_captions,
            ("--features", "fake", "--set", "fake.shape=[8]", "--set", "fake.batch_size=256"),
        ),
    )  # fmt: skip


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    runs = []
    for case in cases(quick)[: 1 if quick else None]:
        for rows in (case.rows, 10 * case.rows):
            runs.append({"case": case.name, "rows": rows, **_measure(workdir, case, rows)})
    ratios: dict[str, dict[str, float]] = {}
    table: list[list[Any]] = []
    for small, large in zip(runs[::2], runs[1::2], strict=True):
        growth = {who: round(large[who] / small[who], 3) for who in WHO}
        ratios[small["case"]] = growth
        for one in (small, large):
            sizes = [cell for who in WHO for cell in (one[who], _last(one is large, growth[who]))]
            table.append([one["case"], one["rows"], *sizes, one["wall_s"]])
    worst = {who: max(ratio[who] for ratio in ratios.values()) for who in WHO}
    return {
        "target": f"10 × the rows in ≤ {TARGET} × the memory of all processes",
        "met": worst["total_mb"] <= TARGET,
        "headline": (
            f"10 × the rows: all processes ≤ {worst['total_mb']:.2f} ×, largest worker ≤ "
            f"{worst['worker_mb']:.2f} ×, parent ≤ {worst['parent_mb']:.2f} ×"
        ),
        "settings": {"workers": WORKERS, "sampled_every_ms": 50},
        "ratios": ratios,
        "runs": runs,
        "columns": [
            "run", "rows", "parent MiB", "× N", "largest worker MiB", "× N", "all MiB", "× N",
            "wall s",
        ],
        "rows": table,
        "notes": [
            "Peaks of resident memory, each its own maximum over the run; pages shared between "
            "processes count in each.",
            "The parent holds the rows of the label file while it makes the samples table, about "
            "1 KiB per row, before any worker starts; workers hold a part of one shard.",
        ],
    }  # fmt: skip


def _last(wanted: bool, growth: float) -> float | None:
    return growth if wanted else None


def _measure(workdir: Path, case: Case, rows: int) -> dict[str, Any]:
    data, store = workdir / "data", workdir / "store"
    case.make(data, rows)
    found = measure(
        pipeline(
            "run", "extract", "--dataset", data / "manifest.yaml", "--root", data,
            "--store", store, "--workers", str(WORKERS), "--json", *case.settings,
        ),
        sample_memory=True,
    )  # fmt: skip
    shutil.rmtree(data)
    shutil.rmtree(store)
    return {
        "parent_mb": round(found.peak_bytes / 2**20, 1),
        "worker_mb": round(found.peak_children_bytes / 2**20, 1),
        "total_mb": round(found.peak_total_bytes / 2**20, 1),
        "wall_s": round(found.wall_s, 2),
    }
