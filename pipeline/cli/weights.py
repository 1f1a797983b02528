"""`pipeline weights`: what model weights there are, getting them, checking them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as opt

if TYPE_CHECKING:
    from ..weights.download import Progress
    from ..weights.inventory import FileState

app = typer.Typer(
    help="Model weights: list, fetch, import, verify.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="Entry of `pipeline weights list`.")]
INVALID = 3


@app.command("list")
def list_weights(json_output: opt.Json = False) -> None:
    """Show every entry of the catalogue: present, missing, or of wrong size or digest."""
    from ..weights import statuses, weights_folder
    from . import show

    found = statuses(hashed=True)
    if json_output:
        show.print_json(
            {"folder": str(weights_folder()), "weights": [one.to_json() for one in found]}
        )
        return
    rows = [
        (
            one.weights.name,
            one.state,
            ", ".join(one.weights.used_by) or "nothing here",
            one.weights.origin,
            one.weights.licence,
            one.hint,
        )
        for one in found
    ]
    columns = ("weights", "here", "used by", "source", "licence", "to get it")
    show.print_table(f"Weights ({weights_folder()})", columns, rows)


@app.command("fetch")
def fetch_weights(name: Name) -> None:
    """Download the files of an entry; goes on where it stopped and checks digests."""
    from ..weights import fetch
    from . import show

    with _progress() as progress:
        folder = fetch(name, progress)
    show.tell(f"{name}: complete in {folder}")
    _tell_unpublished(name)


@app.command("import")
def import_weights(
    name: Name,
    source: Annotated[Path, typer.Argument(help="The file, or a folder with all files.")],
) -> None:
    """Copy files got by hand into the weights folder, after checking them."""
    from ..weights import import_file
    from . import show

    show.tell(f"{name}: complete in {import_file(name, source)}")
    _tell_unpublished(name)


@app.command("verify")
def verify_weights(
    names: Annotated[
        list[str] | None, typer.Argument(help="Entries; all that are here by default.")
    ] = None,
    json_output: opt.Json = False,
) -> None:
    """Hash files and compare with the published digests; exit code 3 when one is wrong."""
    from ..weights import BAD, on_disk, read_catalogue, verify
    from . import show

    wanted = names or [name for name in read_catalogue() if on_disk(name)]
    found = {name: verify(name) for name in wanted}
    if json_output:
        values = {name: [_state_json(one) for one in files] for name, files in found.items()}
        show.print_json(values)
    else:
        rows = [
            (name, one.name, one.state, one.sha256[:16], one.expected[:16])
            for name, files in found.items()
            for one in files
        ]
        show.print_table("Files", ("weights", "file", "state", "sha256", "expected"), rows)
    if any(one.state in BAD for files in found.values() for one in files):
        raise typer.Exit(INVALID)


def _state_json(state: FileState) -> dict[str, str]:
    return {
        "file": state.name,
        "state": state.state,
        "sha256": state.sha256,
        "expected": state.expected,
    }


def _tell_unpublished(name: str) -> None:
    from ..weights import entry
    from . import show

    for file in entry(name).files:
        if file.sha256 is None and "*" not in file.name:
            show.tell(f"{file.name}: no full digest is published; the one seen now is recorded")


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Give a function that draws a bar per file on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, object] = {}

        def update(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)  # type: ignore[arg-type]

        yield update
