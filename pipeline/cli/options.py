"""Options that several commands share, and turning them into a run configuration."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..engine.session import DagBuilder, Session

STORE_VARIABLE = "AFFECTFLOW_STORE"

Dataset = Annotated[str, typer.Option(help="Built-in dataset, or path to a manifest.yaml.")]
Root = Annotated[str | None, typer.Option(help="Folder with the dataset's files.")]
Store = Annotated[Path, typer.Option(envvar=STORE_VARIABLE, help="Folder of the feature store.")]
Profile = Annotated[str, typer.Option(help="offline (no downloads) or paper (the papers' models).")]
Features = Annotated[str | None, typer.Option(help="Comma-separated extractors, e.g. bert,clip.")]
Limit = Annotated[
    int | None, typer.Option(min=1, max=2**31 - 1, help="Take only the first samples.")
]
Augment = Annotated[bool, typer.Option("--augment", help="Add paraphrased training samples.")]
Budget = Annotated[
    float | None,
    typer.Option("--budget-usd", min=0, help="Hard limit on paid requests; see `llm estimate`."),
]
Cluster = Annotated[str, typer.Option(help="inline, local, or tcp://host:port of a scheduler.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes of --cluster local.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="owner.key=value, e.g. inpaint.radius=3 or engine.shard_rows=512."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Run = Annotated[str | None, typer.Option(help="Run to look at; the latest by default.")]

DEFAULT_STORE = Path("affectflow-store")


def make_config(
    dataset: str,
    root: str | None,
    profile: str,
    features: str | None,
    limit: int | None,
    augment: bool,
    assignments: list[str] | None,
    budget_usd: float | None = None,
) -> RunConfig:
    """Return the run configuration that the options ask for.

    Raises:
        ConfigError: A value is unknown or out of range.
    """
    from ..config import EngineConfig, RunConfig, parse, parse_overrides

    overrides = parse_overrides(assignments or [])
    if budget_usd is not None:
        overrides.setdefault("paraphrase", {})["budget_usd"] = budget_usd
    engine = parse(EngineConfig, overrides.pop("engine", {}), "--set engine")
    values: dict[str, Any] = {
        "dataset": dataset,
        "root": root,
        "profile": profile,
        "limit": limit,
        "augment": augment,
        "engine": engine,
        "stages": overrides,
    }
    if features is not None:
        names = (name.strip() for name in features.split(","))
        values["features"] = tuple(dict.fromkeys(name for name in names if name))
    return parse(RunConfig, values, "options")


def load_dag(name: str) -> DagBuilder:
    """Return the function that builds a graph; graphs are loaded by name, only here."""
    builder: DagBuilder = importlib.import_module(f"affectflow.dags.{name}").build
    return builder


def latest_session(
    store: Path, run: str | None, assignments: list[str] | None = None
) -> tuple[Session, dict[str, Any]]:
    """Return a recorded run over the store as it is now, with its record.

    Args:
        store: The store.
        run: Beginning of the run's name; None for the latest.
        assignments: ``engine.key=value`` to use in place of what was recorded.
    """
    from ..config import parse_overrides
    from ..engine.session import latest_run, reopen
    from ..errors import ConfigError
    from ..store.layout import StoreLayout

    record = latest_run(StoreLayout(store.absolute()), run)
    overrides = parse_overrides(assignments or [])
    if set(overrides) - {"engine"}:
        raise ConfigError("a recorded run takes --set engine.… only", "else: pipeline run extract")
    config = {**record["config"]}
    config["engine"] = {**config["engine"], **overrides.get("engine", {})}
    record = {**record, "config": config}
    return reopen(record, store, load_dag), record
