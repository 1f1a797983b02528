"""`pipeline llm`: what paraphrases will cost, and what they have cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DEFAULT_STORE, Assignments, Json, Store

if TYPE_CHECKING:
    from ..llm.ledger import Ledger
    from ..stages.paraphrase import Config

app = typer.Typer(
    name="llm",
    help="Cost of language-model requests, before and after.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Captions = Annotated[
    Path | None, typer.Option(help="Text file with a caption per line, or JSONL with 'text'.")
]
DatasetName = Annotated[str | None, typer.Option(help="Dataset in the store.")]
LedgerFolder = Annotated[Path | None, typer.Option(help="Ledger folder; <store>/llm by default.")]


@app.command("estimate")
def estimate_command(
    captions: Captions = None,
    store: Store = DEFAULT_STORE,
    dataset: DatasetName = None,
    ledger: LedgerFolder = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Print requests, tokens and cost before anything is sent.

    Model and prices come from --set paraphrase.model=NAME and --set paraphrase.price_table=FILE.
    """
    from ..errors import UsageError
    from ..llm.captions import captions_of_file, captions_of_store
    from ..llm.estimate import estimate
    from .show import print_json, print_table

    config = _config(assignments)
    if captions is not None:
        texts, origin = captions_of_file(captions), captions.name
    elif dataset is not None:
        texts, origin = captions_of_store(store, dataset)
    else:
        raise UsageError(
            "nothing to estimate", "pass --captions FILE or --store DIR --dataset NAME"
        )
    batch = config.provider == "openai-batch"
    price = config.terms().price
    found = estimate(config.recipe(), texts, _ledger(ledger, store), price, batch)
    value = {"from": origin, "model": config.model, **found.to_json()}
    if as_json:
        print_json(value)
        return
    rows = [(name, value["expected"][name], value["most"][name]) for name in value["expected"]]
    title = (
        f"{value['captions']} captions from {origin}, {value['cached']} answered in the ledger; "
        f"prediction by {value['basis']}"
    )
    print_table(title, ("", "expected", "at most"), _readable(rows))


@app.command("spend")
def spend_command(
    store: Store = DEFAULT_STORE,
    ledger: LedgerFolder = None,
    as_json: Json = False,
) -> None:
    """Print what was sent and what it cost, per provider and model, from the ledger."""
    from .show import print_json, print_table

    found = _ledger(ledger, store)
    value = spending(found)
    if as_json:
        print_json(value)
        return
    columns = (
        "provider", "model", "answered", "unknown", "rejected", "released", "requests",
        "input_tokens", "output_tokens", "cost_usd", "in_flight_usd",
    )  # fmt: skip
    rows = [tuple(entry[name] for name in columns) for entry in value["models"]]
    print_table("Spent; unknown replies count at the most they can have cost", columns, rows)


def spending(ledger: Ledger) -> dict[str, Any]:
    """Return the totals of a ledger as JSON."""
    ledger.refresh()
    models = [
        {
            "provider": provider,
            "model": model,
            **{
                status: tally.settled[status]
                for status in ("answered", "unknown", "rejected", "released")
            },
            **tally.used.to_json(),
            "in_flight": tally.in_flight.requests,
            "in_flight_usd": tally.in_flight.cost_usd,
        }
        for (provider, model), tally in sorted(ledger.tallies.items())
    ]
    return {
        "models": models,
        "total": ledger.used().to_json(),
        "torn_lines": ledger.torn_lines,
    }


def _config(assignments: list[str] | None) -> Config:
    from ..config import parse, parse_overrides
    from ..errors import UsageError
    from ..stages.paraphrase import Config

    overrides = parse_overrides(assignments or [])
    values = {"provider": "openai", **overrides.pop("paraphrase", {})}
    if overrides:
        raise UsageError(
            f"--set names '{next(iter(overrides))}'", "here only paraphrase.… can be set"
        )
    return parse(Config, values, "--set paraphrase")


def _ledger(folder: Path | None, store: Path) -> Ledger:
    from ..llm.ledger import Ledger

    return Ledger((folder or store / "llm").absolute())


def _readable(rows: list[tuple[str, Any, Any]]) -> list[tuple[str, str, str]]:
    def text(value: Any) -> str:
        if value is None:
            return "unknown: no price table"
        return f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"

    return [(name, text(expected), text(most)) for name, expected, most in rows]
