"""Whom a sample was judged together with: its strongest neighbours in every graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..html import Child, Markup, code, element, join, note
from .picture import Picture, shown

MAX_CAPTION = 90
ALONE = "no neighbours: stands alone"

# Of graphs with these names: first what is averaged, then by what samples are joined.
_MEANINGS = {
    "ii": "images of those whose image is alike",
    "tt": "captions of those whose caption is alike",
    "it": "images of those whose caption is alike",
    "ti": "captions of those whose image is alike",
}


@dataclass(frozen=True)
class Neighbour:
    """One neighbour of a sample.

    Attributes:
        key: Its key.
        cosine: How alike the two are in what the graph is made from.
        caption: Its text; empty where it has none.
        picture: A thumbnail; None where there is none.
    """

    key: str
    cosine: float
    caption: str = ""
    picture: Picture | None = None


def listing(graphs: Mapping[str, Sequence[Neighbour]]) -> Markup | None:
    """Return a sample's neighbours by graph; None where no graph is known of it."""
    if not graphs:
        return None
    # Graphs made from the same similarities often name the same neighbours: listed once.
    same: dict[tuple[Neighbour, ...], list[str]] = {}
    for graph, found in graphs.items():
        same.setdefault(tuple(found), []).append(graph)
    rows: list[Child] = []
    for alike, names in same.items():
        rows += [element("dt", code(name), " ", _MEANINGS.get(name, "")) for name in names]
        listed = element("ul", map(_neighbour, alike)) if alike else note(ALONE)
        rows.append(element("dd", listed))
    return join([element("p", "Neighbours"), element("dl", rows, class_="neighbours")])


def _neighbour(found: Neighbour) -> Markup:
    caption = found.caption
    if len(caption) > MAX_CAPTION:
        caption = caption[:MAX_CAPTION].rstrip() + " …"
    facts = element("span", code(found.key), f" cosine {found.cosine:.3f}", class_="quiet")
    words = element("span", caption, dir="auto") if caption else None
    picture = shown(found.picture, "the neighbour's picture") if found.picture else None
    return element("li", picture, element("div", facts, words))
