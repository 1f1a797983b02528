"""What failed: classes with counts, causes, what to do, and the samples themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...engine.session import failed_rows
from ...records import source_key
from ..context import Context, Section
from ..html import Child, Markup, code, element, join, note
from ..numbers import count_text, counted, share_text, shortened
from ..pictures import placeholder, strip
from ..rows import sample_rows
from ..tables import Rows, table

_MAX_CLASSES = 20
_SHOWN_SAMPLES = 6


@dataclass
class ErrorClass:
    """One class of failures.

    Attributes:
        name: The class, a snake_case word.
        keys: Samples it befell.
        rows: Rows by node.
        hints: What to do, each once.
        examples: The first failures, one per sample.
    """

    name: str
    keys: set[str] = field(default_factory=set)
    rows: Counter[str] = field(default_factory=Counter)
    hints: dict[str, None] = field(default_factory=dict)
    examples: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def follows(self) -> bool:
        """Whether the failure only passes on that of an earlier stage."""
        return self.name.startswith("upstream_")


def section(context: Context) -> Section:
    """Return the section."""
    classes = collect(context)
    parts: list[Child] = [_absent(context)]
    if not classes:
        parts.insert(0, note("Nothing failed."))
        return Section("errors", "Errors", join(parts))
    total = context.summary.samples
    rows: Rows = [
        [
            code(found.name),
            len(found.keys),
            share_text(len(found.keys), total),
            ", ".join(f"{node} {count_text(number)}" for node, number in found.rows.most_common()),
        ]
        for found in classes
    ]
    heads = ("class", "samples", "share of all", "failed rows by node")
    parts.insert(0, table(heads, rows, rest="classes"))
    parts[1:1] = [_one(context, found) for found in classes[:_MAX_CLASSES]]
    return Section("errors", "Errors", join(parts))


def collect(context: Context) -> list[ErrorClass]:
    """Return the classes of failures, first causes before what follows from them."""
    classes: dict[str, ErrorClass] = {}
    for row in failed_rows(context.session):
        found = classes.setdefault(row["class"], ErrorClass(row["class"]))
        found.keys.add(row["key"])
        found.rows[row["node"]] += 1
        if row["hint"] and len(found.hints) < 3:
            found.hints.setdefault(row["hint"])
        if len(found.examples) < _SHOWN_SAMPLES:
            found.examples.setdefault(row["key"], row)
    return sorted(classes.values(), key=lambda found: (found.follows, -len(found.keys), found.name))


def _one(context: Context, found: ErrorClass) -> Markup:
    title = element("h3", found.name.replace("_", " "))
    counts = f"{counted(len(found.keys), 'sample')}, {counted(found.rows.total(), 'failed row')}"
    lines: list[Child] = [note(counts + ("; passed on from an earlier stage" * found.follows))]
    lines += [element("p", element("b", "What to do: "), hint) for hint in found.hints]
    if found.follows:
        # The pictures stand with the first cause.
        return element("section", title, lines, class_="error-class")
    return element("section", title, lines, strip(list(_figures(context, found))))


def _figures(context: Context, found: ErrorClass) -> Iterator[Markup]:
    wanted: dict[int, set[str]] = defaultdict(set)
    for key, row in found.examples.items():
        wanted[row["shard"]] |= {key, source_key(key)}
    media = sample_rows(context.samples, wanted, ["image", "audio"])
    for key, row in found.examples.items():
        sample = media.get(key) or media.get(source_key(key)) or {"image": None, "audio": None}
        cause = element("small", shortened(row["message"] or "no cause was recorded", 220))
        if sample["image"] is None and sample["audio"] is not None:
            yield placeholder("recording", str(sample["audio"]), code(key), cause, terse=True)
            continue
        alt = f"sample {key}"
        yield context.gallery.sample(sample["image"], alt, code(key), cause, terse=True)


def _absent(context: Context) -> Child:
    """Return why rows are absent, which is not a failure."""
    reasons = context.census.absent
    if not reasons:
        return None
    rows: Rows = [
        [output, code(reason), number] for (output, reason), number in reasons.most_common()
    ]
    title = element("h3", "Absent rows")
    words = note("The sample has no such modality, or is left out on purpose: not a failure.")
    return [title, words, table(("output", "reason", "rows"), rows, rest="reasons")]
