"""Batches for training, in samples/s, against other ways to load them.

Two kinds of rows: CLIP vectors (512 float16, 1 KiB) and regions (100 × 2048 float16, 400 KiB), in
order and shuffled, one process without workers, page cache warm; all give the same float16 values
as torch tensors. Ways take turns, so that a noisy machine disturbs all alike. Then shuffled regions
with two workers, and resident memory with eight, in processes of their own.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .loader_formats import WAYS, Base, MemoryMap, Ours, Pickle, why_not

NAME = "loader"
TITLE = "(i) Loading batches"
ROOT = Path(__file__).resolve().parents[1]
BATCH = 64
# A slow way is cut off: its rate is known by then.
ROUND_S = 2.0
SPEEDUP, SHARE = 10.0, 0.8


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    torch.set_num_threads(1)
    sets = {
        "clip vectors": ((512,), 1_000 if quick else 20_000),
        "regions": ((100, 2048), 130 if quick else 2_400),
    }
    skipped = {way.name: reason for way in WAYS if (reason := why_not(way))}
    runs: list[dict[str, Any]] = []
    memory: list[dict[str, Any]] = []
    for name, (shape, rows) in sets.items():
        ways = _open(workdir / name.replace(" ", "-"), rows, shape)
        runs += [{"set": name, "rows": rows, **found} for found in _rates(ways, 1 if quick else 5)]
        if name == "regions" and not quick:
            memory = _of_workers(
                {label: way for label, way in ways.items() if not label.endswith("to float32")}
            )
        del ways
        shutil.rmtree(workdir / name.replace(" ", "-"))
    verdict = _verdict(runs, memory)
    return {
        "target": f"shuffled regions: ≥ {SPEEDUP:g} × the best of Hugging Face, MosaicML, "
        f"WebDataset and MMSA's pickle, or ≥ {SHARE:.0%} of a memmap, whichever is higher",
        **verdict,
        "settings": {"batch": BATCH, "torch_threads": 1, "rounds": 1 if quick else 5},
        "runs": [*runs, *memory],
        "skipped": skipped,
        "columns": ["values", "way", "in order, samples/s", "shuffled, samples/s",
                    "shuffled, samples per processor second", "open s",
                    "shuffled, 2 workers, samples/s", "8 workers: samples/s",
                    "resident GB, summed", "shared pages divided GB"],
        "rows": list(_rows(runs, memory)),
        "notes": _notes(skipped),
    }  # fmt: skip


def _notes(skipped: dict[str, str]) -> list[str]:
    notes = [
        "Medians of rounds in which the ways take turns; a round is one epoch, cut off after "
        f"{ROUND_S:g} s. Every way gave the same rows, checked by their numbers.",
        "Ours reads shards written as the engine writes them and joins samples, labels and "
        "families; the others hold values alone. Its batches use memory of batches that are gone "
        "again, which is why it can be faster than a memmap: fresh memory costs more than reading.",
        "Judged by the better of none and two workers, for every way. The float16 pickle is not "
        "judged: it is what MMSA's would be if it kept half the bytes in memory.",
        "Samples per processor second say what the work costs even where other programs disturb.",
        "Ours copies features up to 4 GiB into one mapped file when it first opens them, and reads "
        "larger ones from their shards by position, in bounded memory; both were measured.",
        "The pickles are in memory as a whole before the first batch. Opening ours the first time "
        "makes that copy and looks for NaN in every value.",
        "With workers: regions, shuffled, an epoch or more; memory is the sum over the process and "
        "its workers at its highest, resident (shared pages counted in each) and proportional.",
    ]
    return [*notes, *(f"Not measured: {name}: {reason}." for name, reason in skipped.items())]


def _open(folder: Path, rows: int, shape: tuple[int, ...]) -> dict[str, Base]:
    found: dict[str, Base] = {}
    for way in WAYS:
        if why_not(way) is None:
            made = way(folder / way.__name__, rows, shape, BATCH)
            made.write()
            found[way.name] = made
    where = (rows, shape, BATCH)
    found[f"{Ours.name}, to float32"] = Ours(folder / "Ours", *where, dtype="float32")
    found[f"{MemoryMap.name}, to float32"] = MemoryMap(
        folder / "MemoryMap", *where, dtype=torch.float32
    )
    return found


def _rates(ways: dict[str, Base], rounds: int) -> Iterator[dict[str, Any]]:
    opening: dict[str, float] = {}
    for name, way in ways.items():
        start = time.perf_counter()
        way.open()
        opening[name] = round(time.perf_counter() - start, 3)
        for shuffle in (False, True):
            _check(name, way, shuffle)
    rates: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for shuffle in (False, True):
            for name, way in ways.items():
                rates.setdefault((name, shuffle), []).append(_rate(way, shuffle))
    for name in ways:
        found: dict[str, Any] = {"way": name, "open_s": opening[name]}
        for label, shuffle in (("in_order", False), ("shuffled", True)):
            wall, cpu = zip(*rates[name, shuffle], strict=True)
            found[label] = round(statistics.median(wall), 1)
            found[f"{label}_cpu"] = round(statistics.median(cpu), 1)
            found[f"{label}_rounds"] = [round(rate, 1) for rate in wall]
            found[f"{label}_cpu_rounds"] = [round(rate, 1) for rate in cpu]
        yield found


def _check(name: str, way: Base, shuffle: bool) -> None:
    """One epoch, which also warms the page cache: every row once, of the right shape."""
    seen: list[float] = []
    start = time.perf_counter()
    for batch in way.epoch(shuffle):
        if tuple(batch.shape[1:]) != way.shape:
            raise RuntimeError(f"{name}: got batches of shape {tuple(batch.shape)}")
        seen += batch.reshape(len(batch), -1)[:, 0].tolist()
        if time.perf_counter() - start > 10 * ROUND_S:
            return
    if sorted(seen) != sorted(float(row % 2048) for row in range(way.rows)):
        raise RuntimeError(f"{name}: an epoch does not hold every row once")


def _rate(way: Base, shuffle: bool) -> tuple[float, float]:
    """Return samples per second and per processor second of this process."""
    rows = 0
    start, start_cpu = time.perf_counter(), time.process_time()
    for batch in way.epoch(shuffle):
        rows += len(batch)
        if time.perf_counter() - start > ROUND_S:
            break
    return rows / (time.perf_counter() - start), rows / (time.process_time() - start_cpu)


def _of_workers(ways: dict[str, Base]) -> list[dict[str, Any]]:
    """Return rates with two workers, by turns, and rate and memory with eight."""
    two: dict[str, list[float]] = {}
    for _ in range(3):
        for name, way in ways.items():
            two.setdefault(name, []).append(_with_workers(way, 2).get("workers_rate", 0.0))
    return [
        {
            "set": "regions",
            "way": name,
            "two_workers": statistics.median(two[name]),
            "two_workers_rounds": two[name],
            **_with_workers(way, 8),
        }
        for name, way in ways.items()
    ]


def _with_workers(way: Base, workers: int) -> dict[str, Any]:
    """Return memory and rate of some epochs with workers, in a process of its own."""
    facts = [type(way).__name__, str(way.folder), str(way.rows), json.dumps(way.shape), str(BATCH)]
    command = [sys.executable, "-m", "benchmarks.loader_workers", *facts, str(workers)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"workers_failed": done.stderr[-300:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _verdict(runs: list[dict[str, Any]], workers: list[dict[str, Any]]) -> dict[str, Any]:
    of = {one["way"]: one["shuffled"] for one in runs if one["set"] == "regions"}
    for one in workers:
        of[one["way"]] = max(of[one["way"]], one["two_workers"])
    judged = [way.name for way in WAYS if way.judged and way.name in of]
    ours, mapped = of[Ours.name], of[MemoryMap.name]
    best = max(judged, key=lambda name: of[name])
    wanted = max(SPEEDUP * of[best], SHARE * mapped)
    return {
        "met": ours >= wanted,
        "headline": f"shuffled regions: {ours:,.0f} samples/s, {ours / mapped:.2f} of a memmap, "
        f"{ours / of[best]:.1f} × {best}, {ours / of[Pickle.name]:.1f} × {Pickle.name}",
    }


def _rows(runs: list[dict[str, Any]], memory: list[dict[str, Any]]) -> Iterator[list[Any]]:
    for one in runs:
        found = next((m for m in memory if (m["set"], m["way"]) == (one["set"], one["way"])), {})
        names = ("set", "way", "in_order", "shuffled", "shuffled_cpu", "open_s")
        more = ("two_workers", "workers_rate", "rss_gb", "pss_gb")
        yield [*(one[name] for name in names), *(found.get(name) for name in more)]
