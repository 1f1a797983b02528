"""Feature parts in the hands of readers that know nothing of us: bytes plus a declared shape."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.feature_stores import (
    ABSENT,
    FAILED,
    sample_row,
    some_values,
    write_feature,
    write_table,
)

from affectflow.pipeline.records import FeatureSpec

KEYS = [f"meme.{index}.png" for index in range(9)]
HOLES = {KEYS[2]: FAILED, KEYS[7]: ABSENT}
SPECS = {
    "fixed": FeatureSpec("fixed", "image", (2, 3), "float16"),
    "ragged": FeatureSpec("ragged", "text", (None, 4), "float32", compression="zstd"),
}

# What another program does with the bytes: the shape stands in the schema's field metadata.
READ_PLAIN = """
import json, sys
import numpy as np
import pyarrow.parquet as pq
assert not any(name.startswith("affectflow") for name in sys.modules)
table = pq.read_table(sys.argv[1])
field = table.schema.field("value")
spec = json.loads(field.metadata[b"ARROW:extension:metadata"])
shape = [-1 if size is None else size for size in spec["shape"]]
rows = {}
for row in table.to_pylist():
    value = row["value"]
    if value is not None:
        value = np.frombuffer(value, spec["dtype"]).reshape(shape).tolist()
    rows[row["key"]] = [row["status"], row["n"], value]
print(json.dumps(rows))
"""


@pytest.fixture(params=SPECS)
def part(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, FeatureSpec]:
    spec = SPECS[request.param]
    table = write_table(tmp_path, [sample_row(key) for key in KEYS], shard_rows=20)
    written = write_feature(table, spec, some_values(spec, KEYS, HOLES))
    return written.folder / "part-00000.parquet", spec


def check(rows: list[tuple[str, str, int, bytes | None]], spec: FeatureSpec) -> None:
    values = some_values(spec, KEYS, HOLES)
    assert [row[0] for row in rows] == KEYS
    for key, status, length, data in rows:
        if key in HOLES:
            assert (status, length, data) == (HOLES[key].status, 0, None)
        else:
            shape = [-1 if size is None else size for size in spec.shape]
            array = np.frombuffer(data, spec.dtype).reshape(shape)
            np.testing.assert_array_equal(array, values[key])
            assert (status, length) == ("ok", len(array) if spec.ragged else 1)


def test_pyarrow_without_our_extension_type(part: tuple[Path, FeatureSpec]) -> None:
    path, spec = part
    found = subprocess.run(
        [sys.executable, "-c", READ_PLAIN, path], capture_output=True, text=True, check=True
    )
    values = some_values(spec, KEYS, HOLES)
    for key, (status, _, value) in json.loads(found.stdout).items():
        if key in HOLES:
            assert (status, value) == (HOLES[key].status, None)
        else:
            np.testing.assert_array_equal(np.asarray(value, spec.dtype), values[key])


def test_pandas(part: tuple[Path, FeatureSpec]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(part[0])
    rows = zip(frame["key"], frame["status"], frame["n"], frame["value"], strict=True)
    check([(*row[:3], plain(row[3])) for row in rows], part[1])


def plain(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def test_duckdb(part: tuple[Path, FeatureSpec]) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        query = "select key, status, n, value from read_parquet(?)"
        check(connection.execute(query, [str(part[0])]).fetchall(), part[1])


@pytest.mark.parametrize("lazy", [False, True])
def test_polars(part: tuple[Path, FeatureSpec], lazy: bool) -> None:
    polars = pytest.importorskip("polars")
    columns = ["key", "status", "n", "value"]
    if lazy:
        frame = polars.scan_parquet(part[0]).select(columns).collect()
    else:
        frame = polars.read_parquet(part[0], columns=columns)
    check(frame.rows(), part[1])
