"""The `pipeline` command: parses first, imports later, turns errors into one line and a code."""

from __future__ import annotations

import sys

import typer

from . import doctor, llm, run, state, weights

app = typer.Typer(
    name="pipeline",
    help="From raw memes, clips and product pages to audited features.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(run.run_app, name="run")
app.add_typer(run.plan_app, name="plan")
app.add_typer(run.explain_app, name="explain")
app.command("status")(state.status)
app.command("retry")(state.retry)
app.add_typer(state.quarantine_app, name="quarantine")
app.add_typer(weights.app, name="weights")
app.add_typer(llm.app, name="llm")
app.command("doctor")(doctor.doctor)

INTERRUPTED = 130


def main() -> None:
    """Run the command line; every expected error is one readable line on standard error."""
    from ..errors import AffectflowError

    try:
        app(standalone_mode=True)
    except AffectflowError as error:
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  what to do: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped; running the same command again goes on from here", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(1)
