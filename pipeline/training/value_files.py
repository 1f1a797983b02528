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
from collections.abc import Sequence
from pathlib import Path

from ..errors import StoreError

MAPPED_BYTES = 1 << 28
"""Features up to this size are mapped."""

_OPEN_FILES = 256


class ValueFiles:
    """Files that are opened when first read; safe to use from several threads.

    Args:
        paths: The files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._mapped: bool | None = None
        self._views: dict[int, memoryview] = {}
        self._descriptors: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._descriptors).atexit = False

    def __reduce__(self) -> tuple[type[ValueFiles], tuple[tuple[Path, ...]]]:
        """Another process opens the files itself."""
        return ValueFiles, (self._paths,)

    def read_into(self, target: memoryview, file: int, start: int) -> None:
        """Fill ``target`` with the bytes of a file from ``start`` on.

        Raises:
            StoreError: The file is gone or shorter than it was.
        """
        view = self._views.get(file)
        if view is None and self._is_mapped():
            view = self._map(file)
        if view is not None:
            target[:] = view[start : start + len(target)]
            return
        descriptor = self._descriptors.get(file)
        if descriptor is not None:
            self._read(descriptor, target, file, start)
        else:
            self._open_and_read(target, file, start)

    def _is_mapped(self) -> bool:
        if self._mapped is None:
            try:
                self._mapped = sum(path.stat().st_size for path in self._paths) <= MAPPED_BYTES
            except OSError as error:
                raise _gone(error) from error
        return self._mapped

    def _map(self, file: int) -> memoryview:
        try:
            with open(self._paths[file], "rb") as opened:
                view = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise _gone(error) from error
        return self._views.setdefault(file, view)

    def _open_and_read(self, target: memoryview, file: int, start: int) -> None:
        try:
            descriptor = os.open(self._paths[file], os.O_RDONLY)
        except OSError as error:
            raise _gone(error) from error
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
                name = self._paths[file].name
                raise StoreError(f"'{name}' is shorter than it was", "`pipeline verify`")
            done += count


def _close(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


def _gone(error: OSError) -> StoreError:
    cause = f"{error.strerror or error}: '{error.filename}'" if error.filename else str(error)
    return StoreError(f"values of a feature cannot be read: {cause}", "`pipeline verify`")
