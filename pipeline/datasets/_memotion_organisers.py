"""The organisers' comma-separated files of Memotion 1, in the two families that circulate.

**Raw**: one record per physical line, no comma inside any field, double quotes are ordinary
characters. A CSV reader would let quotes swallow following rows.

**Re-saved**: somebody read a raw file with a CSV reader and saved the result: CRLF records, doubled
quotes, swallowed rows inside multi-line cells, empty cells behind. The rows are recovered by
joining the cells of a record with commas and splitting at line breaks.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ..errors import DatasetError
from ._csv import Record, read_text, undecoded
from ._csv import records as csv_records
from ._memotion_labels import COLUMNS

FIELDS = ("image_name", "url", "text_ocr", "text_corrected", *COLUMNS)
_NUMERIC_HEADER = ["data1", "sentiment", "humor", "offensive_or_not"]
_SAMPLE_RECORDS = 50

# One field of a well-formed file and what ends it; a quote left open at the very end is let pass,
# because that is how a cut download looks.
_WELL_FORMED_FIELD = re.compile(r'(?:"(?:[^"]|"")*(?:"|\Z)|[^",\r\n]*)(?:,|\r\n?|\n|\Z)')
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


def is_well_formed(text: str) -> bool:
    """Return whether a CSV writer can have written a file.

    A raw file has quotes inside unquoted fields sooner or later, which no CSV writer produces.
    """
    position = 0
    while position < len(text):
        match = _WELL_FORMED_FIELD.match(text, position)
        if match is None:
            return False
        position = match.end()
    return True


def labelled_records(text: str) -> Iterator[Record]:
    """Yield the records of either family, header included.

    A record that does not have nine fields is yielded with its problem. ``line`` counts physical
    lines of the file in both families.

    Raises:
        DatasetError: A record of a re-saved file has no end.
    """
    saved_again = '"' in text and ("\r\n" in text or '""' in text) and is_well_formed(text)
    return _checked(_resaved(text) if saved_again else _raw(text), len(FIELDS))


def plain_records(path: Path, num_fields: int) -> Iterator[Record]:
    """Yield the records of a file that is either raw or an ordinary CSV, header included.

    Raises:
        DatasetError: The file cannot be read.
    """
    text = read_text(path)
    if is_well_formed(text):
        return csv_records(io.StringIO(text, newline=""), ",", num_fields)
    return _checked(_raw(text), num_fields)


def _checked(found: Iterator[tuple[int, list[str]]], num_fields: int) -> Iterator[Record]:
    for line, fields in found:
        problem = undecoded(fields)
        if len(fields) != num_fields:
            problem = f"got {len(fields)} fields, expected {num_fields}"
        yield Record(line, fields, problem)


def _raw(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_LINE_BREAK.split(text), start=1):
        if line:
            yield number, line.split(",")


def _resaved(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    start = 1
    try:
        for cells in reader:
            for offset, fields in enumerate(_recovered(cells)):
                yield start + offset, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(
            f"the re-saved file cannot be read from line {start}: {error}",
            "obtain the raw file again",
        ) from None


def _recovered(cells: list[str]) -> list[list[str]]:
    """Return the raw rows that one record of a re-saved file stands for."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    pieces = [piece.split(",") for piece in _LINE_BREAK.split(",".join(cells[:end])) if piece]
    if len(cells) == len(FIELDS) and not any(len(piece) == len(FIELDS) for piece in pieces):
        # One row: its last label is missing, or a cell holds a comma or line break of its own.
        return [cells]
    return pieces


def read_labelled(path: Path) -> Iterator[Record]:
    """Yield the records of ``data_7000_new.csv`` in any variant, header left out.

    Raises:
        DatasetError: The file is of another kind: a numeric re-export, another delimiter, the
            trial file with ten fields.
    """
    text = read_text(path)
    found = labelled_records(text)
    sample = list(islice(labelled_records(text), _SAMPLE_RECORDS))
    _refuse_other_kinds(path, sample)
    if _is_header(sample[0].fields):
        next(found)
    yield from found


def _is_header(fields: list[str]) -> bool:
    return fields[0].strip().lower().replace(" ", "_") == "image_name"


def _refuse_other_kinds(path: Path, sample: list[Record]) -> None:
    hint = "expected the organisers' file: nine comma-separated fields, from file name to sentiment"
    if not sample:
        raise DatasetError(f"{path.name} is empty", hint)
    first = [field.strip() for field in sample[0].fields]
    if [field.lower() for field in first] == _NUMERIC_HEADER:
        raise DatasetError(
            f"{path.name} is a numeric re-export without texts (header {','.join(first)})", hint
        )
    data = sample[1:] if _is_header(first) else sample
    right = [record for record in data if not record.problem]
    if data and 2 * len(right) < len(data):
        got = ", ".join(field[:30] for field in first[:12])
        raise DatasetError(
            f"{path.name}: {len(data) - len(right)} of the first {len(data)} records do not have "
            f"nine fields; the first one reads: {got}",
            hint,
        )
