"""`pipeline features import`: what others computed, into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as opt

if TYPE_CHECKING:
    from ..ingest.foreign import Imported

Files = Annotated[
    list[Path], typer.Argument(help="The file; for csd and declare_lab several, or their folder.")
]
Format = Annotated[str, typer.Option("--as", help="mmsa, mult, multibench, csd or declare_lab.")]
Name = Annotated[
    str | None, typer.Option("--dataset", help="Name it gets; by default made of the file's name.")
]
Folds = Annotated[
    Path | None,
    typer.Option("--splits", help="JSON, train/val/test to video ids; for csd, which has none."),
]


def import_features(
    files: Files,
    form: Format,
    dataset: Name = None,
    store: opt.Store = opt.DEFAULT_STORE,
    splits: Folds = None,
    json_output: opt.Json = False,
) -> None:
    """Write features that others computed into the store, once; the files are only read."""
    from ..ingest.foreign import import_features as import_files
    from ..store.layout import StoreLayout
    from . import show

    with show.interruptible():
        done = import_files(
            files,
            form,
            StoreLayout(store.absolute()),
            dataset=dataset,
            folds=None if splits is None else read_folds(splits),
            progress=(lambda message: None) if json_output else show.tell,
        )
    if json_output:
        show.print_json(done.to_json())
        return
    print_imported(done)


def read_folds(path: Path) -> dict[str, list[str]]:
    """Return split name to video ids from a JSON file.

    Raises:
        DatasetError: It is not that.
    """
    import json

    from ..errors import DatasetError
    from ..foreign._pickled import SPLITS

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path.name}: not readable as JSON: {error}") from None
    if not isinstance(found, dict) or not all(
        name in SPLITS and isinstance(ids, list) and all(isinstance(item, str) for item in ids)
        for name, ids in found.items()
    ):
        hint = 'expected {"train": [ids], "val": [ids], "test": [ids]}'
        raise DatasetError(f"{path.name}: no splits of videos", hint)
    return {SPLITS[name]: ids for name, ids in found.items()}


def print_imported(done: Imported) -> None:
    """Print what an import wrote or found."""
    from . import show

    facts = done.facts
    for file in facts["files"]:
        known = file["published_as"]
        origin = f"published as {known}" if known else "not among the files whose digest is known"
        typer.echo(f"{file['name']}  sha256 {file['sha256'][:16]}…  {origin}")
    names = ("feature", "value", "ok", "absent", "mean length", "longest", "padding", "treated")
    rows = [_feature_row(item) for item in facts["features"]]
    show.print_table(f"{done.dataset}: {facts['rows']:,} samples", names, rows)
    labels = [
        (split, facts["splits"][split], task, _counts(counts))
        for split, tasks in _ordered(facts["labels"])
        for task, counts in tasks.items()
    ]
    show.print_table("labels", ("split", "samples", "task", "labels"), labels)
    for name in ("statuses", "flags"):
        counts = {key: count for key, count in facts[name].items() if key != "ok"}
        if counts:
            typer.echo(f"{name}: {', '.join(f'{key} {count:,}' for key, count in counts.items())}")
    for note in facts["notes"]:
        typer.echo(f"note: {note}")
    shards = f"{done.written} shards written" if done.written else "already in the store"
    typer.echo(f"{done.samples} · fingerprint {done.fingerprint} · {shards}")


def _counts(counts: dict[str, int]) -> str:
    named = ((name if name != "None" else "no label", count) for name, count in counts.items())
    return ", ".join(f"{name} {count:,}" for name, count in named)


def _feature_row(item: dict[str, Any]) -> tuple[Any, ...]:
    shape = "×".join("n" if size is None else str(size) for size in item["shape"])
    treated = item["treated"]
    kinds = [f"{treated[k]:,} {k}" for k in ("nan", "plus_inf", "minus_inf") if treated[k]]
    what = f"{', '.join(kinds)} → 0 in {treated['rows']:,} rows" if kinds else ""
    mean, longest = item["length_mean"], item["length_max"]
    padding = item.get("padding", "")
    value = f"{shape} {item['dtype']}"
    return (item["name"], value, item["ok"], item["absent"], mean, longest, padding, what)


def _ordered(labels: dict[str, Any]) -> list[tuple[str, Any]]:
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(labels.items(), key=lambda pair: order.get(pair[0], 3))
