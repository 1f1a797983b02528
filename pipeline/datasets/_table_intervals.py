"""Cells that say which part of a recording a row is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..manifest import Columns
from ._marks import wrong
from ._table_labels import finite_number, is_missing


def interval_of(columns: Columns, cells: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return beginning and end of a row in its recording, seconds; None where the cell is empty.

    Raises:
        RowError: ``bad_row``: a cell is no number, negative, or the end is not after the beginning.
    """
    start, end = _seconds(columns.start_s, cells), _seconds(columns.end_s, cells)
    if end is not None and end <= (start or 0.0):
        raise wrong(f"the interval ends at {end:g} s, expected later than {start or 0.0:g} s")
    return start, end


def _seconds(column: str | None, cells: Mapping[str, Any]) -> float | None:
    if column is None or is_missing(cells[column]):
        return None
    value = finite_number(cells[column])
    if value is None or value < 0:
        raise wrong(f"{column}: got {cells[column]!r:.80}, expected seconds from 0 up")
    return value


def interval_words(columns: Columns, cells: Mapping[str, Any]) -> str:
    """Return what sets the keys of two intervals of one recording apart; empty without any."""
    named = [column for column in (columns.start_s, columns.end_s) if column is not None]
    if all(is_missing(cells[column]) for column in named):
        return ""
    ends = (_seconds(columns.start_s, cells), _seconds(columns.end_s, cells))
    return "@" + "-".join("" if second is None else f"{second:g}" for second in ends)
