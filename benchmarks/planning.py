"""How long planning and resuming take in a store of a million rows that has everything.

The store is made by the real command: a CSV of captions, seeded values of a tiny shape from the
extractor `fake`. One row in 250 of the CSV is unusable and one value in 500 fails, so that every
shard of the default size has something to account for. Then `pipeline plan extract` and a second
`pipeline run extract` (which finds nothing to do) are timed as whole processes, with the page cache
warm.
"""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from .pictures import make_captions
from .processes import measure, pipeline

NAME = "planning"
TITLE = "(e) Planning and resuming a store of 1,000,000 rows"
TARGET_S = 5.0
REPEATS = 3
BAD_EVERY, FAIL_EVERY = 250, 500


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    rows = 10_000 if quick else 1_000_000
    data = workdir / "data"
    make_captions(data, rows, BAD_EVERY)
    runs = []
    for shard_rows in (256,) if quick else (2048, 256):
        runs.append(_measure(workdir / "store", data, rows, shard_rows))
        shutil.rmtree(workdir / "store")
    worst = max(statistics.median(one[name]) for one in runs for name in ("plan_s", "resume_s"))
    table = [
        [
            one["shard_rows"], one["shards"], one["first_run_s"], statistics.median(one["plan_s"]),
            statistics.median(one["resume_s"]), statistics.median(one["status_s"]),
        ]
        for one in runs
    ]  # fmt: skip
    return {
        "target": f"plan ≤ {TARGET_S:g} s and resume ≤ {TARGET_S:g} s",
        "met": worst <= TARGET_S,
        "headline": f"slowest {worst:.2f} s for {rows:,} rows",
        "settings": {
            "rows": rows, "feature": "fake, 2 × float16 per row", "repeats": REPEATS,
            "failed_samples": runs[0]["failed_samples"],
        },
        "runs": runs,
        "columns": [
            "rows per shard", "shards", "first run s (made once)", "`plan` s", "resume s",
            "`status` s",
        ],
        "rows": table,
        "notes": [
            "`plan` and resume are whole processes, medians, page cache warm; the first run makes "
            "the samples table and computes every value."
        ],
    }  # fmt: skip


def _measure(store: Path, data: Path, rows: int, shard_rows: int) -> dict[str, Any]:
    options = [
        "extract", "--dataset", str(data / "manifest.yaml"), "--root", str(data),
        "--store", str(store), "--features", "fake", "--set", "fake.shape=[2]",
        "--set", f"engine.shard_rows={shard_rows}", "--set", "fake.batch_size=1024",
        "--set", f"fake.fail_every={FAIL_EVERY}", "--json",
    ]  # fmt: skip
    first = measure(pipeline("run", *options, "--cluster", "inline"), sample_memory=True)
    summary = json.loads(first.output)
    output = summary["outputs"][0]
    counts = [output[status] for status in ("ok", "absent", "failed")]
    if summary["samples"] != rows or sum(counts) != rows or not 0 < counts[2] < rows // 50:
        raise RuntimeError(f"{rows} rows were to be accounted for, the store has {counts}")
    plans = [measure(pipeline("plan", *options)) for _ in range(REPEATS)]
    resumed = [measure(pipeline("run", *options)) for _ in range(REPEATS)]
    status = [measure(pipeline("status", "--store", store)) for _ in range(REPEATS)]
    shards = -(-rows // shard_rows)
    for found in resumed:
        cells = json.loads(found.output)["cells"]
        if cells["cached"] != shards or cells["done"]:
            raise RuntimeError(f"a second run found work to do: {cells}")
    return {
        "shard_rows": shard_rows,
        "shards": shards,
        "failed_samples": summary["failed_samples"],
        "first_run_s": round(first.wall_s, 2),
        "first_run_peak_gb": round(first.peak_bytes / 2**30, 2),
        "plan_s": [round(one.wall_s, 3) for one in plans],
        "resume_s": [round(one.wall_s, 3) for one in resumed],
        "status_s": [round(one.wall_s, 3) for one in status],
    }
