"""The log of one seed: JSON lines, TensorBoard where it is installed, and whoever watches.

A resumed training takes back the lines after its checkpoint, so that the log is one curve.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..store.layout import written_whole

LOG_NAME = "log.jsonl"
Watcher = Callable[[Mapping[str, Any]], None]


class Journal:
    """Writes the log of a seed's folder.

    Args:
        folder: The seed's folder; None to write nothing, as ranks other than 0.
        step: Updates that were done when this process took over; later lines are dropped.
        watch: Called with every entry.
        tensorboard: Whether to write TensorBoard files too, if the package is there.
    """

    def __init__(self, folder: Path | None, step: int, watch: Watcher, tensorboard: bool) -> None:
        self.folder, self.watch = folder, watch
        self._warned: set[str] = set()
        self._board: Any = None
        if folder is not None:
            kept = [entry for entry in read_log(folder) if entry["step"] <= step]
            self._warned = {entry["name"] for entry in kept if entry["kind"] == "warning"}
            with written_whole(folder / LOG_NAME) as temporary:
                temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
            self._board = _open_board(folder, step) if tensorboard else None

    def write(self, kind: str, step: int, **facts: Any) -> None:
        """Write one line; numbers go to TensorBoard too."""
        entry = {"kind": kind, "step": step, **facts}
        self.watch(entry)
        if self.folder is None:
            return
        with (self.folder / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(_line(entry))
        if self._board is not None:
            for name, value in flat_numbers(facts).items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def warn(self, step: int, name: str, message: str, **facts: Any) -> None:
        """Write a warning, once per name."""
        if name not in self._warned:
            self._warned.add(name)
            self.write("warning", step, name=name, message=message, **facts)

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a log; lines that a killed process left torn are left out."""
    try:
        lines = (folder / LOG_NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"kind", "step"} <= set(entry):
            found.append(entry)
    return found


def flat_numbers(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested mappings, their names joined by slashes."""
    found: dict[str, float] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            found |= flat_numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = float(value)
    return found


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(_finite(entry), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Return JSON values with null for the numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        # The lines of the log hold the same numbers.
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
