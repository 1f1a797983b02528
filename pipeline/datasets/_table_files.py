"""The rows of a CSV, TSV, JSON-lines or Parquet file, whatever their meaning.

Each format yields `RawRow`s one at a time, so that a file of any length needs little memory.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..manifest import Table
from ._csv import detect_encoding, open_table, open_text, undecoded

_SUFFIXES = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_SAMPLE_LINES = 100
_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of a file.

    Attributes:
        number: Number of the row in the file, from 1.
        place: Line number in a text file, row number in a Parquet file, from 1.
        cells: Column to value, for the mapped columns only.
        problem: Why the cells cannot be trusted; empty when they can.
    """

    number: int
    place: int
    cells: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_rows(path: Path, table: Table, columns: Sequence[str]) -> Iterator[RawRow]:
    """Yield the rows of one file.

    Args:
        path: The file.
        table: Format, delimiter and encoding.
        columns: The mapped columns.

    Raises:
        DatasetError: Unknown or wrong format, wrong delimiter, a mapped column that is not there.
    """
    kind = table.format if table.format != "auto" else _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise DatasetError(
            f"the format of {path.name} cannot be told from its name",
            "set table.format to csv, tsv, jsonl or parquet",
        )
    readers: dict[str, Callable[[Path, Table, Sequence[str]], Iterator[RawRow]]] = {
        "csv": _delimited,
        "tsv": _delimited,
        "jsonl": _json_lines,
        "parquet": _parquet,
    }
    return readers[kind](path, table, columns)


def require_columns(file_name: str, columns: Iterable[str], seen: Sequence[str]) -> None:
    """Check that every mapped column is there once.

    Raises:
        DatasetError: Naming the nearest columns.
    """
    for column in columns:
        if seen.count(column) == 1:
            continue
        if column in seen:
            raise DatasetError(
                f"{file_name} has {seen.count(column)} columns called '{column}'",
                "rename all but one of them",
            )
        near = difflib.get_close_matches(column, seen, n=3, cutoff=0.4)
        what = "nearest" if near else "its columns"
        shown = ", ".join(repr(name[:60]) for name in (near or seen[:20]))
        raise DatasetError(
            f"{file_name} has no column '{column}'; {what}: {shown}",
            "correct table.columns in the manifest",
        )


def _delimited(path: Path, table: Table, columns: Sequence[str]) -> Iterator[RawRow]:
    delimiter = table.delimiter or ("\t" if _is_tsv(path, table) else None)
    with open_table(path, delimiter=delimiter, encoding=table.encoding, wanted=columns) as opened:
        header = opened.header
        if len(header) == 1 and len(columns) > 1:
            raise DatasetError(
                f"{path.name} has one column only when split at {opened.delimiter!r}: "
                f"'{header[0][:200]}', but {len(columns)} are mapped: {', '.join(columns)}",
                "set table.delimiter to the character between the names",
            )
        require_columns(path.name, columns, header)
        indices = [(column, header.index(column)) for column in columns]
        for number, record in enumerate(opened.records, start=1):
            if record.problem:
                yield RawRow(number, record.line, problem=record.problem)
            else:
                cells = {column: record.fields[index] for column, index in indices}
                yield RawRow(number, record.line, cells)


def _is_tsv(path: Path, table: Table) -> bool:
    if table.format == "auto":
        return _SUFFIXES.get(path.suffix.lower()) == "tsv"
    return table.format == "tsv"


def _json_lines(path: Path, table: Table, columns: Sequence[str]) -> Iterator[RawRow]:
    with open_text(path, table.encoding or detect_encoding(path)) as stream:
        found = (
            (line, _json_object(text)) for line, text in enumerate(stream, start=1) if text.strip()
        )
        sample = list(islice(found, _SAMPLE_LINES))
        objects = [value for _, value in sample if isinstance(value, dict)]
        if not objects:
            first = sample[0][1] if sample else "the file is empty"
            raise DatasetError(f"{path.name}: {first}", "expected one JSON object per line")
        require_columns(path.name, columns, list(dict.fromkeys(chain.from_iterable(objects))))
        for number, (line, value) in enumerate(chain(sample, found), start=1):
            if isinstance(value, str):
                yield RawRow(number, line, problem=value)
            else:
                yield RawRow(number, line, {column: value.get(column) for column in columns})


def _json_object(text: str) -> dict[str, Any] | str:
    """Return the object on a line, or why there is none."""
    if problem := undecoded((text,)):
        return f"the line {problem}"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON: {error}"
    if not isinstance(value, dict):
        return f"the line is a JSON {type(value).__name__}, expected an object"
    return value


def _parquet(path: Path, table: Table, columns: Sequence[str]) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            require_columns(path.name, columns, list(file.schema_arrow.names))
            number = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns)):
                for cells in batch.to_pylist():
                    number += 1
                    yield RawRow(number, number, cells)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"{path.name} cannot be read as Parquet: {error}", "expected a whole Parquet file"
        ) from None
