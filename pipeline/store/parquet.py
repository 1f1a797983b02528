"""Reading one Parquet file as a table.

`pyarrow.parquet.read_table` goes through `pyarrow.dataset`, which imports pandas where that is
installed and takes more than twice as long for a small file; a store has thousands of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of one file.

    Args:
        path: The file.
        columns: Names of the wanted columns; None for all of them.

    Raises:
        OSError: The file cannot be opened.
        pyarrow.ArrowException: It is no whole Parquet file.
    """
    with pq.ParquetFile(path) as file:
        return file.read(columns=None if columns is None else list(columns))
