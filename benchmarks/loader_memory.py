"""Train from a store far larger than memory allows: resident memory over an epoch.

```
python -m benchmarks.loader_memory                # 20 GB, written, trained from and removed
python -m benchmarks.loader_memory --gb 1 --folder DIR --keep
```

Writes a store of regions (100 × 2048 float16), then, in a process of its own, trains a linear head
on the mean region for one epoch in random order, with the loader's threads. That process looks at
its own memory twice a second. Too long for `benchmarks.run`; the result goes to
`results/loader_memory.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from . import table
from .machine import describe
from .training_store import DATASET, FEATURE, write_store

TITLE = "Training from a store larger than the memory it may use"
SHAPE = (100, 2048)
LIMIT_GB = 2.0
BATCH = 64
WORKERS = 2
RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Write the store, train in another process, write the result; 1 when over the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader_memory")
    parser.add_argument("--gb", type=float, default=20.0, help="size of the store in GB")
    parser.add_argument("--folder", type=Path, help="where to write it")
    parser.add_argument("--keep", action="store_true", help="leave the store there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train(options.train)))
        return 0
    facts = describe()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="affectflow-bench-loader-memory-"))
    try:
        found = measure(folder, options.gb)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    value = {"name": "loader_memory", "title": TITLE, "quick": False, **facts, **found}
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    (options.results / "loader_memory.json").write_text(text, encoding="utf-8")
    table.write(options.results)
    print(found["headline"])
    return 0 if found["met"] else 1


def measure(folder: Path, gigabytes: float) -> dict[str, Any]:
    """Return the result."""
    rows = int(gigabytes * 1e9 / (SHAPE[0] * SHAPE[1] * 2))
    start = time.perf_counter()
    if not (folder / "features").is_dir():
        write_store(folder, rows, SHAPE, val_every=50)
    write_s = time.perf_counter() - start
    command = [sys.executable, "-m", "benchmarks.loader_memory", "--train", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    run = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e9
    peak = run["peak_rss_gb"]
    return {
        "target": f"< {LIMIT_GB:g} GB resident",
        "met": peak < LIMIT_GB and size >= gigabytes * 0.99,
        "headline": f"{size:.1f} GB of features, {run['rows']:,} rows trained in "
        f"{run['epoch_s']:.0f} s; resident at most {peak:.2f} GB "
        f"(of its own {run['peak_uss_gb']:.2f} GB)",
        "seconds": round(time.perf_counter() - start, 1),
        "settings": {"batch": BATCH, "workers": WORKERS, "shape": SHAPE, "torch_threads": 1},
        "runs": [{"store_gb": round(size, 2), "write_s": round(write_s, 1), **run}],
        "columns": [
            "store GB", "rows", "before opening GB", "peak resident GB", "peak of its own GB",
            "first opening s", "epoch s", "rows/s",
        ],
        "rows": [[
            round(size, 2), run["rows"], run["start_rss_gb"], peak, run["peak_uss_gb"],
            run["open_s"], run["epoch_s"], round(run["rows"] / run["epoch_s"]),
        ]],
        "notes": [
            "Resident: Rss of /proc/self/smaps_rollup, everything mapped counts; of its own: "
            "private pages only. The first opening reads every value once to look for NaN.",
        ],
    }  # fmt: skip


def train(folder: Path) -> dict[str, Any]:
    """Train one epoch and return times and resident memory of this process."""
    import torch

    from affectflow.pipeline.training.data import DataConfig
    from affectflow.pipeline.training.loader import Loader, LoaderConfig
    from affectflow.pipeline.training.opening import open_data

    torch.set_num_threads(1)
    memory = _Memory()
    start = time.perf_counter()
    settings = DataConfig(dataset=DATASET, stores=(str(folder),))
    data = open_data(settings, {"regions": FEATURE}, frozenset(), ("train", "val"))
    open_s = time.perf_counter() - start
    config = LoaderConfig(batch_size=BATCH, workers=WORKERS)
    loader = Loader(data.split("train"), config, seed=1, shuffle=True, digest=data.digest)
    head = torch.nn.Linear(SHAPE[1], 2)
    optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
    rows, start = 0, time.perf_counter()
    for batch in loader.epoch(0):
        logits = head(batch.features["regions"].values.mean(1))
        loss = torch.nn.functional.cross_entropy(logits, batch.labels["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rows += len(batch)
    epoch_s = time.perf_counter() - start
    if rows != len(data.split("train")):
        raise RuntimeError(f"{rows} rows came, expected {len(data.split('train'))}")
    return {"rows": rows, "open_s": round(open_s, 1), "epoch_s": round(epoch_s, 1), **memory.stop()}


class _Memory:
    """Looks at this process's memory twice a second."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._start = _memory()
        self._peak = dict(self._start)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """Return resident memory at the start, and the most of each kind, in GB."""
        self._stop.set()
        self._thread.join()
        self._look()
        peak = {f"peak_{name}_gb": round(size / 1e9, 3) for name, size in self._peak.items()}
        return {"start_rss_gb": round(self._start["rss"] / 1e9, 3), **peak}

    def _work(self) -> None:
        while not self._stop.wait(0.5):
            self._look()

    def _look(self) -> None:
        for name, size in _memory().items():
            self._peak[name] = max(self._peak[name], size)


def _memory() -> dict[str, int]:
    """Return bytes: resident, proportional share, and private to this process."""
    lines = Path(f"/proc/{os.getpid()}/smaps_rollup").read_text("ascii").splitlines()[1:]
    found = {line.split()[0].rstrip(":"): int(line.split()[1]) * 1024 for line in lines}
    own = found["Private_Clean"] + found["Private_Dirty"]
    return {"rss": found["Rss"], "pss": found["Pss"], "uss": own}


if __name__ == "__main__":
    sys.exit(main())
