"""Values as nested Arrow lists, without a Python object per number."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from ...records import FeatureSpec
from .source import HEAD, Batch

_TEXTS = HEAD[:-1]


def nested_schema(spec: FeatureSpec, dtype: str) -> pa.Schema:
    """Return key, status, reason, split, source, n and the value as lists of ``dtype``."""
    kind: pa.DataType = pa.from_numpy_dtype(np.dtype(dtype))
    for _ in spec.shape:
        kind = pa.list_(kind)
    fields = [pa.field(name, pa.string()) for name in _TEXTS]
    return pa.schema([*fields, pa.field("n", pa.int32()), pa.field("value", kind)])


def nested_table(batch: Batch, dtype: str) -> pa.Table:
    """Return a batch as a table of `nested_schema`; rows without a value are null."""
    schema = nested_schema(batch.spec, dtype)
    heads = batch.heads()
    columns = [pa.array(heads[name], type=schema.field(name).type) for name in HEAD]
    columns.append(_nested(batch, dtype))
    return pa.Table.from_arrays(columns, schema=schema)


def _nested(batch: Batch, dtype: str) -> pa.Array:
    rest = [int(size or 0) for size in batch.spec.shape[1:]]
    found = [row.value for row in batch.rows if row.value is not None]
    flat = np.concatenate([value.ravel() for value in found]) if found else np.zeros(0, dtype)
    array = pa.array(flat.astype(dtype, copy=False))
    lengths = [None if row.value is None else len(row.value) for row in batch.rows]
    count = sum(length or 0 for length in lengths)
    # From the innermost axis outwards: at each, count * (sizes before it) lists of one size.
    for axis in range(len(rest) - 1, -1, -1):
        lists = count * math.prod(rest[:axis])
        array = pa.ListArray.from_arrays(_offsets(lists, rest[axis]), array)
    ends = np.cumsum([0, *(length or 0 for length in lengths)])
    # A null offset marks a null row.
    starts = [None if length is None else int(ends[i]) for i, length in enumerate(lengths)]
    return pa.ListArray.from_arrays(pa.array([*starts, int(ends[-1])], pa.int32()), array)


def _offsets(lists: int, size: int) -> pa.Array:
    return pa.array(np.arange(lists + 1, dtype=np.int64) * size, pa.int32())
