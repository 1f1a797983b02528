"""Epochs of shuffled batches with workers, watched: `loader.py` starts this.

Prints JSON: samples/s, and the most memory of the process and its workers together.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from . import loader_formats

SAMPLE_S = 0.1
# A fast way goes through several epochs, so that its memory is seen often enough.
LEAST_S = 3.0


def main() -> None:
    """Load for some seconds, one epoch at least, and print what it took."""
    kind, folder, rows, shape, batch, workers = sys.argv[1:]
    way_kind = getattr(loader_formats, kind)
    way = way_kind(Path(folder), int(rows), tuple(json.loads(shape)), int(batch))
    way.open()
    peak: dict[str, float] = {"rss_gb": 0.0, "pss_gb": 0.0}
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, stop), daemon=True)
    watcher.start()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < LEAST_S:
        for found in way.epoch(True, int(workers)):
            count += len(found)
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    print(json.dumps({"workers_rate": round(count / seconds, 1), **peak}))


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
