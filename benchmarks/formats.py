"""The formats that `store.py` compares: each writes an array and reads it whole or by rows.

``N`` rows, ``shape`` per row; values are float16. Every format keeps rows in order and gives them
back as one NumPy array in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store.feature import Feature
from affectflow.pipeline.store.layout import SPEC_NAME, write_json
from affectflow.pipeline.store.reader import OutputFolder
from affectflow.pipeline.store.view import open_view
from affectflow.pipeline.store.writer import ROW_GROUP_BYTES, ShardWriter, as_value, commit_path


class Format(Protocol):
    """One way to keep ``(N, *shape)`` values on disk."""

    name: str

    def write(self, values: np.ndarray) -> None:
        """Write all rows and sync the files."""

    def open(self) -> None:
        """Open for reading; its time is not counted for random reads."""

    def read_all(self) -> np.ndarray:
        """Return all rows as one array in memory."""

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return these rows, in this order, as one array in memory."""


class Ours:
    """Our shards, written as the engine does: checked, hashed, synced, renamed, committed."""

    def __init__(self, folder: Path, shape: Sequence[int], shard_rows: int) -> None:
        self.name = f"affectflow, {shard_rows:,} rows per shard"
        self._spec = FeatureSpec("measured", "image", tuple(shape))
        self._path = folder / "measured" / "0"
        self._shard_rows = shard_rows

    def write(self, values: np.ndarray) -> None:
        for shard, first in enumerate(range(0, len(values), self._shard_rows)):
            last = min(first + self._shard_rows, len(values))
            with ShardWriter(self._path, shard, self._spec) as writer:
                for row in range(first, last):
                    writer.append(f"row-{row:07d}", as_value(values[row], self._spec))
            write_json(commit_path(self._path, shard), writer.result)
        write_json(self._path / SPEC_NAME, {"output": self._spec.to_json(), "rows": "samples"})

    def open(self) -> None:
        self._feature = Feature(OutputFolder(self._path, "features"), dict)
        self._view = open_view(self._feature.folder)
        self._row_of = self._view.positions

    def read_all(self) -> np.ndarray:
        return np.asarray(self._feature.read().values)

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._view.take([self._row_of[f"row-{row:07d}"] for row in rows]))


class ArrowColumn:
    """One Parquet file with an Arrow column of pyarrow's own types."""

    def __init__(self, folder: Path, shape: Sequence[int], tensor: bool) -> None:
        self.name = "pyarrow FixedShapeTensor" if tensor else "pyarrow FixedSizeList"
        self._path = folder / "values.parquet"
        self._shape = tuple(shape)
        self._tensor = tensor
        self._group = max(1, ROW_GROUP_BYTES // (2 * math.prod(shape)))

    def write(self, values: np.ndarray) -> None:
        flat = pa.array(values.reshape(-1))
        column: pa.Array = pa.FixedSizeListArray.from_arrays(flat, math.prod(self._shape))
        if self._tensor:
            kind = pa.fixed_shape_tensor(pa.float16(), self._shape)
            column = pa.ExtensionArray.from_storage(kind, column)
        self._path.parent.mkdir(parents=True)
        table = pa.table({"value": column})
        pq.write_table(
            table, self._path, compression="none", use_dictionary=False, write_statistics=False,
            row_group_size=self._group,
        )  # fmt: skip
        _sync(self._path)

    def open(self) -> None:
        self._file = pq.ParquetFile(self._path, memory_map=True)

    def read_all(self) -> np.ndarray:
        return self._numpy(self._file.read())

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        groups, inside = np.divmod(rows, self._group)
        wanted, place = np.unique(groups, return_inverse=True)
        values = self._numpy(self._file.read_row_groups(wanted.tolist()))
        # Every group but the last has the same number of rows.
        return values[place * self._group + inside]

    def _numpy(self, table: pa.Table) -> np.ndarray:
        column = table["value"].combine_chunks()
        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat).reshape(-1, *self._shape)


class MemoryMap:
    """One `.npy` file, mapped."""

    name = "NumPy memmap (.npy)"

    def __init__(self, folder: Path, shape: Sequence[int]) -> None:
        self._path = folder / "values.npy"

    def write(self, values: np.ndarray) -> None:
        self._path.parent.mkdir(parents=True)
        mapped = np.lib.format.open_memmap(self._path, "w+", values.dtype, values.shape)
        mapped[:] = values
        mapped.flush()
        _sync(self._path)

    def open(self) -> None:
        self._values = np.load(self._path, mmap_mode="r")

    def read_all(self) -> np.ndarray:
        return np.array(self._values)

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._values[rows])


class HuggingFace:
    """A Hugging Face `datasets` folder: Arrow stream files, mapped."""

    name = "Hugging Face datasets"

    def __init__(self, folder: Path, shape: Sequence[int]) -> None:
        self._path = folder
        self._shape = tuple(shape)

    def write(self, values: np.ndarray) -> None:
        import datasets

        datasets.disable_progress_bars()
        kinds = datasets.Features({"value": self._feature()})
        made = datasets.Dataset.from_dict({"value": values}, features=kinds)
        made.save_to_disk(self._path)
        for path in self._path.iterdir():
            _sync(path)

    def _feature(self) -> Any:
        import datasets

        if len(self._shape) == 2:
            return datasets.Array2D(self._shape, "float16")
        return datasets.Sequence(datasets.Value("float16"), length=self._shape[0])

    def open(self) -> None:
        import datasets

        data = datasets.load_from_disk(self._path)
        # Without a dtype it would give float32.
        self._data: Any = data.with_format("numpy", dtype=np.float16)

    def read_all(self) -> np.ndarray:
        return np.asarray(self._data[:]["value"])

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._data[rows]["value"])


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
