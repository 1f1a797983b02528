"""The table of a sweep: two classifiers that look at no sample, then trials, best on val first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...evaluation.tables import GUESSING, MAJORITY
from ...store.layout import read_json
from ..metrics.selection import selection_value

if TYPE_CHECKING:
    from .trials import Trial

Baselines = Mapping[str, float | None]
NOTE = (
    "Values on val, mean ± sample std where a trial has several seeds; the test split was not "
    "opened."
)
_KINDS = {"baseline": MAJORITY, "guess": GUESSING}


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials, the best on val first; those without a value last, in their order."""
    done = [trial for trial in trials if trial.mean is not None]
    rest = [trial for trial in trials if trial.mean is None]
    maximise = bool(done) and done[0].finding is not None and done[0].finding.maximise
    return sorted(done, key=lambda trial: trial.mean or 0.0, reverse=maximise) + rest


def read_baselines(folder: Path, trials: Sequence[Trial]) -> dict[str, float | None]:
    """Return the monitored value on val of the majority class of train, and of guessing.

    They stand in the table of every trial's run; that of the best trial is read.

    Args:
        folder: Folder of the sweep; runs lie beside it.
        trials: Its trials.

    Returns:
        By name of the row; None where it is not defined, as the loss, or not known.
    """
    for trial in ranked(trials):
        if trial.finding is None:
            continue
        content = read_json(folder.parent / trial.finding.run / "table.json", ("rows",))
        if content is not None:
            rows = {row.get("kind"): row["results"] for row in content["rows"]}
            monitor = trial.finding.monitor
            return {name: _value(rows.get(kind, {}), monitor) for kind, name in _KINDS.items()}
    return dict.fromkeys(_KINDS.values())


def _value(results: Mapping[str, Mapping[str, Any]], monitor: str) -> float | None:
    means = {
        task: {
            metric: math.nan if found["mean"] is None else found["mean"]
            for metric, found in of_task.items()
        }
        for task, of_task in results.items()
    }
    try:
        value = selection_value(means, monitor)[0]
    except ConfigError:
        # It has no such number.
        return None
    return value if math.isfinite(value) else None


def table(trials: Sequence[Trial], baselines: Baselines) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows; val only, the test split is not known here.

    Args:
        trials: All trials of the sweep.
        baselines: Rows that stand above them, as `read_baselines` returns them.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    monitor = next((trial.finding.monitor for trial in trials if trial.finding), "val")
    heads = ["trial", *names, monitor, "seeds", "status", "run"]
    rows = [
        [name, *("" for _ in names), "n/a" if value is None else f"{value:.4f}", "", "", ""]
        for name, value in baselines.items()
    ]
    return heads, rows + [_row(trial, names) for trial in ranked(trials)]


def _row(trial: Trial, names: Sequence[str]) -> list[str]:
    finding = trial.finding
    return [
        str(trial.number + 1),
        *(str(trial.settings.get(name, "")) for name in names),
        value_text(trial),
        ", ".join(f"{value:.4f}" for value in finding.values.values()) if finding else "",
        trial.status if not trial.error else f"{trial.status}: {trial.error}",
        finding.run if finding else "",
    ]


def value_text(trial: Trial) -> str:
    """Return what a trial came to, such as ``0.5312 ± 0.0123``, or a dash."""
    if trial.mean is None:
        return "–"
    return f"{trial.mean:.4f}" + ("" if trial.std is None else f" ± {trial.std:.4f}")


def markdown(trials: Sequence[Trial], baselines: Baselines) -> str:
    """Return the table as Markdown; see `table`."""
    heads, rows = table(trials, baselines)
    lines = [heads, ["---"] * len(heads), *rows]
    body = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)
    return f"{body}\n\n{NOTE}\n"
