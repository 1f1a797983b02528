"""Tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from .html import Child, Markup, element
from .numbers import count_text

MAX_ROWS = 40

Rows: TypeAlias = list[list[Child]]


def table(
    columns: Sequence[Child], rows: Iterable[Sequence[Child]], *, kind: str = "", rest: str = "rows"
) -> Markup:
    """Return a table; integers are set to the right, and after `MAX_ROWS` the rest is counted.

    Args:
        columns: Headings.
        rows: Cells; an int becomes a number with thousands set apart.
        kind: Further CSS class.
        rest: What the rows are, for the line that says how many were left out.
    """
    found = [list(row) for row in rows]
    shown = found[:MAX_ROWS]
    numeric = [
        bool(shown) and all(_is_count(row[index]) for row in shown) for index in range(len(columns))
    ]
    head = element("tr", (_cell("th", name, numeric[i]) for i, name in enumerate(columns)))
    body = [element("tr", (_cell("td", c, numeric[i]) for i, c in enumerate(row))) for row in shown]
    whole = element("table", element("thead", head), element("tbody", body), class_=kind or None)
    box = element("div", whole, class_="wide", tabindex=0)
    if len(found) == len(shown):
        return box
    more = f"… and {count_text(len(found) - len(shown))} more {rest}"
    return Markup(box + element("p", more, class_="note"))


def _is_count(cell: Child) -> bool:
    return isinstance(cell, int) and not isinstance(cell, bool)


def _cell(tag: str, cell: Child, numeric: bool) -> Markup:
    shown = count_text(cell) if isinstance(cell, int) else cell
    return element(tag, shown, class_="number" if numeric else None)


def facts(pairs: Iterable[tuple[str, Child]]) -> Markup:
    """Return a list of names and values; pairs without a value are left out."""
    items = [
        element("div", element("dt", name), element("dd", value))
        for name, value in pairs
        if value not in (None, "")
    ]
    return element("dl", items, class_="facts")
