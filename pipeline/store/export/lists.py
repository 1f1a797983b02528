"""``values.parquet`` with plain list columns, which any Parquet reader understands.

Columns: key, status, reason, split, source, n, value (lists as deep as the shape; null unless the
status is ok). Half floats are widened to float32, which is exact: many readers have no half float.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from .nested import nested_schema, nested_table
from .source import ExportSource


def write(source: ExportSource, folder: Path) -> None:
    """Write one feature."""
    dtype = "float32" if source.spec.dtype == "float16" else source.spec.dtype
    described = json.dumps(source.spec.to_json(), sort_keys=True)
    schema = nested_schema(source.spec, dtype).with_metadata({"affectflow.feature": described})
    with pq.ParquetWriter(folder / "values.parquet", schema, compression="zstd") as writer:
        for batch in source.batches():
            writer.write_table(nested_table(batch, dtype))
