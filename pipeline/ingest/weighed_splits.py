"""Splits of a few large groups, such as the speakers of a corpus, weighed against each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .groups import Unions

# A part may begin with a group from half of its share to half as much again.
_LEAST, _MOST = 0.5, 1.5

Row = Mapping[str, Any]


def kept_together(rows: Sequence[Row], field: str) -> list[str]:
    """Return a name per row, equal where rows are near-duplicates or have the same field.

    Rows that have no such field, or an empty one, are kept with their near-duplicates alone. The
    names do not depend on the order of the rows.

    Args:
        rows: Mappings with ``group``, ``extra`` (a JSON object) and ``status``.
        field: Key of ``extra``.

    Raises:
        DatasetError: No usable row has a value in this field.
    """
    values = [json.loads(row["extra"]).get(field) for row in rows]
    _check_field(rows, values, field)
    unions, first = Unions(len(rows)), dict[tuple[str, str], int]()
    for index, (row, value) in enumerate(zip(rows, values, strict=True)):
        unions.join(first.setdefault(("group", row["group"]), index), index)
        if value not in (None, ""):
            unions.join(first.setdefault(("field", str(value)), index), index)
    least: dict[int, str] = {}
    sets = [unions.find(index) for index in range(len(rows))]
    for number, row in zip(sets, rows, strict=True):
        least[number] = min(least.get(number, row["group"]), row["group"])
    return [least[number] for number in sets]


def _check_field(rows: Sequence[Row], values: Sequence[Any], field: str) -> None:
    usable = [index for index, row in enumerate(rows) if is_usable(row)]
    if not usable or any(values[index] not in (None, "") for index in usable):
        return
    known = sorted({name for index in usable for name in json.loads(rows[index]["extra"])})
    if field in known:
        message = f"splits.group_by: the field '{field}' is empty in every row"
        raise DatasetError(message, "leave group_by out, or fill the column")
    there = f"; there are: {', '.join(known)}" if known else ""
    message = f"splits.group_by: no row has a field '{field}'{there}"
    raise DatasetError(message, "of a table, map it: table.columns.extra")


def is_usable(row: Row) -> bool:
    """Return whether a row can be trained on or evaluated; others do not weigh."""
    return bool(row.get("status", "ok") == "ok")


def weighed_parts(
    groups: Mapping[str, Sequence[Row]],
    bound: Mapping[str, set[str]],
    shares: Mapping[str, float],
    column: str | None,
) -> dict[str, str]:
    """Return the part of each group that does not stay in train.

    A part begins with the first group that has from half of its rows to half as many again, else
    with the smallest larger one that leaves as much as it takes, else with the one that brings it
    closest; then it takes whichever brings it closest, as long as one does. The distance is that of
    its number of rows and of the rows of each class. Every part has a group while one remains for
    train; groups without a usable row stay there.

    Args:
        groups: Rows of each group, in the order in which groups are taken.
        bound: Groups with an official member, and the parts these are in.
        shares: Part to its share of all rows, in the order in which parts are filled.
        column: Label column to stratify by, or None.
    """
    found: dict[str, str] = {}
    names, table = _counts(groups, column)
    left = [i for i, name in enumerate(names) if name not in bound and table[i, 0]]
    in_train = any(name in groups or "train" in parts for name, parts in bound.items())
    whole = table.sum(axis=0)
    for part, share in shares.items():
        lacking = share * whole
        begun = share == 0
        while len(left) > (0 if in_train else 1):
            distances = ((lacking - table[left]) ** 2).sum(axis=1)
            best = int(distances.argmin())
            if begun and distances[best] >= (lacking**2).sum():
                break
            if not begun:
                begun, best = True, _beginning(table[left, 0], lacking[0], best)
            group = left.pop(best)
            lacking = lacking - table[group]
            found[names[group]] = part
    return found


def _beginning(sizes: NDArray[np.float64], wanted: float, closest: int) -> int:
    enough = sizes >= _LEAST * wanted
    fitting = np.flatnonzero(enough & (sizes <= _MOST * wanted))
    if len(fitting):
        return int(fitting[0])
    # A single row without a speaker would be closer than a speaker, and no part to speak of.
    larger = np.flatnonzero(enough & (sizes <= sizes.sum() / 2))
    return int(larger[sizes[larger].argmin()]) if len(larger) else closest


def _counts(
    groups: Mapping[str, Sequence[Row]], column: str | None
) -> tuple[list[str], NDArray[np.float64]]:
    """Return names of groups and, by group, usable rows and, by class, those of the class."""
    classes: list[Counter[str]] = []
    for members in groups.values():
        usable = (row for row in members if is_usable(row))
        classes.append(Counter("" if column is None else str(row[column]) for row in usable))
    known = sorted(set().union(*classes))
    table = [[found.total(), *(found[name] for name in known)] for found in classes]
    return list(groups), np.array(table, float).reshape(len(groups), 1 + len(known))
