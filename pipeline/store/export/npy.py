"""NumPy files: ``values.npy``, ``keys.json``, ``status.csv`` and, when ragged, ``lengths.npy``.

``values.npy`` holds the K rows that have a value, in the order of ``keys.json``: ``(K, *shape)``;
when ragged ``(sum of lengths, *rest)``, of which row i takes ``lengths[i]``. ``status.csv`` has
every row, also the ones without a value.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import TracebackType

import numpy as np

from ...errors import StoreError
from ...records import FeatureSpec
from .source import HEAD, ExportSource


def write(source: ExportSource, folder: Path) -> None:
    """Write one feature."""
    keys: list[str] = []
    lengths: list[int] = []
    with (
        open(folder / "status.csv", "w", newline="", encoding="utf-8") as file,
        NpyWriter(folder / "values.npy", source.spec) as values,
    ):
        table = csv.DictWriter(file, HEAD)
        table.writeheader()
        for batch in source.batches():
            table.writerows(batch.head(index) for index in range(len(batch.rows)))
            found = batch.values
            for array in found if isinstance(found, list) else [found]:
                values.append(array)
            kept = [row for row in batch.rows if row.value is not None]
            keys.extend(row.key for row in kept)
            lengths.extend(len(row.value) for row in kept if row.value is not None)
    (folder / "keys.json").write_text(json.dumps(keys, ensure_ascii=False) + "\n", "utf-8")
    if source.spec.ragged:
        np.save(folder / "lengths.npy", np.asarray(lengths, np.int64))


class NpyWriter:
    """Appends along the first axis of a ``.npy`` file whose final length is not known yet.

    Args:
        path: The file.
        spec: Gives dtype and the sizes of the other axes.
    """

    def __init__(self, path: Path, spec: FeatureSpec) -> None:
        sizes = spec.shape[1:] if spec.ragged else spec.shape
        self._rest = tuple(int(size or 0) for size in sizes)
        self._dtype = np.dtype(spec.dtype).newbyteorder("<")
        self._rows = 0
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._file.write(self._header())

    def _header(self) -> bytes:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            buffer,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._rows, *self._rest),
            },
        )
        return buffer.getvalue()

    def append(self, array: np.ndarray) -> None:
        """Write rows ``(n, *rest)``."""
        self._file.write(np.ascontiguousarray(array, self._dtype).tobytes())
        self._rows += len(array)

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is not None:
                return
            # NumPy pads headers so that the first axis can grow without moving the data.
            header, first = self._header(), self._first_header_length()
            if len(header) != first:
                raise StoreError("the npy header changed its length", "please report this")
            self._file.seek(0)
            self._file.write(header)

    def _first_header_length(self) -> int:
        rows, self._rows = self._rows, 0
        length = len(self._header())
        self._rows = rows
        return length
