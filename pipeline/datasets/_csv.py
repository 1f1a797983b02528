"""Delimited text as people really save it: encodings, delimiters, broken quotes, line numbers.

A record that does not have the expected number of fields, or whose quotes do not close, is taken
apart into its physical lines and each line is read on its own, so that one stray quote cannot
swallow the rows behind it. Whatever still does not fit is yielded with a ``problem``: nothing is
dropped.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..errors import DatasetError

DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_CHARACTERS = 1 << 16
_CHUNK_BYTES = 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Bytes that are not UTF-8 are carried through decoding as half surrogates.
_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        line: Physical line it starts on, from 1.
        fields: Its fields, unquoted, otherwise as they are in the file.
        problem: Why the fields cannot be trusted; empty when they can.
    """

    line: int
    fields: list[str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DelimitedTable:
    """A delimited file whose first record was read.

    Attributes:
        first: The first record: usually the header.
        delimiter: The delimiter given or found.
        records: Every record behind the first, read as it is asked for.
    """

    first: list[str]
    delimiter: str
    records: Iterator[Record]

    @property
    def header(self) -> list[str]:
        """The first record without blanks around the names."""
        return [name.strip() for name in self.first]


@contextmanager
def open_table(
    path: Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    wanted: Collection[str] = (),
    num_fields: int | None = None,
) -> Iterator[DelimitedTable]:
    """Open a delimited file for one pass.

    Args:
        path: The file.
        delimiter: None to find it.
        encoding: None to find it.
        wanted: Column names that help to find the delimiter.
        num_fields: Fields that every record must have; None for as many as the first has.

    Raises:
        DatasetError: The file cannot be read or decoded, or is empty.
    """
    encoding = encoding or detect_encoding(path)
    with open_text(path, encoding) as stream:
        sample = stream.read(_SAMPLE_CHARACTERS)
    delimiter = delimiter or sniff_delimiter(sample, wanted, num_fields)
    with open_text(path, encoding) as stream:
        found = records(stream, delimiter, num_fields)
        first = next(found, None)
        if first is None:
            raise DatasetError(f"{path.name} is empty", "expected one record per line")
        yield DelimitedTable(first.fields, delimiter, found)


def records(stream: TextIO, delimiter: str, num_fields: int | None = None) -> Iterator[Record]:
    """Yield the records of an open file, blank lines left out.

    Args:
        stream: Opened with ``newline=""``.
        delimiter: One character.
        num_fields: Expected number of fields; None for as many as the first record has.
    """
    lines = _HeldLines(stream)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    while True:
        lines.held.clear()
        try:
            fields = next(reader, None)
        except csv.Error:
            fields = []
        if fields is None:
            return
        num_fields = num_fields or len(fields) or None
        if fields and len(fields) == num_fields:
            yield Record(line, fields, undecoded(lines.held))
        else:
            yield from _line_by_line(lines.held, line, delimiter, num_fields)
        line += len(lines.held)


class _HeldLines:
    """Physical lines, remembering those handed out since ``held`` was cleared."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.held: list[str] = []

    def __iter__(self) -> _HeldLines:
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        self.held.append(line)
        return line


def _line_by_line(
    held: Sequence[str], first_line: int, delimiter: str, num_fields: int | None
) -> Iterator[Record]:
    for number, line in enumerate(held, start=first_line):
        # A second line that is asked for means that a quote was left open on the first.
        reader = csv.reader(iter([line.rstrip("\r\n"), ""]), delimiter=delimiter)
        try:
            fields = next(reader)
        except csv.Error as error:
            yield Record(number, [], f"cannot be read as delimited text: {error}")
            continue
        if not fields:
            continue
        problem = ""
        if reader.line_num > 1:
            problem = "a quote is opened and never closed"
        elif num_fields is not None and len(fields) != num_fields:
            problem = f"got {len(fields)} fields, expected {num_fields}"
        yield Record(number, fields, problem or undecoded((line,)))


def undecoded(texts: Iterable[str]) -> str:
    """Return why texts of `open_text` cannot be used: some bytes were not UTF-8; else nothing."""
    if any(not text.isascii() and _UNDECODED.search(text) for text in texts):
        return "holds bytes that are not UTF-8"
    return ""


def detect_encoding(path: Path) -> str:
    """Return ``utf-8``, ``utf-8-sig``, ``utf-16`` or, when none of them fits, ``cp1252``.

    A file that has more valid than invalid UTF-8 outside ASCII is damaged UTF-8, not cp1252.

    Raises:
        DatasetError: The file cannot be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    last = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                for mark, name in _BYTE_ORDER_MARKS:
                    if not last and chunk.startswith(mark):
                        return name
                last = chunk
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        # The few bytes that a character before this chunk may have left over do not matter.
        text = last.decode("utf-8", "replace")
        invalid = text.count("\ufffd")
        valid = sum(not char.isascii() for char in text) - invalid
        return "utf-8" if valid > invalid else "cp1252"
    except OSError as error:
        raise _unreadable(path, error) from None
    return "utf-8"


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a text file with line ends kept; failures name the file and what to do.

    In UTF-8 a wrong byte is no failure of the file: see `undecoded`.

    Raises:
        DatasetError: The file cannot be read or is not in this encoding.
    """
    try:
        errors = "surrogateescape" if codecs.lookup(encoding).name.startswith("utf-8") else "strict"
        with path.open("r", encoding=encoding, errors=errors, newline="") as stream:
            yield stream
    except (UnicodeError, LookupError) as error:
        raise DatasetError(
            f"{path.name} cannot be decoded as {encoding}: {error}",
            "save the file as UTF-8, or name its encoding in the manifest (table.encoding)",
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def read_text(path: Path) -> str:
    """Return a whole text file, line ends kept, byte order mark removed.

    Raises:
        DatasetError: The file cannot be read or decoded.
    """
    with open_text(path, detect_encoding(path)) as stream:
        return stream.read()


def sniff_delimiter(
    sample: str, wanted: Collection[str] = (), num_fields: int | None = None
) -> str:
    """Return the delimiter that explains ``sample`` best; a comma when none does.

    Args:
        sample: The beginning of the file.
        wanted: Column names expected in the first record; they count most.
        num_fields: Expected number of fields, where it is known.
    """
    names = {name.strip().lower() for name in wanted}

    def score(delimiter: str) -> tuple[int, float]:
        counted = _field_counts(sample, delimiter)
        if not counted:
            return (0, 0.0)
        expected = num_fields or len(counted[0])
        fitting = sum(len(fields) == expected > 1 for fields in counted)
        found = {name.strip().lower() for name in counted[0]}
        return (len(names & found), fitting / len(counted))

    return max(DELIMITERS, key=score)


def _field_counts(sample: str, delimiter: str) -> list[list[str]]:
    lines = sample.splitlines(keepends=True)
    if len(lines) > 1 and len(sample) >= _SAMPLE_CHARACTERS:
        # The last line of a cut sample is half a line.
        lines.pop()
    try:
        found = list(itertools.islice(csv.reader(lines, delimiter=delimiter), 200))
    except csv.Error:
        return []
    return [fields for fields in found if fields]


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path.name} cannot be read: {error.strerror or error}",
        "expected a readable regular file",
    )
