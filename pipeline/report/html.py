"""Markup that cannot carry a stranger's tags: every string is escaped unless it is `Markup`.

Joining `Markup` with an ordinary string, by ``+`` or in an f-string, gives an ordinary string,
which is escaped again where it is used: a mistake shows as visible tags, never as live ones.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

Attribute: TypeAlias = str | int | float | bool | None
Child: TypeAlias = "str | int | float | Iterable[Child] | None"

_VOID = frozenset({"br", "hr", "img", "input", "meta", "rect"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Return ``text`` as HTML; what is `Markup` stays as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(str(text), quote=True))


def join(children: Child, separator: str = "") -> Markup:
    """Return the children one after the other; None is left out."""
    return Markup(escape(separator).join(_pieces(children)))


def _pieces(child: Child) -> Iterable[str]:
    if child is None:
        return
    if isinstance(child, str | int | float):
        yield escape(child)
        return
    for inner in child:
        yield from _pieces(inner)


def element(tag: str, *children: Child, **attributes: Attribute) -> Markup:
    """Return one element.

    Args:
        tag: Its name, chosen by the program.
        children: Strings, numbers, `Markup`, None, or iterables of them.
        attributes: ``class_`` stands for ``class`` and ``aria_label`` for ``aria-label``; None and
            False are left out, True gives a bare attribute.
    """
    head = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{head}>" if tag != "rect" else f"<{tag}{head}/>")
    return Markup(f"<{tag}{head}>{join(children)}</{tag}>")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    shown = name.rstrip("_").replace("_", "-")
    return f" {shown}" if value is True else f' {shown}="{html.escape(str(value), quote=True)}"'


def code(text: object) -> Markup:
    """Return a key, a path or a command in fixed width, its direction kept to itself."""
    return element("code", str(text), dir="auto")


def note(*children: Child) -> Markup:
    """Return a paragraph in quiet type."""
    return element("p", *children, class_="note")


def folded(title: Child, *children: Child, open_: bool = False) -> Markup:
    """Return a part that opens on a click; no script is needed for it."""
    return element("details", element("summary", title), *children, open=open_)
