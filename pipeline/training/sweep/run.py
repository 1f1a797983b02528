"""A trial is an ordinary training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import canonical_json
from ...errors import AffectflowError, InvalidInput
from ..experiment import open_splits, train
from ..journal import Watcher
from ..metrics import is_maximised
from ..run_folder import RunFolder
from ..scores import Monitor, check_monitor
from ..settings import Settings, resolve
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

    It raises what is wrong with the settings, the data, or the number trials are ranked by. Trials
    that differ in none of these share one opening.

    Args:
        sweep: What is swept.
        stores: Feature stores.
        tell: Called before what may take long.
    """
    known: dict[str, str | AffectflowError] = {}

    def digest_of(overrides: Mapping[str, Mapping[str, Any]]) -> str:
        settings = resolve(sweep.model, sweep.dataset, stores, sweep.preset, overrides)
        trainer = settings.recipe.trainer
        asked = [settings.data.model_dump(mode="json"), trainer.monitor, trainer.metrics]
        name = canonical_json(asked)
        if name not in known:
            known[name] = _digest(settings, tell)
        found = known[name]
        if isinstance(found, AffectflowError):
            raise found
        return found

    return digest_of


def _digest(settings: Settings, tell: Callable[[str], None]) -> str | AffectflowError:
    """Return the digest of the data, or why they cannot be trained on."""
    trainer = settings.recipe.trainer
    try:
        data = open_splits(settings, tell)
        monitor = Monitor.of(trainer.monitor, data.tasks)
        check_monitor(monitor, data.tasks, data.split("val").labels, trainer.metrics)
    except AffectflowError as error:
        # Its traceback would keep the data alive.
        return error.with_traceback(None)
    return data.digest
