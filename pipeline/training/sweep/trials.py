"""Running the trials of a sweep one after the other, and what is known of each.

```
<runs>/<dataset>/sweep-<model>-<digest>/
    sweep.json        what is searched
    trials.json       one entry per trial: settings, digest of its data, run folder, status, values
                      on val
    table.md          the same, best first, below the majority class and guessing
```

A trial is an ordinary run: a folder named by its settings, which goes on where it stopped. Trials
are given what training is given and nothing else: the splits ``train`` and ``val``. A trial whose
data are no longer those it was trained on is run again. Settings that no trial could take are
refused before the folder is made.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...config import canonical_json, digest
from ...errors import AffectflowError, UsageError
from ...store.layout import read_json, written_whole
from .refusals import refuse_impossible
from .space import Space, overrides_of
from .table import markdown, read_baselines

SWEEP_NAME, TRIALS_NAME, TABLE_NAME = "sweep.json", "trials.json", "table.md"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is swept.

    Attributes:
        model: Name of the model.
        dataset: Name of the dataset.
        space: What is searched.
        base: ``--set`` assignments that all trials share.
        preset: Preset that all trials start from.
        seeds: Each trial is trained once with each.
    """

    model: str
    dataset: str
    space: Space
    base: tuple[str, ...] = ()
    preset: str | None = None
    seeds: tuple[int, ...] = (1111,)

    def identity(self) -> dict[str, Any]:
        """Return what names the sweep; more trials of the same space are the same sweep."""
        space = {
            "grid": {name: list(values) for name, values in self.space.grid.items()},
            "random": {name: asdict(found) for name, found in self.space.random.items()},
            "seed": self.space.seed,
        }
        found = {"model": self.model, "dataset": self.dataset, "preset": self.preset}
        return {**found, "space": space, "base": sorted(self.base), "seeds": list(self.seeds)}

    def folder(self, runs: Path) -> Path:
        """Return the folder of the sweep."""
        return runs / self.dataset / f"sweep-{self.model}-{digest(self.identity())}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one trial came to.

    Attributes:
        run: Name of the run's folder, beside that of the sweep.
        values: By seed, the monitored value on val at the best epoch.
        monitor: What that value is.
        maximise: Whether more is better.
    """

    run: str
    values: Mapping[str, float]
    monitor: str
    maximise: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes:
        number: From 0; what is shown counts from 1.
        settings: What it has of its own, by ``owner.key``.
        status: ``waiting``, ``done`` or ``failed``.
        error: The cause of a failure.
        finding: What it came to; None unless done.
        seconds: How long the last session took.
        data: Digest of the data it was trained on, or failed on; empty where it is not known.
    """

    number: int
    settings: Mapping[str, Any]
    status: str = "waiting"
    error: str = ""
    finding: Finding | None = None
    seconds: float = 0.0
    data: str = ""

    @property
    def mean(self) -> float | None:
        """Mean over seeds; None unless done."""
        if self.finding is None or not self.finding.values:
            return None
        return sum(self.finding.values.values()) / len(self.finding.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None unless done with several."""
        if self.finding is None or len(self.finding.values) < 2:
            return None
        return statistics.stdev(self.finding.values.values())


Overrides = Mapping[str, Mapping[str, Any]]
Runner = Callable[[Overrides], Finding]
DigestOf = Callable[[Overrides], str]
Watcher = Callable[[Trial, int], None]


@dataclass(slots=True)
class Sweeping:
    """A sweep that is being run.

    Args:
        sweep: What is swept.
        runs: Folder of all runs.
        run: Trains one trial; given its overrides by owner.
        digest_of: Names the data of a trial as they are today, or raises why they cannot be
            opened; given its overrides by owner.
        watch: Told of every trial that has ended and of how many there are.
        stale: Told, like ``watch``, of every trial that ended before on other data.
        retry: Whether trials that failed before are run again.
    """

    sweep: Sweep
    runs: Path
    run: Runner
    digest_of: DigestOf
    watch: Watcher = field(default=lambda trial, count: None)
    stale: Watcher = field(default=lambda trial, count: None)
    retry: bool = False

    def finish(self) -> list[Trial]:
        """Run every trial that is not done on the data of today, and return all of them.

        A trial that fails does not stop the others.

        Raises:
            AffectflowError: No trial could take some value, see `refuse_impossible`; nothing is
                written then.
        """
        base = self.sweep.base
        refuse_impossible(
            self.sweep.space.points(), lambda point: self.digest_of(overrides_of(base, point))
        )
        folder = self.sweep.folder(self.runs)
        _write_json(folder / SWEEP_NAME, self.sweep.identity())
        trials = self._known(folder)
        for number, trial in enumerate(trials):
            overrides = overrides_of(base, trial.settings)
            today = self._today(overrides)
            changed = trial.status != "waiting" and trial.data != today
            if changed:
                self.stale(trial, len(trials))
            elif trial.status == "done" or (trial.status == "failed" and not self.retry):
                continue
            trials[number] = self._try(replace(trial, data=today), overrides)
            write_trials(folder, trials)
            self.watch(trials[number], len(trials))
        write_trials(folder, trials)
        return trials

    def _known(self, folder: Path) -> list[Trial]:
        """Return the trials of the space, with what is written down about each."""
        before = {canonical_json(dict(trial.settings)): trial for trial in read_trials(folder)}
        found = []
        for number, point in enumerate(self.sweep.space.points()):
            known = before.get(canonical_json(point))
            found.append(replace(known or Trial(number, point), number=number, settings=point))
        return found

    def _today(self, overrides: Overrides) -> str:
        """Return the digest of a trial's data; empty where running the trial will say why not."""
        try:
            return self.digest_of(overrides)
        except AffectflowError:
            return ""

    def _try(self, trial: Trial, overrides: Overrides) -> Trial:
        began = time.monotonic()
        try:
            finding = self.run(overrides)
        except UsageError:
            # No such model or preset: no trial could be better.
            raise
        except AffectflowError as error:
            return self._failed(trial, str(error), began)
        except (RuntimeError, ValueError, MemoryError, ArithmeticError) as error:
            # What torch raises for sizes that do not fit or memory that is spent: one point of the
            # space is not worth the others.
            return self._failed(trial, f"{type(error).__name__}: {error}", began)
        seconds = round(time.monotonic() - began, 3)
        return replace(trial, status="done", error="", finding=finding, seconds=seconds)

    def _failed(self, trial: Trial, cause: str, began: float) -> Trial:
        seconds = round(time.monotonic() - began, 3)
        words = " ".join(cause.split())[:500]
        return replace(trial, status="failed", error=words, finding=None, seconds=seconds)


def read_trials(folder: Path) -> list[Trial]:
    """Return the trials that a sweep's folder tells of; none where there is no such file."""
    found = read_json(folder / TRIALS_NAME, ("trials",)) or {"trials": []}
    return [
        Trial(**{**item, "finding": Finding(**item["finding"]) if item["finding"] else None})
        for item in found["trials"]
    ]


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Write `trials.json` and `table.md`, each whole."""
    _write_json(folder / TRIALS_NAME, {"trials": [asdict(trial) for trial in trials]})
    with written_whole(folder / TABLE_NAME) as temporary:
        temporary.write_text(markdown(trials, read_baselines(folder, trials)), encoding="utf-8")


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(canonical_json(value) + "\n", encoding="utf-8")
