"""Running the `pipeline` command as a user would: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"


def environment() -> dict[str, str]:
    """Return an environment in which the package is importable and nothing is downloaded."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}


def command(*arguments: str | Path) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "affectflow.pipeline.cli", *map(str, arguments)]


def run(*arguments: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def start(*arguments: str | Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own; its output goes to ``log``."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            command(*arguments),
            env=environment(),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
