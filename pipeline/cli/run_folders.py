"""Finding the folder of a training run from what a user types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[Path, typer.Option(envvar="AFFECTFLOW_RUNS", help="Folder of trained runs.")]
RunArgument = Annotated[
    str, typer.Argument(help="Folder of a run, or the beginning of its name below --runs.")
]
DEFAULT_RUNS = Path("affectflow-runs")


def find_run(name: str, runs: Path) -> Path:
    """Return the folder of a training run.

    Args:
        name: A folder, or the beginning of a run's name, for example ``mm_orient-3f``.
        runs: Folder of all runs.

    Raises:
        UsageError: There is no such run, or several.
    """
    from ..errors import UsageError, unknown_name

    folder = Path(name)
    if (folder / "run.json").is_file():
        return folder.absolute()
    found = sorted(path.parent for path in runs.glob("*/*/run.json"))
    matching = [path for path in found if path.name.startswith(name)]
    if len(matching) == 1:
        return matching[0].absolute()
    if matching:
        names = ", ".join(path.name for path in matching[:5])
        raise UsageError(f"'{name}' is the beginning of several runs: {names}", "type more of it")
    message = f"there is no run '{name}', and none at all in '{runs}'"
    if found:
        message = unknown_name("run", name, [path.name for path in found])
    raise UsageError(message, "pass a folder that `pipeline train` printed, or --runs")
