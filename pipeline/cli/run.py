"""`pipeline run`, `plan` and `explain`: the graph, what is missing, and why."""

from __future__ import annotations

import typer

from . import options as opt

run_app = typer.Typer(help="Run a graph of stages.", no_args_is_help=True, rich_markup_mode=None)
plan_app = typer.Typer(
    help="Show what a run would do.", no_args_is_help=True, rich_markup_mode=None
)
explain_app = typer.Typer(
    help="Say why shards would be computed again.", no_args_is_help=True, rich_markup_mode=None
)


@run_app.command("extract")
def run_extract(
    dataset: opt.Dataset,
    root: opt.Root = None,
    store: opt.Store = opt.DEFAULT_STORE,
    profile: opt.Profile = "offline",
    features: opt.Features = None,
    limit: opt.Limit = None,
    augment: opt.Augment = False,
    cluster: opt.Cluster = "local",
    workers: opt.Workers = None,
    assignments: opt.Assignments = None,
    budget_usd: opt.Budget = None,
    json_output: opt.Json = False,
) -> None:
    """From raw data to audited feature shards; running it again goes on from where it stopped."""
    from ..engine.session import execute, open_session
    from . import show

    config = opt.make_config(
        dataset, root, profile, features, limit, augment, assignments, budget_usd
    )
    with show.interruptible():
        session = open_session(config, store, opt.load_dag("extract"), show.tell)
        with show.progress_bar(len(session.plan.cells), quiet=json_output) as watcher:
            summary = execute(session, cluster=cluster, workers=workers, watcher=watcher)
    if json_output:
        show.print_json(summary.to_json())
    else:
        show.print_summary(summary)
    raise typer.Exit(summary.exit_code)


@plan_app.command("extract")
def plan_extract(
    dataset: opt.Dataset,
    root: opt.Root = None,
    store: opt.Store = opt.DEFAULT_STORE,
    profile: opt.Profile = "offline",
    features: opt.Features = None,
    limit: opt.Limit = None,
    augment: opt.Augment = False,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Show the grid of nodes and shards: what is cached, stale, missing or failed."""
    from ..engine.plan import STATES
    from ..engine.session import open_session
    from . import show

    config = opt.make_config(dataset, root, profile, features, limit, augment, assignments)
    session = open_session(config, store, opt.load_dag("extract"), show.tell)
    counts = session.plan.counts()
    if json_output:
        nodes = {
            name: {
                "fingerprint": planned.fingerprint,
                **{state: counts[name][state] for state in STATES},
            }
            for name, planned in session.plan.nodes.items()
        }
        value = {"dataset": session.samples.dataset, "samples": session.samples.num_rows}
        show.print_json({**value, "shards": len(session.samples.shards), "nodes": nodes})
        return
    rows = [
        (name, planned.fingerprint, *(counts[name][state] for state in STATES))
        for name, planned in session.plan.nodes.items()
    ]
    title = f"{session.samples.dataset}: {session.samples.num_rows:,} samples"
    title += f" in {len(session.samples.shards):,} shards"
    show.print_table(title, ("node", "fingerprint", *STATES), rows)
    for warning in session.plan.warnings():
        show.tell(f"warning: {warning}")


@explain_app.command("extract")
def explain_extract(
    dataset: opt.Dataset,
    root: opt.Root = None,
    store: opt.Store = opt.DEFAULT_STORE,
    profile: opt.Profile = "offline",
    features: opt.Features = None,
    limit: opt.Limit = None,
    augment: opt.Augment = False,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Name the component that differs from what the store holds, node by node."""
    from ..engine.explain import explain
    from ..engine.session import open_session
    from . import show

    config = opt.make_config(dataset, root, profile, features, limit, augment, assignments)
    session = open_session(config, store, opt.load_dag("extract"), show.tell)
    findings = explain(session.plan)
    if json_output:
        show.print_json([finding.to_json() for finding in findings])
        return
    for finding in findings:
        typer.echo(f"{finding.node}: {finding.verdict}")
        for line in finding.lines():
            typer.echo(f"  {line}")
