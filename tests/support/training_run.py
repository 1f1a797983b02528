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
    _json(folder / "table-test.json", _table(seeds))
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
    return {"split": "test", "seed": seed, "results": {}, "confusions": _confusions()}


def _confusions() -> list[dict[str, Any]]:
    counts = {
        "sentiment": [[2, 3, 45], [1, 14, 80], [4, 21, 230]],
        "sarcasm": [[0, 90], [0, 310]],
    }
    scores = {"precision": 0.4, "recall": 0.5, "f1": 0.44, "support": 100, "predicted": 90}
    return [
        {
            "task": task,
            "view": "",
            "classes": classes,
            "counts": counts[task],
            "per_class": [{"class": name, **scores} for name in classes],
        }
        for task, classes in CLASSES.items()
    ]


def _table(seeds: Sequence[int]) -> dict[str, Any]:
    ours = {"mean": 0.412, "std": 0.011, "values": {str(seed): 0.412 for seed in seeds}}
    same = {"mean": 0.775, "std": 0.0, "values": {str(seed): 0.775 for seed in seeds}}
    around = {"value": 0.412, "low": 0.381, "high": 0.446}
    scored = {
        "mean": {"accuracy": same, "macro_f1": ours},
        "sentiment": {"accuracy": ours, "macro_f1": ours, "ece": same, "n": same},
        "sarcasm": {"macro_f1": same},
    }
    majority = {
        "mean": {"accuracy": {"mean": 0.775}, "macro_f1": {"mean": 0.249}},
        "sentiment": {"accuracy": {"mean": 0.5}, "macro_f1": {"mean": 0.249}},
        "sarcasm": {"macro_f1": {"mean": 0.775}},
    }
    guess = {"sentiment": {"accuracy": {"mean": 0.44}, "macro_f1": {"mean": 0.333}}}
    flag = {
        "kind": "equals_constant",
        "task": "sarcasm",
        "view": "",
        "message": "the scores are those of a constant classifier",
    }
    run = {
        "name": "mm_orient",
        "kind": "model",
        "results": scored,
        "intervals": {"mean": {"macro_f1": around}, "sentiment": {"macro_f1": around}},
        "flags": [flag],
    }
    guessed = {"name": "guessing", "kind": "guess", "results": guess}
    columns = [(task, name) for task, found in majority.items() for name in found]
    return {
        "split": "test",
        "columns": columns,
        "rows": [{"name": "majority", "kind": "baseline", "results": majority}, guessed, run],
        "labelled": {"sentiment": 400, "sarcasm": 400},
        "confusions": {str(seed): _confusions() for seed in seeds},
        "notes": [
            "Intervals: 95 %, 1,000 bootstrap resamples.",
            "Batches: running: batches of 120.",
        ],
    }
