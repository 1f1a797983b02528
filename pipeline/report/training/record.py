"""A training run as its folder says it: record, seeds, logs, scores.

The folder's layout is described in pipeline/training/README.md. What is absent, torn or of a later
version is left out: a page about a run that is still going on must be possible.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from ...errors import UsageError
from ...evaluation.predictions import scores_name
from ...store.layout import read_json

RUN_NAME = "run.json"
ACCESS_NAME = "test-access.jsonl"
Series: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class SeedRecord:
    """What one seed left.

    Attributes:
        seed: Its name, for example ``1111``.
        folder: Where it lies.
    """

    seed: str
    folder: Path

    @cached_property
    def entries(self) -> tuple[Mapping[str, Any], ...]:
        """Lines of ``log.jsonl``."""
        return tuple(read_lines(self.folder / "log.jsonl"))

    def scores(self, split: str) -> Mapping[str, Any] | None:
        """Return what `pipeline evaluate` wrote about a split, None when it did not."""
        return read_json(self.folder / scores_name(split), ("results",))

    @cached_property
    def epochs(self) -> Series:
        """Numbers logged once per epoch: name with slashes to (epoch, value), in order."""
        return collect_series(self.entries, "epoch", "epoch")

    @cached_property
    def steps(self) -> Series:
        """Numbers logged at steps: name to (step, value), in order."""
        return collect_series(self.entries, "step", "step")

    @property
    def warnings(self) -> list[str]:
        """Messages of the lines of kind ``warning``; of those that passed, when they were so."""
        found = (entry for entry in self.entries if entry.get("kind") == "warning")
        return [
            str(entry.get("message") or entry.get("text") or entry) + self._passed(entry)
            for entry in found
        ]

    def _passed(self, warning: Mapping[str, Any]) -> str:
        """Return words for a warning about an epoch that the best epoch does not give cause for."""
        epoch, best = warning.get("epoch"), self.best_epoch
        if epoch is None or best is None:
            return ""
        for entry in self.entries:
            if entry.get("kind") == "epoch" and entry.get("epoch") == best:
                if warning["name"] in entry.get("weak_spots", [warning["name"]]):
                    return ""
                then = "no longer" if epoch < best else "not yet"
                return f" So it was after epoch {epoch}, {then} after epoch {best}, the best."
        return ""

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best checkpoint."""
        state = read_json(self.folder / "best" / "state.json", ("position",)) or {"position": {}}
        value = state["position"].get("best_epoch")
        return value if isinstance(value, int) else None

    @property
    def finished(self) -> bool:
        """Whether the log has its last line."""
        return any(entry.get("kind") == "end" for entry in self.entries)


@dataclass(frozen=True)
class TrainingRecord:
    """A training run.

    Attributes:
        folder: Where it lies.
        record: Content of ``run.json``.
        seeds: Its seeds, sorted by name.
    """

    folder: Path
    record: Mapping[str, Any]
    seeds: tuple[SeedRecord, ...]

    @property
    def name(self) -> str:
        """Name of the folder: model and digest."""
        return self.folder.name

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        data = self.settings.get("data") or {}
        return str(data.get("dataset") or self.folder.parent.name)

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.record.get("model") or self.name.rpartition("-")[0])

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved configuration, by owner."""
        found = self.record.get("settings")
        return found if isinstance(found, Mapping) else {}

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return [str(task["name"]) for task in self.record.get("tasks") or ()]

    @property
    def features(self) -> Mapping[str, Mapping[str, Any]]:
        """Role to feature, fingerprint and warnings."""
        found = self.record.get("fingerprints")
        return found if isinstance(found, Mapping) else {}

    @property
    def monitor(self) -> str:
        """Number that chose the best epoch, for example ``val/mean/macro_f1``."""
        return str(self.record.get("monitor") or "")

    @property
    def test_reads(self) -> list[Mapping[str, Any]]:
        """One entry for each time the test split was read."""
        return list(read_lines(self.folder / ACCESS_NAME))

    @cached_property
    def table(self) -> Mapping[str, Any] | None:
        """Mean and spread over seeds: as evaluated on test, else on val, else the trainer's."""
        for name in ("table-test.json", "table-val.json", "table.json"):
            found = read_json(self.folder / name, ("split", "rows"))
            if found is not None and _row(found, "baseline") and _row(found, "model"):
                return found
        return None

    def majority(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """Return the majority baseline on a split, task to metric to value, where it is known."""
        for name in (f"table-{split}.json", "table.json"):
            found = read_json(self.folder / name, ("split", "rows"))
            row = _row(found, "baseline") if found and found["split"] == split else None
            if row is not None:
                return {
                    task: {
                        name: cell["mean"]
                        for name, cell in cells.items()
                        if cell["mean"] is not None
                    }
                    for task, cells in row["results"].items()
                }
        return {}

    def scored_split(self) -> str | None:
        """Return ``test`` when any seed was evaluated on it, else ``val``, else None."""
        for split in ("test", "val"):
            if any(seed.scores(split) for seed in self.seeds):
                return split
        return None


def _row(table: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """Return the row of the baseline, of guessing, or of the run."""
    return next((row for row in table["rows"] if row.get("kind") == kind), None)


def rows_of(table: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the baseline's row and the run's; `TrainingRecord.table` has both."""
    baseline, model = _row(table, "baseline"), _row(table, "model")
    assert baseline is not None
    assert model is not None
    return baseline, model


def guessing_of(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what guessing scores, task to metric to cell; empty where no task has classes."""
    row = _row(table, "guess")
    return row["results"] if row else {}


def flags_of(table: Mapping[str, Any]) -> list[str]:
    """Return what was found wrong with the run's predictions, once for each task."""
    found: dict[str, str] = {}
    for flag in rows_of(table)[1].get("flags", ()):
        where = f"{flag['task']} {flag['view']}".strip()
        # Which constant it is says more than that it is one.
        if where not in found or flag["kind"] == "equals_constant":
            found[where] = str(flag["message"])
    return [f"{where}: {message}" for where, message in found.items()]


def is_training_run(folder: Path) -> bool:
    """Return whether a folder is that of a training run."""
    return (folder / RUN_NAME).is_file() and any(folder.glob("seed-*"))


def read_run(folder: Path) -> TrainingRecord:
    """Return a training run.

    Raises:
        UsageError: There is none in this folder.
    """
    record = read_json(folder / RUN_NAME)
    if record is None or not is_training_run(folder):
        message = f"'{folder}' is no training run: expected {RUN_NAME} and seed-… in it"
        raise UsageError(message, "`pipeline train` prints the folder it writes")
    seeds = (SeedRecord(path.name[len("seed-") :], path) for path in _seed_folders(folder))
    return TrainingRecord(folder, record, tuple(seeds))


def _seed_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("seed-*") if path.is_dir())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file; a torn last line is left out."""
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def collect_series(entries: Sequence[Mapping[str, Any]], kind: str, axis: str) -> Series:
    """Return the numbers of one kind of line by name; a repeated position keeps its last value."""
    found: dict[str, dict[float, float]] = {}
    for entry in entries:
        position = entry.get(axis)
        if entry.get("kind") != kind or not isinstance(position, int | float):
            continue
        for name, value in numbers(entry):
            if name not in (axis, "kind"):
                found.setdefault(name, {})[float(position)] = value
    return {name: sorted(points.items()) for name, points in found.items()}


def numbers(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of a nested mapping under names joined by slashes."""
    for key, item in value.items():
        name = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(item, Mapping):
            yield from numbers(item, name)
        elif isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item):
            yield name, float(item)
