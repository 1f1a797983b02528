"""An append-only file of JSON lines with one writer at a time.

A line is written whole under an exclusive lock and synced. A process that dies while writing leaves
a line without its end: readers ignore it, and the next writer closes it first, so that it stands
alone as a line that is no JSON and is skipped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import canonical_json
from ..errors import StoreError

# Bytes read at a time; a line may be longer.
_CHUNK = 1 << 20


class Journal:
    """The file and its lock.

    Args:
        path: The file; its folder must exist before the first append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = 0
        self._read_to = 0
        self.guard = threading.RLock()
        self._depth = 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the writer's lock against other processes and threads; may be nested.

        Raises:
            StoreError: The folder cannot be written or its file system has no locks.
        """
        with self.guard:
            if self._depth:
                yield
                return
            with self._lock_file():
                self._depth = 1
                try:
                    yield
                finally:
                    self._depth = 0

    @contextlib.contextmanager
    def _lock_file(self) -> Iterator[None]:
        try:
            handle = open(self.path.with_suffix(".lock"), "ab")  # noqa: SIM115 - closed below
        except OSError as error:
            raise unusable(self.path, error) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._close_torn_line()
            except OSError as error:
                raise unusable(self.path, error) from None
            yield

    def _close_torn_line(self) -> None:
        """End the line of a writer that died, so that the next one stands alone."""
        if not self.path.exists() or not (size := self.path.stat().st_size):
            return
        with open(self.path, "r+b", buffering=0) as handle:
            handle.seek(size - 1)
            if handle.read(1) != b"\n":
                handle.write(b"\n")

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records whole, or not at all; they are on disk when this returns.

        Raises:
            StoreError: The disk is full or the file cannot be written.
        """
        lines = "".join(canonical_json(record) + "\n" for record in records)
        # A lone surrogate in a text cannot be written as UTF-8; it is escaped, not lost.
        data = lines.encode("utf-8", "backslashreplace")
        with self.locked():
            try:
                self._append_bytes(data)
            except OSError as error:
                raise unusable(self.path, error) from None

    def _append_bytes(self, data: bytes) -> None:
        with open(self.path, "a+b", buffering=0) as handle:
            size = handle.seek(0, os.SEEK_END)
            try:
                _write_all(handle.fileno(), data)
                os.fsync(handle.fileno())
            except OSError:
                os.ftruncate(handle.fileno(), size)
                raise

    def news(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yield ``(offset, length, record)`` of the complete lines added since the last call."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as handle:
            handle.seek(self._read_to)
            rest = b""
            while chunk := handle.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    offset = self._read_to
                    self._read_to += len(line) + 1
                    record = _record(line)
                    if record is not None:
                        yield offset, len(line), record
                    elif line.strip():
                        self.torn += 1

    def read(self, offset: int, length: int) -> dict[str, Any]:
        """Return the record that `news` reported at ``offset``."""
        with open(self.path, "rb") as handle:
            handle.seek(offset)
            record: dict[str, Any] = json.loads(handle.read(length))
        return record


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def unusable(path: Path, error: OSError) -> StoreError:
    """Return the error that says why a ledger file cannot be written."""
    return StoreError(
        f"the ledger '{path.parent.name}/{path.name}' cannot be written: {error.strerror or error}",
        "nothing is sent that cannot be recorded; free space or choose another store",
    )
