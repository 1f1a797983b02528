"""Headline: how the run ended, what it counted, and what the reader must be told first."""

from __future__ import annotations

from collections.abc import Iterator

from ...engine.session import FAILED_ROWS, OK, OVER_BUDGET
from ..context import Context
from ..figures import stacked_bar
from ..html import Child, Markup, element
from ..numbers import count_text, counted, seconds_text, share_text, shortened, size_text

_MEANING = {
    OK: ("good", "everything asked for is there"),
    FAILED_ROWS: ("fair", "finished; some samples failed, within the budget"),
    OVER_BUDGET: ("bad", "too much failed"),
}
_MAX_WARNINGS = 20


def headline(context: Context) -> Markup:
    """Return warnings and headline counts."""
    return element("div", _warnings(context), _tiles(context), _balance(context), class_="top")


def verdict(context: Context) -> Markup:
    """Return how the run ended, in one coloured line."""
    code = exit_code(context)
    if code is None:
        words = "not finished: stopped, or still going on; the page shows what is committed"
        return element("p", element("b", "incomplete"), " ", words, class_="verdict fair")
    kind, words = _MEANING[code]
    if code == OVER_BUDGET:
        words += f": {', '.join(_blame(context))}"
    return element("p", element("b", f"exit code {code}"), " ", words, class_=f"verdict {kind}")


def exit_code(context: Context) -> int | None:
    """Return the exit code that the store as it is now deserves; None while shards are missing."""
    cells = context.session.plan.cells.values()
    if any(cell.state == "failed" for cell in cells):
        return OVER_BUDGET
    if any(cell.state != "cached" for cell in cells):
        return None
    return context.summary.exit_code


def _blame(context: Context) -> Iterator[str]:
    summary, budget = context.summary, context.session.config.engine.max_failed
    if summary.failed_share > budget:
        share = share_text(summary.failed_samples, summary.samples)
        yield f"{share} of the samples, the budget is {100 * budget:g} %"
    if summary.empty:
        yield f"no row is ok in {', '.join(summary.empty)}"
    broken = sum(cell.state == "failed" for cell in context.session.plan.cells.values())
    if broken:
        yield f"{counted(broken, 'shard')} could not be computed"


def _tiles(context: Context) -> Markup:
    summary = context.summary
    cells = list(context.session.plan.cells.values())
    cached = sum(cell.state == "cached" for cell in cells)
    budget = context.session.config.engine.max_failed
    size = sum(item.bytes for item in summary.outputs)
    failed = share_text(summary.failed_samples, summary.samples)
    took = (context.record.get("summary") or {}).get("seconds")
    tiles = [
        _tile("samples", count_text(summary.samples), _splits(context)),
        _tile(
            "samples with a failure",
            count_text(summary.failed_samples),
            f"{failed} of all; the budget is {100 * budget:g} %",
        ),
        _tile("shards done", f"{count_text(cached)} / {count_text(len(cells))}", "stage × shard"),
        _tile("stored", size_text(size), f"in {counted(len(summary.outputs), 'output')}"),
        _tile("this run took", "–" if took is None else seconds_text(took), _work(context)),
    ]
    return element("div", tiles, class_="tiles")


def _splits(context: Context) -> str:
    census = context.census
    return " · ".join(
        f"{name} {count_text(census.sizes['split', name])}" for name in census.splits()
    )


def _work(context: Context) -> str:
    cells = (context.record.get("summary") or {}).get("cells") or {}
    return ", ".join(f"{count_text(number)} {name}" for name, number in cells.items() if number)


def _tile(name: str, value: str, detail: str) -> Markup:
    return element(
        "div",
        element("span", name, class_="tile-name"),
        element("strong", value),
        element("span", detail, class_="tile-detail"),
        class_="tile",
    )


def _balance(context: Context) -> Child:
    """Return one bar: rows of all outputs by status."""
    totals = {
        status: sum(getattr(item, status) for item in context.summary.outputs)
        for status in ("ok", "absent", "failed")
    }
    if not any(totals.values()):
        return None
    words = "Rows of all outputs: " + ", ".join(
        f"{count_text(number)} {status}" for status, number in totals.items()
    )
    return element("div", stacked_bar(totals, label=words), element("p", words, class_="note"))


def _warnings(context: Context) -> Child:
    found = list(dict.fromkeys(_what_to_know(context)))
    if not found:
        return None
    shown = [element("li", shortened(text, 600)) for text in found[:_MAX_WARNINGS]]
    if len(found) > _MAX_WARNINGS:
        shown.append(element("li", f"… and {len(found) - _MAX_WARNINGS} more"))
    return element("aside", element("h2", "Know this first"), element("ul", shown), class_="alert")


def _what_to_know(context: Context) -> Iterator[str]:
    yield from context.summary.warnings
    if context.session.manifest.warning:
        yield context.session.manifest.warning
    for cell in context.session.plan.cells.values():
        if cell.state == "failed":
            yield f"shard {cell.shard} of {cell.node} failed: {cell.reason}"
    if context.summary.empty:
        yield f"not a single row is ok in: {', '.join(context.summary.empty)}"
    recorded = context.record.get("nodes", {})
    changed = [
        name
        for name, planned in context.session.plan.nodes.items()
        if recorded.get(name, planned.fingerprint) != planned.fingerprint
    ]
    if changed:
        yield (
            f"what the run computed is not what the same configuration gives now, for: "
            f"{', '.join(changed)} (pipeline explain says why); the page shows what is there now"
        )
    unknown = context.samples.info.get("sources_not_as_published") or ()
    if unknown:
        yield f"label files that differ from the published ones: {', '.join(unknown)}"
