"""How long a person waits for `pipeline --help` and `pipeline status`."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from .pictures import make_captions
from .processes import measure, pipeline

NAME = "startup"
TITLE = "(d) Start of the command line"
TARGET_S = 0.3


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    repeats = 3 if quick else 20
    store = workdir / "store"
    data = workdir / "data"
    make_captions(data, 100)
    measure(
        pipeline(
            "run", "extract", "--dataset", data / "manifest.yaml", "--root", data, "--store", store,
            "--features", "fake", "--cluster", "inline", "--json",
        )
    )  # fmt: skip
    commands = {
        "pipeline --help": pipeline("--help"),
        "pipeline run extract --help": pipeline("run", "extract", "--help"),
        "pipeline status (a run of 100 rows)": pipeline("status", "--store", store),
    }
    runs: dict[str, list[float]] = {}
    for name, command in commands.items():
        measure(command)
        runs[name] = [round(measure(command).wall_s, 4) for _ in range(repeats)]
    median = statistics.median(runs["pipeline --help"])
    rows = [
        [name, len(seconds), statistics.median(seconds), min(seconds), max(seconds)]
        for name, seconds in runs.items()
    ]
    return {
        "target": f"`pipeline --help` ≤ {TARGET_S} s",
        "met": median <= TARGET_S,
        "headline": f"{median:.3f} s",
        "settings": {"repeats": repeats},
        "runs": runs,
        "columns": ["command", "runs", "median s", "fastest s", "slowest s"],
        "rows": rows,
    }
