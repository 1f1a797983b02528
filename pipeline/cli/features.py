"""`pipeline features`: list what a store holds, compare, import, export to other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as opt
from .imported import import_features

if TYPE_CHECKING:
    from ..store.api import Store

app = typer.Typer(
    help="List, compare, import and export features.", no_args_is_help=True, rich_markup_mode=None
)
app.command("import")(import_features)

_FORMATS = "lists (Parquet), npy, hf, webdataset, csv or mmsa-pkl"
Dataset = Annotated[str | None, typer.Option(help="Only this dataset.")]
Reference = Annotated[
    str, typer.Argument(help="Fingerprint, DATASET/FEATURE or DATASET/FEATURE/FINGERPRINT.")
]
References = Annotated[
    list[str] | None,
    typer.Argument(
        help="Features to export, as in diff; the latest run's by default. For mmsa-pkl "
        "ROLE=FEATURE with the roles text, audio, vision, text_bert."
    ),
]
StoreB = Annotated[Path | None, typer.Option(help="Store of B; that of A by default.")]
Split = Annotated[str | None, typer.Option(help="Only train, val or test.")]
Out = Annotated[Path, typer.Option(help="Folder to make.")]
Format = Annotated[str, typer.Option("--as", help=_FORMATS)]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier export.")]


@app.command("list")
def list_features(
    store: opt.Store = opt.DEFAULT_STORE,
    dataset: Dataset = None,
    json_output: opt.Json = False,
) -> None:
    """List every feature: shape, rows by status, size; * marks the latest run's."""
    from ..store.api import open_store
    from . import show

    infos = open_store(store).features(dataset)
    if json_output:
        show.print_json([info.to_json() for info in infos])
        return
    rows = [
        (
            info.dataset,
            info.name,
            f"{info.fingerprint}{'*' if info.latest else ''}",
            info.node,
            shape_text(info.shape, info.dtype),
            info.counts["ok"],
            info.counts["absent"],
            info.counts["failed"],
            show.size_text(info.bytes),
            f"{info.shards}/{info.num_shards}",
        )
        for info in infos
    ]
    names = ("dataset", "feature", "fingerprint", "node", "value", "ok", "absent", "failed")
    show.print_table(f"{len(infos)} features", (*names, "size", "shards"), rows)
    for warning in dict.fromkeys(text for info in infos for text in info.warnings):
        show.tell(f"warning: {warning}")


@app.command("diff")
def diff(
    a: Reference,
    b: Reference,
    store: opt.Store = opt.DEFAULT_STORE,
    store_b: StoreB = None,
    json_output: opt.Json = False,
) -> None:
    """Compare two features by recipe and, joined by key, by value."""
    from ..store.api import open_store
    from ..store.diff import diff_features, value_lines
    from ..store.references import resolve
    from . import show

    first = resolve(open_store(store), a)
    second = resolve(open_store(store_b or store), b)
    found = diff_features(first, second)
    if json_output:
        show.print_json(found.to_json())
        return
    typer.echo(f"A {found.a}")
    typer.echo(f"B {found.b}")
    typer.echo("recipe: the same" if not found.recipe else "recipe:")
    for path, old, new in found.recipe:
        typer.echo(f"  {path}: {_leaf(old)} -> {_leaf(new)}")
    typer.echo("values: the same" if found.same_values else "values:")
    for line in value_lines(found):
        typer.echo(f"  {line}")


@app.command("export")
def export(
    out: Out,
    form: Format,
    references: References = None,
    store: opt.Store = opt.DEFAULT_STORE,
    split: Split = None,
    force: Force = False,
    json_output: opt.Json = False,
) -> None:
    """Write features in a form that other tools read; all of them or nothing."""
    from ..store.api import open_store
    from ..store.export import export_features
    from ..store.references import latest_features, resolve
    from . import show

    opened = open_store(store)
    if form == "mmsa-pkl":
        _export_mmsa(opened, references or [], out, split, force, json_output)
        return
    wanted = [resolve(opened, reference) for reference in references or ()]
    chosen = wanted or latest_features(opened)
    done = export_features(opened, chosen, form, out.absolute(), split=split, force=force)
    if json_output:
        show.print_json(done)
        return
    rows = [(item["feature"], item["folder"], item["rows"], item["ok"]) for item in done]
    show.print_table(f"exported to {out}", ("feature", "folder", "rows", "with a value"), rows)


def _export_mmsa(
    store: Store,
    references: list[str],
    out: Path,
    split: str | None,
    force: bool,
    json_output: bool,
) -> None:
    from ..errors import UsageError
    from ..store.export.mmsa import choose_roles, export_mmsa
    from . import show

    if split is not None:
        raise UsageError("mmsa-pkl holds all splits in one file", "leave --split out")
    done = export_mmsa(store, choose_roles(store, references), out.absolute(), force=force)
    if json_output:
        show.print_json(done)
        return
    counts = ", ".join(f"{name} {count:,}" for name, count in done["samples"].items())
    typer.echo(f"exported to {out / (done['dataset'] + '.pkl')}: {counts}")
    for role, name in done["features"].items():
        typer.echo(f"  {role}: {name}")
    for title in ("not_filled", "left_out", "lacking"):
        items = done[title]
        listed = [f"{k} {v:,}" for k, v in items.items()] if isinstance(items, dict) else items
        if listed:
            typer.echo(f"{title.replace('_', ' ')}: {', '.join(listed)}")


def shape_text(shape: tuple[int | None, ...], dtype: str) -> str:
    """Return a shape for people; n stands for the ragged axis."""
    return f"{'×'.join('n' if size is None else str(size) for size in shape)} {dtype}"


def _leaf(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else f"{text[:117]}…"
