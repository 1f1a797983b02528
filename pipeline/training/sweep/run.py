"""A trial is an ordinary training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...config import canonical_json, digest
from ...errors import AffectflowError, ConfigError, InvalidInput
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
    known: dict[str, _Opened | AffectflowError] = {}
    ranked: dict[str, Any] = {}

    def digest_of(overrides: Mapping[str, Mapping[str, Any]]) -> str:
        settings = resolve(sweep.model, sweep.dataset, stores, sweep.preset, overrides)
        trainer = settings.recipe.trainer
        asked = [settings.data.model_dump(mode="json"), trainer.monitor, trainer.metrics]
        name = canonical_json(asked)
        if name not in known:
            known[name] = _open(settings, tell)
        found = known[name]
        if isinstance(found, AffectflowError):
            raise found
        _check_comparable(ranked, found, settings)
        return found.digest

    return digest_of


class _Opened(NamedTuple):
    """What is kept of data: their digest, that of val, and what trials are ranked by."""

    digest: str
    val: str
    monitor: str


def _open(settings: Settings, tell: Callable[[str], None]) -> _Opened | AffectflowError:
    """Return what is to be known of the data, or why they cannot be trained on."""
    trainer = settings.recipe.trainer
    try:
        data = open_splits(settings, tell)
        val = data.split("val")
        monitor = Monitor.of(trainer.monitor, data.tasks)
        check_monitor(monitor, data.tasks, val.labels, trainer.metrics)
    except AffectflowError as error:
        # Its traceback would keep the data alive.
        return error.with_traceback(None)
    return _Opened(data.digest, digest(val.keys.tolist()), monitor.name)


def _check_comparable(ranked: dict[str, Any], found: _Opened, settings: Settings) -> None:
    """Refuse a trial whose number is of other samples, or of another loss, than the first one's.

    Raises:
        ConfigError: Saying which.
    """
    if ranked.setdefault("val", found.val) != found.val:
        message = "the trials would be scored on different samples of val"
        raise ConfigError(message, "a feature or a limit leaves some out; make one sweep of each")
    if "loss" not in found.monitor.split("/"):
        return
    loss = settings.recipe.loss.model_dump(mode="json")
    if ranked.setdefault("loss", loss) != loss:
        message = f"the trials would be ranked by {found.monitor}, each by another loss"
        raise ConfigError(message, "name a metric: --set trainer.monitor=val/mean/macro_f1")
