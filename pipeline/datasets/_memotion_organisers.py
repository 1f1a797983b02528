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
from ._csv import Record, read_text
from ._memotion_labels import COLUMNS

FIELDS = ("image_name", "url", "text_ocr", "text_corrected", *COLUMNS)
_NUMERIC_HEADER = ["data1", "sentiment", "humor", "offensive_or_not"]
_SAMPLE_RECORDS = 50

# One field of a well-formed file and what ends it; a quote left open at the very end is let pass,
# because that is how a cut download looks.
_WELL_FORMED_FIELD = re.compile(r'(?:"(?:[^"]|"")*(?:"|\Z)|[^",\r\n]*)(?:,|\r\n?|\n|\Z)')
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


def is_resaved(text: str) -> bool:
    """Return whether a file was written by a CSV writer rather than being raw lines.

    A raw file has quotes inside unquoted fields sooner or later, which no CSV writer produces; so
    a file is re-saved when all of it is well-formed and it has CRLF records or doubled quotes.
    """
    if '"' not in text or ("\r\n" not in text and '""' not in text):
        return False
    position = 0
    while position < len(text):
        match = _WELL_FORMED_FIELD.match(text, position)
        if match is None:
            return False
        position = match.end()
    return True


def records(text: str, num_fields: int) -> Iterator[Record]:
    """Yield the records of either family.

    A record with another number of fields is yielded with its problem. ``line`` counts physical
    lines of the file in both families.
    """
    found = _resaved(text, num_fields) if is_resaved(text) else _raw(text)
    for line, fields in found:
        problem = ""
        if len(fields) != num_fields:
            problem = f"got {len(fields)} fields, expected {num_fields}"
        yield Record(line, fields, problem)


def _raw(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_LINE_BREAK.split(text), start=1):
        if line:
            yield number, line.split(",")


def _resaved(text: str, num_fields: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    start = 1
    try:
        for cells in reader:
            for offset, fields in _recovered(cells, num_fields):
                yield start + offset, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(
            f"the re-saved file cannot be read from line {start}: {error}",
            "obtain the raw file again",
        ) from None


def _recovered(cells: list[str], num_fields: int) -> list[tuple[int, list[str]]]:
    whole = list(cells)
    while cells and not cells[-1]:
        cells = cells[:-1]
    pieces = [piece.split(",") for piece in _LINE_BREAK.split(",".join(cells)) if piece]
    swallowed = len(pieces) > 1 and any(len(piece) == num_fields for piece in pieces)
    if len(whole) == num_fields and not swallowed:
        # One row, whose cells may hold commas or line breaks of their own.
        return [(0, whole)]
    return list(enumerate(pieces))


def read_labelled(path: Path) -> Iterator[Record]:
    """Yield the records of ``data_7000_new.csv`` in any variant, header left out.

    Raises:
        DatasetError: The file is of another kind: a numeric re-export, another delimiter, the
            trial file with ten fields.
    """
    text = read_text(path)
    found = records(text, len(FIELDS))
    sample = list(islice(records(text, len(FIELDS)), _SAMPLE_RECORDS))
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
