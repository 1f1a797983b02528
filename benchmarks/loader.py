"""Batches for training, in samples/s, against other ways to load them.

Two kinds of rows: CLIP vectors (512 float16, 1 KiB) and regions (100 × 2048 float16, 400 KiB), in
order and shuffled, page cache warm; all give the same float16 values as torch tensors. Every way is
measured in processes of its own (`loader_process.py`), for what one leaves behind in an allocator
changes the next, and ways take turns, so that a noisy machine disturbs all alike.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from .loader_formats import WAYS, Base, MemoryMap, Ours, Pickle, why_not

NAME = "loader"
TITLE = "(i) Loading batches"
COLUMNS = ("set", "way", "in_order", "shuffled", "shuffled_cpu", "open_s", "two_workers",
           "eight_workers", "rss_gb", "pss_gb")  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]
BATCH = 64
# A slow way is cut off: its rate is known by then. A fast one goes through several epochs.
ROUND_S = 2.0
ROUNDS = {"clip vectors": 2, "regions": 3}
# Further turns of the two that the verdict is about: processes of one way can differ by half.
SETTLING = 10
SPEEDUP, SHARE = 10.0, 0.8


class Contender(NamedTuple):
    """One row of the table: a way, and with which options."""

    way: Base
    more: dict[str, str]


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    sets = {
        "clip vectors": ((512,), 1_000 if quick else 20_000),
        "regions": ((100, 2048), 130 if quick else 2_400),
    }
    skipped = {way.name: reason for way in WAYS if (reason := why_not(way))}
    runs: list[dict[str, Any]] = []
    for name, (shape, rows) in sets.items():
        ways = _written(workdir / name.replace(" ", "-"), rows, shape)
        found = _rates(ways, 1, 0.2) if quick else _rates(ways, ROUNDS[name], ROUND_S)
        if name == "regions" and not quick:
            _add_workers(found, ways)
            _settle(found, ways, SETTLING)
        runs += [{"set": name, "rows": rows, **one} for one in found.values()]
        shutil.rmtree(workdir / name.replace(" ", "-"))
    return {
        "target": f"shuffled regions: ≥ {SPEEDUP:g} × the best of Hugging Face, MosaicML, "
        f"WebDataset and MMSA's pickle, or ≥ {SHARE:.0%} of a memmap, whichever is higher",
        **_verdict(runs),
        "settings": {"batch": BATCH, "torch_threads": 1, "rounds": 1 if quick else ROUNDS},
        "runs": runs,
        "skipped": skipped,
        "columns": ["values", "way", "in order, samples/s", "shuffled, samples/s",
                    "shuffled, samples per processor second", "open s",
                    "shuffled, 2 workers, samples/s", "8 workers: samples/s",
                    "resident GB, summed", "shared pages divided GB"],
        "rows": [[one.get(name) for name in COLUMNS] for one in runs],
        "notes": _notes(skipped),
    }  # fmt: skip


def _notes(skipped: dict[str, str]) -> list[str]:
    notes = [
        "Medians of rounds in which the ways take turns, each round a process of its own that goes "
        f"through epochs for {ROUND_S:g} s. Every way gave the same rows, checked by their "
        "numbers.",
        "Ours reads shards written as the engine writes them and joins samples, labels and "
        "families; the others hold values alone. Its batches use memory of batches that are gone "
        "again, which is why it can be faster than a memmap: fresh memory costs more than reading.",
        f"Ours and the best of the judged have {SETTLING} further rounds, by turns: processes of "
        "one way can differ by half, by the memory they happen to get.",
        "Judged by the better of none and two workers, for every way. The float16 pickle is not "
        "judged: it is what MMSA's would be if it kept half the bytes in memory.",
        "Samples per processor second say what the work costs even where other programs disturb.",
        "Ours copies features up to 4 GiB into one mapped file when it first opens them, and reads "
        "larger ones from their shards by position, in bounded memory; both were measured.",
        "The pickles are in memory as a whole before the first batch. Opening ours the first time "
        "makes that copy and looks for NaN in every value.",
        "With workers: regions, shuffled, an epoch or more; memory is the sum over the process and "
        "its workers at its highest, resident (shared pages counted in each) and proportional. "
        "Looking at memory slows the eight workers of who maps much.",
    ]
    return [*notes, *(f"Not measured: {name}: {reason}." for name, reason in skipped.items())]


def _written(folder: Path, rows: int, shape: tuple[int, ...]) -> dict[str, Contender]:
    found: dict[str, Contender] = {}
    for kind in WAYS:
        if why_not(kind) is None:
            way = kind(folder / kind.__name__, rows, shape, BATCH)
            way.write()
            found[kind.name] = Contender(way, {})
    for name in (Ours.name, MemoryMap.name):
        found[f"{name}, to float32"] = Contender(found[name].way, {"dtype": "float32"})
    return found


def _rates(ways: dict[str, Contender], rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Return medians over rounds without workers; the first round checks what is loaded."""
    each: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, one in ways.items():
            each[name].append(_measured(one, seconds, check=number == 0))
    result: dict[str, dict[str, Any]] = {}
    for name, found in each.items():
        # Whoever opens ours first makes its copy.
        result[name] = {"way": name, "open_s": found[0]["open_s"]}
        for label in ("in_order", "in_order_cpu", "shuffled", "shuffled_cpu"):
            result[name][f"{label}_rounds"] = [one[label] for one in found]
            result[name][label] = statistics.median(one[label] for one in found)
    return result


def _add_workers(found: dict[str, dict[str, Any]], ways: dict[str, Contender]) -> None:
    """Add rates with two workers, by turns, and rate and memory with eight."""
    kept = {name: one for name, one in ways.items() if not one.more}
    for _ in range(3):
        for name, one in kept.items():
            rounds = found[name].setdefault("two_workers_rounds", [])
            rounds.append(_measured(one, ROUND_S, workers=2)["rate"])
    for name, one in kept.items():
        found[name]["two_workers"] = statistics.median(found[name]["two_workers_rounds"])
        eight = _measured(one, ROUND_S, workers=8, memory=True)
        found[name] |= {"eight_workers": eight["rate"]}
        found[name] |= {memory: eight[memory] for memory in ("rss_gb", "pss_gb")}


def _settle(found: dict[str, dict[str, Any]], ways: dict[str, Contender], turns: int) -> None:
    """Measure ours and the best of the judged again by turns, each as it was faster."""
    judged = [way.name for way in WAYS if way.judged and way.name in found]
    best = max(judged, key=lambda name: _better(found[name]))
    for _ in range(turns):
        for name in (best, Ours.name):
            one = found[name]
            if one["two_workers"] > one["shuffled"]:
                one["two_workers_rounds"].append(_measured(ways[name], ROUND_S, workers=2)["rate"])
            else:
                one["shuffled_rounds"].append(_measured(ways[name], ROUND_S)["shuffled"])
    for name in (best, Ours.name):
        for label in ("two_workers", "shuffled"):
            found[name][label] = statistics.median(found[name][f"{label}_rounds"])


def _better(one: dict[str, Any]) -> float:
    """Return the rate of shuffled batches with or without workers, whichever is higher."""
    rate: float = max(one["shuffled"], one.get("two_workers", 0.0))
    return rate


def _measured(
    one: Contender,
    seconds: float,
    workers: int = 0,
    check: bool = False,
    memory: bool = False,
) -> dict[str, float]:
    way = one.way
    task = {
        "kind": type(way).__name__, "folder": str(way.folder), "rows": way.rows,
        "shape": way.shape, "batch": BATCH, "more": one.more, "workers": workers, "check": check,
        "seconds": seconds, "memory": memory,
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.loader_process", json.dumps(task)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{way.name}: {done.stderr[-300:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _verdict(runs: list[dict[str, Any]]) -> dict[str, Any]:
    of = {one["way"]: _better(one) for one in runs if one["set"] == "regions"}
    judged = [way.name for way in WAYS if way.judged and way.name in of]
    ours, mapped = of[Ours.name], of[MemoryMap.name]
    best = max(judged, key=lambda name: of[name])
    wanted = max(SPEEDUP * of[best], SHARE * mapped)
    return {
        "met": ours >= wanted,
        "headline": f"shuffled regions: {ours:,.0f} samples/s, {ours / mapped:.2f} of a memmap, "
        f"{ours / of[best]:.1f} × {best}, {ours / of[Pickle.name]:.1f} × {Pickle.name}",
    }
