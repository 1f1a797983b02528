"""Paired differences from other runs, as `pipeline evaluate --against` wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...store.layout import read_json
from ..context import Section
from ..html import Child, Markup, code, element, folded, join, note
from ..tables import Rows, table
from .record import TrainingRecord
from .scores import describe

_HEADS = ("task", "metric", "difference", "over samples", "over seeds", "over both")


def section(run: TrainingRecord) -> Section | None:
    """Return the section; None where the run was compared with no other."""
    parts: list[Child] = []
    for path in sorted(run.folder.glob("against-*.json")):
        found = read_json(path, ("second", "split", "seeds", "differences"))
        if found is not None:
            parts.append(folded(_title(found), _differences(found), open_=not parts))
    if not parts:
        return None
    words = "This run minus the other on the same samples and seeds; shares in points, 95 % "
    words += "intervals of paired bootstrap resamples. Where an interval holds 0, another draw of "
    words += "samples or seeds could turn the difference around."
    return Section("against", "Against other runs", join([note(words), *parts]))


def _title(found: Mapping[str, Any]) -> Markup:
    words = f" on {found['split']}, seeds {', '.join(found['seeds'])}"
    return join([code(found["second"]), words])


def _differences(found: Mapping[str, Any]) -> Markup:
    rows: Rows = []
    for task, of_task in found["differences"].items():
        for metric, item in of_task.items():
            if main_metric(metric):
                rows.append([task, describe(metric).title, *_cells(metric, item)])
    return table(_HEADS, rows, kind="scores")


def main_metric(name: str) -> bool:
    """Return whether a metric stands in tables that show few."""
    parts = ("_precision", "_recall")
    return not ("/" in name or name in ("ece", "loss") or name.endswith(parts))


def _cells(metric: str, item: Mapping[str, Any]) -> Iterator[Child]:
    described = describe(metric)
    unit, digits = (100, 2) if described.kind == "share" else (1, 4)
    around = item["samples"]
    low, high, value = around["low"], around["high"], around["value"]
    if low is None or value is None:
        yield "–"
    else:
        better = (low > 0) if described.maximise else (high < 0)
        worse = (high < 0) if described.maximise else (low > 0)
        kind = "good" if better else "bad" if worse else "fair"
        yield element("span", f"{unit * value:+.{digits}f}", class_=f"chip {kind}")
    for name in ("samples", "seeds", "both"):
        part = item[name]
        if part is None or part["low"] is None:
            yield "one seed" if part is None else "–"
        else:
            yield f"{unit * part['low']:+.{digits}f} … {unit * part['high']:+.{digits}f}"
