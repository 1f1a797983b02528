"""The frame of every page: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from importlib import resources

from .html import Child, Markup, element

# The browser itself refuses anything that is not in the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, *body: Child, styles: tuple[str, ...] = ("style.css",)) -> str:
    """Return a whole page.

    Args:
        title: Of the window.
        body: Content.
        styles: Style sheets of this package that are put into the page, in order.
    """
    sheets = resources.files(__package__)
    style = "\n".join(sheets.joinpath(name).read_text(encoding="utf-8") for name in styles)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    return "<!DOCTYPE html>\n" + element("html", head, element("body", *body), lang="en") + "\n"
