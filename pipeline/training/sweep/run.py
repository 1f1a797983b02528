"""A trial is an ordinary training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import canonical_json
from ...errors import AffectflowError, InvalidInput, UsageError
from ..experiment import open_splits, train
from ..journal import Watcher
from ..metrics import is_maximised
from ..run_folder import RunFolder
from ..settings import resolve
from .trials import DigestOf, Finding, Runner, Sweep


def trial_runner(sweep: Sweep, stores: Sequence[Path], runs: Path, watch: Watcher) -> Runner:
    """Return what trains one trial.

    Training opens ``train`` and ``val``; no path leads from here to a label of the test split.

    Args:
        sweep: What is swept.
        stores: Feature stores.
        runs: Folder of all runs.
        watch: Called with every entry of every log.
    """

    def run(overrides: Mapping[str, Mapping[str, Any]]) -> Finding:
        settings = resolve(sweep.model, sweep.dataset, stores, sweep.preset, overrides)
        outcome = train(settings, sweep.seeds, runs, watch)
        values = {seed: facts["best"] for seed, facts in outcome.seeds.items()}
        if any(value is None for value in values.values()):
            raise InvalidInput(f"run '{outcome.folder.name}' has no validated epoch")
        monitor = str(RunFolder(outcome.folder).record()["monitor"])
        return Finding(outcome.folder.name, values, monitor, is_maximised(monitor))

    return run


def data_digests(
    sweep: Sweep, stores: Sequence[Path], tell: Callable[[str], None] = lambda message: None
) -> DigestOf:
    """Return what names the data that a trial would be trained on today, by their content.

    The digest is empty where they cannot be opened; running the trial then says why. Trials that
    differ in nothing about the data share one opening.

    Args:
        sweep: What is swept.
        stores: Feature stores.
        tell: Called before what may take long.
    """
    known: dict[str, str] = {}

    def digest_of(overrides: Mapping[str, Mapping[str, Any]]) -> str:
        try:
            settings = resolve(sweep.model, sweep.dataset, stores, sweep.preset, overrides)
            name = canonical_json(settings.data.model_dump(mode="json"))
            if name not in known:
                known[name] = open_splits(settings, tell).digest
            return known[name]
        except UsageError:
            # No such model or preset, for every trial.
            raise
        except AffectflowError:
            return ""

    return digest_of
