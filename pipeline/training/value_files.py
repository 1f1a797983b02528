"""Reading bytes out of the files that hold a feature's values, in bounded resident memory.

A small feature is mapped: its pages count as resident memory once they were touched, and its rows
are cheapest that way. A large one is read by position into the batch, so that nothing of it stays
with the process; the operating system keeps what it has room for, once for all processes.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import StoreError
from ..store import whole

_OPEN_FILES = 256
_CAN_ADVISE = hasattr(os, "posix_fadvise")


class ValueFiles:
    """Files that are opened when first read; safe to use from several threads.

    Args:
        paths: The files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._decided = False
        self._views: list[memoryview] | None = None
        self._descriptors: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._descriptors).atexit = False

    def __reduce__(self) -> tuple[type[ValueFiles], tuple[tuple[Path, ...]]]:
        """Another process opens the files itself."""
        return ValueFiles, (self._paths,)

    def views(self) -> Sequence[memoryview] | None:
        """Return the mapped files, or None where they are to be read by position.

        Raises:
            StoreError: A file is gone.
        """
        if not self._decided:
            with self._lock:
                self._decide()
        return self._views

    def table(self, dtype: np.dtype, numbers: int) -> np.ndarray | None:
        """Return the one file as ``(rows, numbers)``, read-only; None if it is not one, mapped.

        Raises:
            StoreError: The file is gone.
        """
        views = self.views()
        size = numbers * dtype.itemsize
        if views is None or len(views) != 1 or len(views[0]) % size:
            return None
        table = np.frombuffer(views[0], dtype).reshape(-1, numbers)
        table.flags.writeable = False
        return table

    def mapped(self, file: int, start: int, size: int) -> memoryview:
        """Return bytes of a mapped file.

        Raises:
            StoreError: The file is gone or shorter than it was.
        """
        views = self.views()
        assert views is not None, "files that are read by position are not mapped"
        found = views[file][start : start + size]
        if len(found) != size:
            raise self._shorter(file)
        return found

    def read_into(self, target: memoryview, file: int, start: int) -> None:
        """Fill ``target`` with the bytes of a file from ``start`` on.

        Raises:
            StoreError: The file is gone or shorter than it was.
        """
        if self.views() is not None:
            target[:] = self.mapped(file, start, len(target))
            return
        descriptor = self._descriptors.get(file)
        if descriptor is not None:
            self._read(descriptor, target, file, start)
        else:
            self._open_and_read(target, file, start)

    def announce(self, spans: Iterable[tuple[int, int, int]]) -> None:
        """Tell the operating system what is read next, so that it fetches all of it at once.

        Args:
            spans: File, first byte and number of bytes.
        """
        if self.views() is not None or not _CAN_ADVISE:
            return
        for file, start, size in spans:
            descriptor = self._descriptors.get(file)
            if descriptor is not None:
                os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)

    def _decide(self) -> None:
        """Map all files if they are small."""
        if self._decided:
            return
        try:
            if sum(path.stat().st_size for path in self._paths) <= whole.MAPPED_BYTES:
                self._views = [_map(path) for path in self._paths]
        except OSError as error:
            raise _gone(error) from error
        self._decided = True

    def _open_and_read(self, target: memoryview, file: int, start: int) -> None:
        try:
            descriptor = os.open(self._paths[file], os.O_RDONLY)
        except OSError as error:
            raise _gone(error) from error
        if _CAN_ADVISE:
            # What follows a row in its file is seldom the next to be read.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        with self._lock:
            kept = file not in self._descriptors and len(self._descriptors) < _OPEN_FILES
            if kept:
                self._descriptors[file] = descriptor
        try:
            self._read(descriptor, target, file, start)
        finally:
            if not kept:
                os.close(descriptor)

    def _read(self, descriptor: int, target: memoryview, file: int, start: int) -> None:
        done = 0
        while done < len(target):
            try:
                count = os.preadv(descriptor, [target[done:]], start + done)
            except OSError as error:
                raise _gone(error) from error
            if count == 0:
                raise self._shorter(file)
            done += count

    def _shorter(self, file: int) -> StoreError:
        message = f"'{self._paths[file].name}' is shorter than it was"
        return StoreError(message, "`pipeline verify`")


def _map(path: Path) -> memoryview:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            # A shard without values decodes to an empty file, which cannot be mapped.
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


def _close(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


def _gone(error: OSError) -> StoreError:
    cause = f"{error.strerror or error}: '{error.filename}'" if error.filename else str(error)
    return StoreError(f"values of a feature cannot be read: {cause}", "`pipeline verify`")
