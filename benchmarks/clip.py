"""Wall time of `pipeline run extract --features clip` ÷ wall time of a bare loop.

Both are whole processes from the interpreter's start to its end, over the same rows, with the same
open_clip ViT-B-32 (seeded random weights, the same values in both), the same batch size and the
same number of threads in total. Every run of ours starts with an empty store, so reading labels,
hashing and checking every picture, perceptual hashes, splits and the audit are part of its time.
They take turns; the ratio is the median over the pairs. Our workers let OpenMP threads sleep while
they wait; the bare loop is given the same advantage.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine import usable_cores
from .pictures import make_memes
from .processes import ROOT, Measured, measure, pipeline

NAME = "clip"
TITLE = "(a) `extract --features clip` against a bare loop"
TARGET = 1.10
# Pairs wanted with other programs using at most this share of the processors, and pairs tried.
PAIRS, DISTURBED, MOST_PAIRS = 3, 0.1, 8
BATCH = 32
MEMOTION = ROOT.parent / "shared" / "data" / "memotion"


@dataclass(frozen=True, slots=True)
class Corpus:
    """The rows both processes read.

    Attributes:
        what: For the table.
        dataset: Value of ``--dataset``.
        root: Value of ``--root``.
        labels, images: Label file and picture folder, for the bare loop.
        columns: Its column names: image, then texts in order of preference.
    """

    what: str
    dataset: str
    root: Path
    labels: Path
    images: Path
    columns: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Bench:
    """One comparison: where it works, over what, with how many threads in total."""

    workdir: Path
    corpus: Corpus
    rows: int
    threads: int

    def bare(self, cut: bool = False, passive: bool = True) -> tuple[Measured, dict[str, float]]:
        """Run the bare loop; return what it took and its phases.

        Args:
            cut: Leave out the padding behind texts, as our extractor does.
            passive: Let compute threads sleep while they wait, as our workers do.
        """
        found = measure(
            [
                sys.executable, str(ROOT / "benchmarks" / "bare_clip.py"),
                "--labels", str(self.corpus.labels), "--images", str(self.corpus.images),
                "--image-column", self.corpus.columns[0],
                "--text-columns", self.corpus.columns[1],
                "--limit", str(self.rows), "--batch-size", str(BATCH),
                "--threads", str(self.threads), "--out", str(self.workdir / "bare"),
                *(["--cut-padding"] if cut else []),
            ],
            threads=self.threads,
            passive=passive,
        )  # fmt: skip
        return found, json.loads(found.output)

    def ours(self, cluster: str, workers: int) -> tuple[Measured, dict[str, float]]:
        """Run the pipeline on an empty store; return what it took and its phases."""
        store = self.workdir / "store"
        shutil.rmtree(store, ignore_errors=True)
        each = max(1, self.threads // workers)
        settings = {
            "clip.image_source": "original",
            "clip.text_source": "raw",
            "clip.batch_size": BATCH,
            "clip.device": "cpu",
            "engine.threads": each,
        }
        if workers > 1:
            # One shard keeps one worker busy: cut so that each has its share.
            settings["engine.shard_rows"] = -(-self.rows // (2 * workers))
        place = ["--cluster", cluster]
        if cluster == "local":
            place += ["--workers", str(workers)]
        command = pipeline(
            "run", "extract", "--dataset", self.corpus.dataset, "--root", self.corpus.root,
            "--store", store, "--features", "clip", "--limit", str(self.rows), "--json", *place,
        )  # fmt: skip
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        found = measure(command, threads=each)
        return found, _phases(found, json.loads(found.output), workers)


def _phases(found: Measured, summary: dict[str, Any], workers: int) -> dict[str, float]:
    lanes = summary["lanes"]["clip"]
    inside = lanes["read"] + lanes["compute"] + lanes["write"]
    cells = lanes["total"]
    return {
        "start, read labels, hash, plan": found.wall_s - summary["seconds"],
        "start and stop workers": summary["seconds"] - cells / workers,
        "import and build the model, commit": (cells - inside) / workers,
        "wait for decoding": lanes["read"] / workers,
        "compute": lanes["compute"] / workers,
        "write": lanes["write"] / workers,
    }


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    rows = 24 if quick else 256
    bench = Bench(workdir, _corpus(workdir, rows, quick), rows, usable_cores())
    warm_up = Bench(workdir, bench.corpus, min(rows, BATCH), bench.threads)
    warm_up.bare()
    warm_up.ours("inline", 1)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ("bare", *_ways(bench))}
    for turn in range(1 if quick else MOST_PAIRS):
        # Who goes first changes, so that a drift of the machine favours neither.
        pair = ["bare", "local"] if turn % 2 == 0 else ["local", "bare"]
        for name in pair:
            runs[name].append(_run(bench, name))
        if turn == 0:
            agreement = _agreement(bench)
        if sum(_quiet_pairs(runs)) >= PAIRS:
            break
    missing = [] if quick else _measure_extras(bench, runs)
    result = _result(bench, runs, agreement)
    result["notes"] += missing
    return result


def _quiet_pairs(runs: dict[str, list[dict[str, Any]]]) -> list[bool]:
    """Return for each pair whether little else used the processors during both of its runs."""
    shares = [[one["others_share"] for one in pair] for pair in _pairs(runs)]
    return [max(pair) <= DISTURBED for pair in shares]


def _pairs(runs: dict[str, list[dict[str, Any]]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return list(zip(runs["local"], runs["bare"], strict=True))


def _measure_extras(bench: Bench, runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Measure the other ways once each; return a sentence for each that failed."""
    missing = []
    for name in ("cut", "spin", "inline", "workers"):
        try:
            runs[name].append(_run(bench, name))
        except RuntimeError as error:
            missing.append(f"Not measured: {name}: {error}")
    return missing


def _ways(bench: Bench) -> dict[str, Callable[[], tuple[Measured, dict[str, float]]]]:
    return {
        "local": lambda: bench.ours("local", 1),
        "inline": lambda: bench.ours("inline", 1),
        "workers": lambda: bench.ours("local", bench.threads),
        "cut": lambda: bench.bare(cut=True),
        "spin": lambda: bench.bare(passive=False),
    }


def _run(bench: Bench, name: str) -> dict[str, Any]:
    call = bench.bare if name == "bare" else _ways(bench)[name]
    load = os.getloadavg()[0]
    found, phases = call()
    others = found.others_s / (found.wall_s * usable_cores())
    print(f"clip: {name} {found.wall_s:.1f} s, others used {100 * others:.0f} %", flush=True)
    return {
        "load_before": round(load, 2),
        "wall_s": round(found.wall_s, 3),
        "cpu_s": round(found.cpu_s, 3),
        "others_share": round(others, 3),
        "phases_s": {key: round(value, 3) for key, value in phases.items()},
    }


def _corpus(workdir: Path, rows: int, quick: bool) -> Corpus:
    home = MEMOTION / "memotion_dataset_7k"
    if (home / "labels.csv").is_file() and not quick:
        columns = ("image_name", "text_corrected,text_ocr")
        what = "Memotion 1, pictures of 128 × 128"
        return Corpus(what, "memotion", MEMOTION, home / "labels.csv", home / "images", columns)
    root = workdir / "memes"
    make_memes(root, rows, side=512)
    manifest = str(root / "manifest.yaml")
    what = "generated pictures of 512 × 512"
    return Corpus(what, manifest, root, root / "labels.csv", root / "images", ("image", "text"))


def _agreement(bench: Bench) -> dict[str, float]:
    """Return the largest difference between both sides' unit vectors: the same work was done."""
    import numpy as np

    import affectflow

    keys = json.loads((bench.workdir / "bare" / "keys.json").read_text(encoding="utf-8"))
    store = affectflow.open_store(bench.workdir / "store")
    differences: dict[str, float] = {}
    for name in ("image", "text"):
        ours = store.feature(store.datasets()[0], f"clip_{name}").read(keys=keys)
        theirs = np.load(bench.workdir / "bare" / f"{name}.npy")
        if list(ours.keys) != keys:
            raise RuntimeError(f"clip_{name}: {len(ours.keys)} rows, the bare loop has {len(keys)}")
        differences[name] = float(np.abs(ours.values - theirs).max())
    if max(differences.values()) > 1e-4:
        raise RuntimeError(f"the two sides computed different vectors: {differences}")
    return differences


def _result(
    bench: Bench, runs: dict[str, list[dict[str, Any]]], agreement: dict[str, float]
) -> dict[str, Any]:
    quiet = _quiet_pairs(runs)
    chosen = quiet if sum(quiet) >= PAIRS else [True] * len(quiet)
    ratios = [round(ours["wall_s"] / bare["wall_s"], 4) for ours, bare in _pairs(runs)]
    processor = [round(ours["cpu_s"] / bare["cpu_s"], 4) for ours, bare in _pairs(runs)]
    counted = [ratio for ratio, use in zip(ratios, chosen, strict=True) if use]
    ratio = statistics.median(counted)
    bare = statistics.median(
        one["wall_s"] for one, use in zip(runs["bare"], chosen, strict=True) if use
    )
    labels = {
        "bare": "bare loop",
        "local": "pipeline, --cluster local, 1 worker",
        "inline": "pipeline, --cluster inline",
        "workers": f"pipeline, --cluster local, {bench.threads} workers × 1 thread",
        "cut": "bare loop without padding behind texts",
        "spin": "bare loop with waiting threads that spin (the default)",
    }
    table = []
    for name, label in labels.items():
        if runs[name]:
            paired = name in ("bare", "local")
            used = [one for n, one in enumerate(runs[name]) if not paired or chosen[n]]
            wall, cpu, others = (
                statistics.median(one[what] for one in used)
                for what in ("wall_s", "cpu_s", "others_share")
            )
            table.append([label, len(used), wall, cpu, others, wall / bare])
    return {
        "target": f"ratio ≤ {TARGET}",
        "met": ratio <= TARGET,
        "headline": (
            f"{ratio:.2f} × the bare loop (median of {len(counted)} of {len(ratios)} pairs, "
            f"{min(counted):.2f} to {max(counted):.2f}; processor time "
            f"{statistics.median(processor):.2f} ×)"
        ),
        "settings": {
            "rows": bench.rows, "corpus": bench.corpus.what, "batch_size": BATCH,
            "threads_in_total": bench.threads, "model": "open_clip ViT-B-32, seeded random weights",
            "image_source": "original", "text_source": "raw", "OMP_WAIT_POLICY": "PASSIVE in both",
        },
        "ratio": ratio,
        "ratios": ratios,
        "processor_time_ratios": processor,
        "largest_difference_of_vectors": agreement,
        "runs": {name: found for name, found in runs.items() if found},
        "pairs_undisturbed": quiet,
        "columns": [
            "process", "runs", "wall s (median)", "processor s (median)", "share others used",
            "÷ bare loop",
        ],
        "rows": table,
        "notes": [
            _say_pairs(quiet),
            *_phase_notes(runs),
        ],
    }  # fmt: skip


def _say_pairs(quiet: list[bool]) -> str:
    rule = (
        f"Pairs are run until in {PAIRS} of them other programs used at most "
        f"{100 * DISTURBED:.0f} % of the processors, {MOST_PAIRS} pairs at most; only those count"
    )
    found = f"here {sum(quiet)} of {len(quiet)}"
    if sum(quiet) >= PAIRS:
        return f"{rule}: {found}."
    return f"{rule}, or all where there are fewer: {found}, so trust the processor seconds."


def _phase_notes(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return where the time went, as sentences: the medians of each phase."""
    notes = []
    for name, label in (("bare", "Bare loop"), ("local", "Pipeline")):
        phases = runs[name][0]["phases_s"]
        medians = {
            phase: statistics.median(item["phases_s"][phase] for item in runs[name])
            for phase in phases
        }
        parts = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in medians.items())
        notes.append(f"{label}, seconds: {parts}.")
    return notes
