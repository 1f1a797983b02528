"""`pipeline datasets`: which datasets there are, what each is, whether the files at hand fit."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as opt

if TYPE_CHECKING:
    from ..ingest.validate import Validation
    from ..manifest import Manifest

app = typer.Typer(
    help="List, describe and validate datasets.", no_args_is_help=True, rich_markup_mode=None
)

FINE, PROBLEM_ROWS = 0, 4

Name = Annotated[str, typer.Argument(help="Built-in dataset, or path to a manifest.yaml.")]
Manifests = Annotated[
    list[Path] | None, typer.Argument(help="Manifests of your own, listed as custom.")
]
KeepStore = Annotated[
    Path | None,
    typer.Option("--store", help="Store that keeps the samples table; a temporary one by default."),
]


@app.command("list")
def list_datasets(manifests: Manifests = None, json_output: opt.Json = False) -> None:
    """List the built-in datasets, and manifests of your own."""
    from ..manifest import dataset_names, load_manifest
    from . import show

    found = [(load_manifest(name), False) for name in dataset_names()]
    found += [(load_manifest(str(path)), True) for path in manifests or ()]
    if json_output:
        show.print_json(
            [{**item.model_dump(mode="json"), "custom": custom} for item, custom in found]
        )
        return
    rows = [
        (
            f"{item.name}{' (custom)' if custom else ''}",
            item.title,
            ", ".join(item.modalities),
            len(item.tasks),
            _short(item.licence),
        )
        for item, custom in found
    ]
    show.print_table("", ("name", "title", "modalities", "tasks", "licence"), rows)
    typer.echo("more: pipeline datasets show NAME")


@app.command("show")
def show_dataset(name: Name, json_output: opt.Json = False) -> None:
    """Describe one dataset: tasks, vocabularies, how to obtain it, licence, citation."""
    from ..manifest import load_manifest
    from . import show

    manifest = load_manifest(name)
    if json_output:
        show.print_json(manifest.model_dump(mode="json"))
        return
    for label, text in _described(manifest):
        typer.echo(f"{label}: {text}")
    tasks = [
        (task, item.kind, ", ".join(item.classes) or _range(item.range), item.metric, item.note)
        for task, item in manifest.tasks.items()
    ]
    show.print_table("tasks", ("task", "kind", "classes", "metric", "note"), tasks)
    for vocabulary, words in manifest.vocabularies.items():
        typer.echo(f"vocabulary {vocabulary}: {', '.join(words)}")
    for file in manifest.known_files:
        digest = f"sha256 {file.sha256[:16]}…" if file.sha256 else "digest unknown"
        size = "" if file.size is None else f", {show.size_text(file.size)}"
        typer.echo(f"known file {file.name}: {digest}{size}{', ' + file.note if file.note else ''}")


@app.command("validate")
def validate_dataset(
    name: Name,
    root: opt.Root = None,
    store: KeepStore = None,
    limit: opt.Limit = None,
    json_output: opt.Json = False,
) -> None:
    """Read all rows and media; exit 0 when fine, 4 with unusable rows, 3 when nothing works."""
    from ..ingest.dataset import default_root, ingest_dataset
    from ..ingest.validate import validate
    from ..manifest import load_manifest
    from ..store.layout import StoreLayout
    from . import show

    manifest = load_manifest(name)
    with _folder(store) as folder:
        layout = StoreLayout(folder.absolute())
        where = (Path(root) if root else default_root(manifest, layout)).absolute()
        table = ingest_dataset(manifest, where, layout, limit=limit, progress=show.tell)
        found = validate(table, manifest)
    if json_output:
        show.print_json(found.to_json())
    else:
        _print(found)
    raise typer.Exit(PROBLEM_ROWS if found.problem_rows else FINE)


@contextlib.contextmanager
def _folder(store: Path | None) -> Iterator[Path]:
    if store is not None:
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="affectflow-validate-") as folder:
        yield Path(folder)


def _described(manifest: Manifest) -> Iterator[tuple[str, str]]:
    splits = manifest.splits
    shares = f"{'official; ' if splits.official else ''}rows without one: val {splits.val}"
    shares += f", test {splits.test}, seed {splits.seed}"
    if splits.stratify:
        shares += f", stratified by {splits.stratify}"
    if splits.group_by:
        shares += f", each {splits.group_by} in one part"
    facts = {
        "name": manifest.name,
        "title": manifest.title,
        "reader": manifest.reader,
        "modalities": ", ".join(manifest.modalities),
        "splits": shares,
        "licence": manifest.licence,
        "citation": manifest.citation,
        "homepage": manifest.homepage,
        "how to obtain it": manifest.obtain,
        "warning": manifest.warning,
    }
    return ((label, " ".join(text.split())) for label, text in facts.items() if text)


def _print(found: Validation) -> None:
    from . import show

    typer.echo(f"{found.dataset}: {found.rows:,} rows, samples {found.samples}")
    typer.echo(f"status: {_counts(found.statuses)}")
    typer.echo(f"splits: {_counts(found.splits)}")
    if found.flags:
        typer.echo(f"flags: {_counts(found.flags)}")
    if found.labels:
        rows = [(task, _counts(counts)) for task, counts in found.labels.items()]
        show.print_table("labels", ("task", "samples by class"), rows)
    for status, examples in found.problems.items():
        typer.echo(f"{status}: {found.statuses[status]:,} rows, for example")
        for example in examples:
            typer.echo(f"  {example['key']}: {example['reason']}")
    _print_duplicates(found.duplicates)
    for name, sha in found.sources.items():
        note = " (not the published file)" if name in found.not_as_published else ""
        typer.echo(f"file {name}: sha256 {sha[:16]}…{note}")
    verdict = "fine" if not found.problem_rows else f"{found.problem_rows:,} rows cannot be used"
    typer.echo(f"verdict: {verdict}")


def _print_duplicates(found: Any) -> None:
    typer.echo(
        f"near-duplicates: {found['groups']:,} groups, {found['rows']:,} rows; "
        f"{found['shared_between_splits']:,} groups lie in several splits"
    )
    conflicts = {task: count for task, count in found["conflicts"].items() if count}
    if conflicts:
        typer.echo(f"groups with conflicting labels: {_counts(conflicts)}")


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _range(limits: tuple[float, float] | None) -> str:
    return "" if limits is None else f"{limits[0]:g} to {limits[1]:g}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}…"
