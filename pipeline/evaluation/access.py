"""Every reading of the test split is written down, before it happens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..store.layout import disk_error
from ..training.run_folder import RunFolder

ACCESS_NAME = "test-access.jsonl"


def note_test_access(
    run: Path, command: str, seeds: Sequence[str], checkpoint: str, decisions: str
) -> int:
    """Append a line to the run's `test-access.jsonl` and count it in `run.json`.

    The line comes first and is never taken back: an evaluation that was killed has read the split.

    Args:
        run: Folder of the run.
        command: What reads it.
        seeds: Of which seeds.
        checkpoint: ``best`` or ``last``.
        decisions: ``argmax``, or what thresholds tuned on val maximise, such as ``macro_f1``.

    Returns:
        How often the split has been read for this run, this time included.

    Raises:
        StoreError: The run's folder cannot be written, so the split must not be read.
    """
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "seeds": list(seeds),
        "checkpoint": checkpoint,
        "decisions": decisions,
    }
    path = run / ACCESS_NAME
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise disk_error(error, path) from error
    found = test_accesses(run)
    RunFolder(run).update(test_access={"count": len(found), "last": entry["time"]})
    return len(found)


def test_accesses(run: Path) -> list[dict[str, Any]]:
    """Return one entry per reading of the test split; a torn line counts as one too."""
    try:
        lines = (run / ACCESS_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        found.append(entry if isinstance(entry, dict) else {"command": "unknown"})
    return found
