"""Where the values of an uncompressed Parquet column lie in its file.

An uncompressed, plainly encoded page is a small header, the definition levels, then the values back
to back, so that a value can be read at its byte offset without decoding anything. Only what our own
writer makes is understood: data pages of version 1, plain encoding, no nesting. The header is a
Thrift structure in the compact protocol (parquet-format, `parquet.thrift`).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

_DATA_PAGE, _PLAIN = 0, 0
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY = 1, 2, 3, 4, 5, 6, 7, 8
_LIST, _SET, _STRUCT = 9, 10, 12


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its rows, nulls included, and the bytes of the file that hold its values."""

    rows: int
    start: int
    stop: int


def value_pages(file: pq.ParquetFile, data: mmap.mmap, column: str, group: int) -> list[Page]:
    """Return the pages of one column in one row group, in order.

    Raises:
        ValueError: The column is compressed, or stored in a way our writer does not use.
    """
    facts = file.metadata.row_group(group)
    index = next(i for i in range(facts.num_columns) if facts.column(i).path_in_schema == column)
    chunk, kind = facts.column(index), file.metadata.schema.column(index)
    if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        raise ValueError(f"column '{column}' is compressed or dictionary-encoded")
    pages: list[Page] = []
    position = int(chunk.data_page_offset)
    end = position + int(chunk.total_compressed_size)
    while position < end:
        header = _Header(data, position)
        fields = header.struct()
        details = fields.get(5)
        if fields.get(1) != _DATA_PAGE or not isinstance(details, dict) or details[2] != _PLAIN:
            raise ValueError(f"column '{column}' has a page that is not plain data")
        start, stop = header.position, header.position + int(fields[3])
        if kind.max_definition_level:
            start += 4 + int.from_bytes(data[start : start + 4], "little")
        pages.append(Page(int(details[1]), start, stop))
        position = stop
    return pages


class _Header:
    """Reads one Thrift structure, compact protocol, at a position of a file."""

    def __init__(self, data: mmap.mmap, position: int) -> None:
        self._data = data
        self.position = position

    def struct(self) -> dict[int, Any]:
        """Return the fields of a structure by number."""
        return dict(self._fields())

    def _fields(self) -> Iterator[tuple[int, Any]]:
        number = 0
        while (head := self._byte()) != 0:
            delta, kind = head >> 4, head & 0x0F
            number = number + delta if delta else self._zigzag()
            yield number, self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct()
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            return [self._value(head & 0x0F) for _ in range(count)]
        size = {_BYTE: 1, _DOUBLE: 8}.get(kind)
        if size is None:
            if kind != _BINARY:
                raise ValueError(f"unknown Thrift type {kind}")
            size = self._varint()
        self.position += size
        return None

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
