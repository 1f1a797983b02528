"""The `pipeline` command: parses first, imports later, turns errors into one line and a code."""

from __future__ import annotations

import os
import sys

import typer

from . import (
    datasets,
    doctor,
    evaluate,
    features,
    inspect,
    llm,
    predict,
    report,
    run,
    state,
    sweep,
    train,
    verify,
    weights,
)

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
app.command("inspect")(inspect.inspect)
app.command("verify")(verify.verify)
app.command("report")(report.report)
app.add_typer(train.app, name="train")
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("sweep")(sweep.sweep)
app.add_typer(features.app, name="features")
app.add_typer(datasets.app, name="datasets")
app.add_typer(weights.app, name="weights")
app.add_typer(llm.app, name="llm")
app.command("doctor")(doctor.doctor)

DEBUG_VARIABLE = "AFFECTFLOW_DEBUG"


def main() -> None:
    """Run the command line; every expected error is one readable line on standard error."""
    from ..errors import AffectflowError

    # NumPy's own threads would make the last bits depend on the process a shard is computed in, and
    # on a setting of the user's that no fingerprint knows; it reads this when it is imported.
    # Torch, ONNX and OpenCV get `engine.threads`.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        app(standalone_mode=True)
    except AffectflowError as error:
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  what to do: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}: '{error.filename or ''}'", err=True)
        typer.echo("  what to do: check that the path exists and its permissions", err=True)
        sys.exit(AffectflowError.exit_code)
    except Exception as error:
        # A defect of ours: one line for the user, the traceback for whoever asks for it.
        if os.environ.get(DEBUG_VARIABLE):
            raise
        typer.echo(f"internal error: {type(error).__name__}: {error}", err=True)
        typer.echo(f"  what to do: set {DEBUG_VARIABLE}=1 and report what it prints", err=True)
        sys.exit(1)
