"""One way to load batches, measured in a process of its own: `loader.py` starts this.

Takes a task and prints what it found, both JSON:

- ``rates``: opens, checks an epoch if asked, then the rate in order and shuffled without workers;
- ``workers``: the rate of shuffled batches with workers and, if asked, the most memory of the
  process and its workers together. Looking at memory stops whoever maps much for that long, so
  that a rate is asked for without it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

from . import loader_formats
from .loader_formats import Base

SAMPLE_S = 0.1
CHECK_S = 20.0


def main() -> None:
    """Do what the argument says."""
    task = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    start = time.perf_counter()
    kind = getattr(loader_formats, task["kind"])
    where = (Path(task["folder"]), task["rows"], tuple(task["shape"]), task["batch"])
    way = kind(*where, **task["more"])
    way.open()
    opened = round(time.perf_counter() - start, 3)
    seconds, workers, check = task["seconds"], task["workers"], task["check"]
    if not workers:
        found = _rates(way, seconds, check)
    elif task["memory"]:
        found = _with_memory(way, seconds, workers)
    else:
        _rate(way, seconds, True, workers)
        found = {"rate": _rate(way, seconds, True, workers)[0]}
    print(json.dumps({"open_s": opened, **found}))


def _rates(way: Base, seconds: float, check: bool) -> dict[str, Any]:
    if check:
        for shuffle in (False, True):
            _check(way, shuffle)
    else:
        _rate(way, seconds, True)
    found: dict[str, Any] = {}
    for label, shuffle in (("in_order", False), ("shuffled", True)):
        found[label], found[f"{label}_cpu"] = _rate(way, seconds, shuffle)
    return found


def _check(way: Base, shuffle: bool) -> None:
    """One epoch, which also warms the page cache: every row once, of the right shape."""
    seen: list[float] = []
    start = time.perf_counter()
    for batch in way.epoch(shuffle):
        if tuple(batch.shape[1:]) != way.shape:
            raise RuntimeError(f"{way.name}: got batches of shape {tuple(batch.shape)}")
        seen += batch.reshape(len(batch), -1)[:, 0].tolist()
        if time.perf_counter() - start > CHECK_S:
            return
    if sorted(seen) != sorted(float(row % 2048) for row in range(way.rows)):
        raise RuntimeError(f"{way.name}: an epoch does not hold every row once")


def _rate(way: Base, seconds: float, shuffle: bool, workers: int = 0) -> tuple[float, float]:
    """Return samples per second and per processor second of this process."""
    rows = 0
    start, start_cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        for batch in way.epoch(shuffle, workers):
            rows += len(batch)
            # Workers are stopped by the end of an epoch alone.
            if not workers and time.perf_counter() - start > seconds:
                break
    passed = time.perf_counter() - start
    return round(rows / passed, 1), round(rows / (time.process_time() - start_cpu), 1)


def _with_memory(way: Base, seconds: float, workers: int) -> dict[str, Any]:
    peak: dict[str, float] = {"rss_gb": 0.0, "pss_gb": 0.0}
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, stop), daemon=True)
    watcher.start()
    rate, _ = _rate(way, seconds, True, workers)
    stop.set()
    watcher.join()
    return {"rate": rate, **peak}


def _watch(peak: dict[str, float], stop: threading.Event) -> None:
    import psutil

    me = psutil.Process()
    while not stop.wait(SAMPLE_S):
        resident = proportional = 0
        for process in (me, *me.children(recursive=True)):
            try:
                found = process.memory_full_info()
            except psutil.Error:
                # It ended between being listed and being looked at.
                continue
            resident, proportional = resident + found.rss, proportional + found.pss
        peak["rss_gb"] = max(peak["rss_gb"], round(resident / 1e9, 3))
        peak["pss_gb"] = max(peak["pss_gb"], round(proportional / 1e9, 3))


if __name__ == "__main__":
    main()
