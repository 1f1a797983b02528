"""A training run's folder written by hand: record, logs, scores, one line of test access."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CLASSES = {
    "sentiment": ("negative", "neutral", "positive"),
    "sarcasm": ("not <sarcastic>", "sarcastic"),
}
SCRIPT = "<script>alert('owned')</script>"


def write_run(folder: Path, seeds: Sequence[int] = (1111, 1112), epochs: int = 8) -> Path:
    """Write a run that was trained and evaluated; numbers are smooth made-up functions."""
    folder.mkdir(parents=True)
    _json(folder / "run.json", _record(seeds))
    for index, seed in enumerate(seeds):
        place = folder / f"seed-{seed}"
        place.mkdir()
        lines = [_epoch(epoch, index) for epoch in range(1, epochs + 1)]
        lines.insert(3, {"kind": "warning", "message": f"graph/ii: 95 % isolated {SCRIPT}"})
        lines.append({"kind": "end", "epoch": epochs})
        text = "\n".join(json.dumps(line) for line in lines)
        (place / "log.jsonl").write_text(text + '\n{"kind": "ep', "utf-8")
        (place / "best").mkdir()
        _json(place / "best" / "state.json", {"position": {"best_epoch": epochs - 2}})
        _json(place / "test.json", _scores(seed))
    _json(folder / "table.json", _table(seeds))
    access = {"time": "2026-01-02T03:04:05+00:00", "command": "evaluate", "seeds": list(seeds)}
    (folder / "test-access.jsonl").write_text(json.dumps(access) + "\n", "utf-8")
    return folder


def _json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value), "utf-8")


def _record(seeds: Sequence[int]) -> dict[str, Any]:
    random = "regions: weights are random (seed 0)"
    return {
        "format": 1,
        "model": "mm_orient",
        "preset": "paper_figure",
        "command": ["pipeline", "train", "mm_orient", "--dataset", "memotion"],
        "settings": {
            "data": {"dataset": "memotion", "stores": ["store"]},
            "optimizer": {"lr": 1e-4},
        },
        "fingerprints": {
            "tokens": {"feature": "bert", "fingerprint": "0123456789abcdef", "warnings": []},
            "regions": {"feature": "regions", "fingerprint": "fedcba98", "warnings": [random]},
        },
        "monitor": "val/mean/macro_f1",
        "parameters": {"total": 44_930_570, "trainable": 44_930_570, "parts": {"trunk": 1}},
        "versions": {"affectflow": "0.1.0", "torch": "2.14.1"},
        "seeds": {str(seed): {"status": "done"} for seed in seeds},
        "data": {"digest": "aa55aa55aa55aa55", "counts": {"train": 4000}},
    }


def _epoch(epoch: int, index: int) -> dict[str, Any]:
    fall = math.exp(-0.25 * epoch)
    tasks = {
        name: {"macro_f1": 0.5 - 0.2 * fall + 0.01 * index, "accuracy": 0.6 - 0.1 * fall}
        for name in (*CLASSES, "mean")
    }
    graphs = {
        f"graph/{name}/{measure}": value * (1 + 0.1 * index)
        for name in ("ii", "tt")
        for measure, value in (("density", 0.02), ("mean_degree", 0.7), ("isolated", 0.6 + fall))
    }
    entropies = {"attention/tokens/entropy": 1 - 0.3 * (1 - fall), "gate/text": 0.3 + 0.1 * fall}
    return {
        "kind": "epoch",
        "epoch": epoch,
        "step": 10 * epoch,
        "train": {"loss": 0.9 + fall, "gradient/part/trunk": 0.5, **graphs, **entropies},
        "val": {"loss": 1.0 + fall + 0.02 * epoch, "metrics": tasks, "means": graphs},
    }


def _scores(seed: int) -> dict[str, Any]:
    confusions = {
        "sentiment": [[2, 3, 45], [1, 14, 80], [4, 21, 230]],
        "sarcasm": [[0, 90], [0, 310]],
    }
    tasks = {
        name: {"classes": classes, "confusion": confusions[name], "metrics": {"accuracy": 0.6}}
        for name, classes in CLASSES.items()
    }
    return {"split": "test", "seed": seed, "tasks": tasks}


def _table(seeds: Sequence[int]) -> dict[str, Any]:
    cell = {"mean": 0.412, "std": 0.011, "low": 0.381, "high": 0.446, "majority": 0.249}
    same = {"mean": 0.775, "std": 0.0, "low": 0.735, "high": 0.811, "majority": 0.775}
    per_class = [
        {"class": name, "support": 100, "precision": 0.4, "recall": 0.5, "f1": 0.44}
        for name in CLASSES["sentiment"]
    ]
    tasks = {
        "mean": {"metrics": {"macro_f1": cell, "accuracy": same}},
        "sentiment": {
            "labelled": 400,
            "metrics": {"accuracy": {**cell, "majority": 0.5}, "macro_f1": cell},
            "per_class": per_class,
        },
        "sarcasm": {"labelled": 400, "metrics": {"macro_f1": same}},
    }
    return {
        "split": "test",
        "seeds": list(seeds),
        "interval": "95 %, 1,000 bootstrap resamples of the samples",
        "batch_policy": "running: batches of 120 in dataset order",
        "flags": ["sarcasm: the scores are those of a constant classifier"],
        "tasks": tasks,
    }
