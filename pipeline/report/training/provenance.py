"""What the numbers rest on: features, splits, configuration, machine, and what to know first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..context import Section
from ..html import Child, Markup, code, element, folded, join, note
from ..numbers import count_text
from ..tables import Rows, facts, table
from .record import TrainingRecord, flags_of

_MAX_WARNINGS = 24


def section(run: TrainingRecord) -> Section:
    """Return the section."""
    parts: list[Child] = [_facts(run), _features(run), _counts(run), _test_reads(run)]
    parts.append(folded("resolved configuration", element("pre", _pretty(run.settings))))
    parts.append(folded("run.json", element("pre", _pretty(run.record))))
    return Section("provenance", "What it rests on", join(parts))


def _facts(run: TrainingRecord) -> Markup:
    record = run.record
    versions = record.get("versions") or {}
    pairs: list[tuple[str, Child]] = [
        ("model", code(run.model)),
        ("dataset", code(run.dataset)),
        ("data digest", _code((record.get("data") or {}).get("digest"))),
        ("chosen by", _code(run.monitor)),
        ("parameters", _parameters(record.get("parameters"))),
        ("hardware", _words(record.get("hardware"))),
        ("versions", ", ".join(f"{name} {found}" for name, found in versions.items())),
    ]
    return join([facts(pairs), _command(record.get("command"))])


def _command(value: Any) -> Child:
    """Return what was typed; where the program lies on some machine is nobody's business."""
    if not isinstance(value, list) or len(value) < 2:
        return None
    return element("pre", " ".join(["pipeline", *map(str, value[1:])]))


def _code(value: Any) -> Child:
    return code(value) if value else None


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    return str(value) if value not in (None, "") else ""


def _parameters(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(
            f"{count_text(item) if isinstance(item, int) else item} {name.replace('_', ' ')}"
            for name, item in value.items()
            if not isinstance(item, Mapping)
        )
    return count_text(value) if isinstance(value, int) else ""


def _features(run: TrainingRecord) -> Child:
    rows: Rows = [
        [
            role,
            code(facts.get("feature", "")),
            code(facts.get("fingerprint", "")),
            "; ".join(facts.get("warnings") or ()) or "–",
        ]
        for role, facts in run.features.items()
    ]
    if not rows:
        return None
    heads = ("role", "feature", "fingerprint", "what to know")
    return join([element("h3", "Features"), table(heads, rows, kind="top")])


def _counts(run: TrainingRecord) -> Child:
    counts = (run.record.get("data") or {}).get("counts")
    if not counts:
        return None
    return folded("counts of the data", element("pre", _pretty(counts)))


def _test_reads(run: TrainingRecord) -> Markup:
    found = run.test_reads
    if not found:
        return note("The test split was never read for this run.")
    rows: Rows = [
        [
            str(entry.get("time", "")),
            str(entry.get("command", "")),
            ", ".join(map(str, entry.get("seeds") or ())),
        ]
        for entry in found
    ]
    times = "once" if len(found) == 1 else f"{len(found)} times"
    words = note(f"The test split was read {times} for this run.")
    return join([element("h3", "Test split"), words, table(("when", "for", "seeds"), rows)])


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)


def what_to_know(run: TrainingRecord, warning: str) -> Iterator[str]:
    """Yield what a reader must be told before any number, each thing once."""
    said: set[str] = set()
    for text in _all_warnings(run, warning):
        if text and text not in said:
            said.add(text)
            yield text


def _all_warnings(run: TrainingRecord, warning: str) -> Iterator[str]:
    for role, found in run.features.items():
        for text in found.get("warnings") or ():
            yield f"{role}: {text}"
    yield warning
    if run.table is not None:
        yield from flags_of(run.table)
    if len(run.test_reads) > 1:
        yield f"The test split was read {len(run.test_reads)} times for this run."
    by_text: dict[str, list[str]] = {}
    for seed in run.seeds:
        for text in dict.fromkeys(seed.warnings):
            by_text.setdefault(text, []).append(seed.seed)
    for text, seeds in by_text.items():
        yield f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {text}"


def alert(run: TrainingRecord, warning: str) -> Child:
    """Return the box with everything to know first; None when there is nothing."""
    found = list(what_to_know(run, warning))
    if not found:
        return None
    shown = [element("li", text) for text in found[:_MAX_WARNINGS]]
    if len(found) > _MAX_WARNINGS:
        shown.append(element("li", f"… and {len(found) - _MAX_WARNINGS} more, see the logs"))
    return element("aside", element("h2", "Know this first"), element("ul", shown), class_="alert")
