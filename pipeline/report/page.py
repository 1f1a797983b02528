"""Putting the page of one run together: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..engine.session import Session, summarise
from ..store.layout import written_whole
from .census import take_census
from .context import Context, Section
from .document import document
from .html import Markup, code, element, join
from .pictures import Gallery
from .sections import (
    coverage,
    duplicates,
    errors,
    files,
    inpainting,
    labels,
    overview,
    speech,
    text,
    throughput,
    what_ran,
)

PAGE_NAME = "report.html"

_SECTIONS: tuple[Callable[[Context], Section | None], ...] = (
    what_ran.section,
    coverage.section,
    labels.section,
    errors.section,
    throughput.section,
    inpainting.section,
    speech.section,
    duplicates.section,
    text.section,
    files.section,
)


def write_report(session: Session, record: Mapping[str, Any], out: Path) -> Path:
    """Write the page of one run.

    Args:
        session: The run's session over the store as it is now.
        record: What the run recorded (``run.json``).
        out: File to write; written whole or not at all.

    Returns:
        ``out``.

    Raises:
        StoreError: The store cannot be read, or ``out`` cannot be written.
    """
    page = render(make_context(session, record))
    with written_whole(out) as temporary:
        # A path that is not valid Unicode must not cost the whole page.
        temporary.write_bytes(page.encode("utf-8", "replace"))
    return out


def make_context(session: Session, record: Mapping[str, Any]) -> Context:
    """Return what the sections are made from, read from the store as it is now."""
    seconds = (record.get("summary") or {}).get("seconds", 0.0)
    summary = summarise(session, None, str(record.get("run", "")), seconds)
    census = take_census(session.plan)
    return Context(session, record, summary, census, Gallery(session.root))


def render(context: Context) -> str:
    """Return the whole page."""
    sections = [found for make in _SECTIONS if (found := make(context)) is not None]
    title = f"{context.session.manifest.title}: run {context.record.get('run', '')}"
    main = element(
        "main", overview.headline(context), (_section(found) for found in sections), id="content"
    )
    return document(title, _reveal(), _header(context, sections), main, _footer(context))


def _reveal() -> Markup:
    """Return the switch that uncovers pictures; style.css does the rest."""
    return join(
        [
            element("input", type="checkbox", id="reveal"),
            element("label", "show pictures and captions", for_="reveal", class_="reveal"),
        ]
    )


def _header(context: Context, sections: list[Section]) -> Markup:
    links = [element("a", found.title, href=f"#{found.name}") for found in sections]
    run = element("p", "run ", code(context.record.get("run", "")), class_="quiet")
    return element(
        "header",
        element("p", "affectflow report", class_="kicker"),
        element("h1", context.session.manifest.title),
        run,
        overview.verdict(context),
        element("nav", links, aria_label="Sections"),
    )


def _section(found: Section) -> Markup:
    return element("section", element("h2", found.title), found.body, id=found.name)


def _footer(context: Context) -> Markup:
    versions = context.record.get("versions", {})
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    words = f"Made {made} by affectflow {versions.get('affectflow', '')} from the store alone. "
    words += "Pictures are blurred because such data can be offensive by nature."
    return element("footer", words)
