"""Putting the page of a training run together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...errors import AffectflowError
from ...manifest import load_manifest
from ...store.layout import written_whole
from ..context import Section
from ..document import document
from ..html import Child, Markup, code, element
from ..numbers import count_text, counted
from . import against, attention, confusion, curves, diagnostics, provenance, scores
from .attention import AttentionSample
from .record import TrainingRecord

PAGE_NAME = "report.html"
_STYLES = ("style.css", "training/style.css")


@dataclass(frozen=True)
class Looks:
    """Chosen samples with attention, or why there are none.

    Attributes:
        samples: The samples.
        how: How they were chosen, or the reason.
    """

    samples: Sequence[AttentionSample] = ()
    how: str = ""


def write_training_report(run: TrainingRecord, looks: Looks, out: Path) -> Path:
    """Write the page of a training run, whole or not at all, and return its path.

    Raises:
        StoreError: ``out`` cannot be written.
    """
    page = render(run, looks)
    with written_whole(out) as temporary:
        temporary.write_bytes(page.encode("utf-8", "replace"))
    return out


def render(run: TrainingRecord, looks: Looks) -> str:
    """Return the whole page."""
    warning = dataset_warning(run.dataset)
    found = (
        scores.section(run),
        against.section(run),
        curves.section(run),
        confusion.section(run),
        attention.section(looks.samples, looks.how, warning),
        diagnostics.graphs(run),
        diagnostics.histories(run),
        provenance.section(run),
    )
    sections = [section for section in found if section is not None]
    main = element(
        "main",
        provenance.alert(run, warning),
        _tiles(run),
        (_section(section) for section in sections),
        id="content",
    )
    title = f"{run.model} on {run.dataset}"
    return document(title, _header(run, sections), main, _footer(run), styles=_STYLES)


def dataset_warning(dataset: str) -> str:
    """Return the warning of a dataset's manifest; empty where it has none."""
    try:
        return load_manifest(dataset).warning
    except AffectflowError:
        # The manifest may have moved since; the page of a run stands without it.
        return ""


def _header(run: TrainingRecord, sections: Sequence[Section]) -> Markup:
    links = [element("a", found.title, href=f"#{found.name}") for found in sections]
    return element(
        "header",
        element("p", "affectflow training run", class_="kicker"),
        element("h1", f"{run.model} on {run.dataset}"),
        element("p", "run ", code(run.name), class_="quiet"),
        _state(run),
        element("nav", links, aria_label="Sections"),
    )


def _state(run: TrainingRecord) -> Markup:
    finished = sum(seed.finished for seed in run.seeds)
    if finished < len(run.seeds):
        words = f"{finished} of {counted(len(run.seeds), 'seed')} finished"
        return element("p", element("b", "incomplete"), " ", words, class_="verdict fair")
    words = counted(finished, "seed")
    return element("p", element("b", "finished"), " ", words, class_="verdict good")


def _tiles(run: TrainingRecord) -> Markup:
    reads = len(run.test_reads)
    tiles = [
        _tile("model", run.model, _size(run)),
        _tile("seeds", count_text(len(run.seeds)), ", ".join(seed.seed for seed in run.seeds)),
        *_best_tile(run),
        _tile(
            "test split read", "never" if not reads else f"{reads}×", "written down for each time"
        ),
    ]
    return element("div", tiles, class_="tiles")


def _size(run: TrainingRecord) -> str:
    found = run.record.get("parameters")
    total = found.get("total") if isinstance(found, dict) else found
    return f"{count_text(total)} parameters" if isinstance(total, int) else ""


def _best_tile(run: TrainingRecord) -> list[Child]:
    """Return the headline score: the mean over tasks, else the first task, by macro-F1 or MAE."""
    table = run.table
    if table is None:
        return []
    task, metric = scores.headline(table)
    cell = scores.cells(table, task)[metric]
    unit = " %" if cell.described.kind == "share" else ""
    detail = f"majority {cell.text(cell.majority)}{unit}, {table['split']} split"
    return [_tile(f"{task} {cell.title}", f"{cell.text(cell.mean)}{unit}", detail)]


def _tile(name: str, value: str, detail: str) -> Markup:
    return element(
        "div",
        element("span", name, class_="tile-name"),
        element("strong", value),
        element("span", detail, class_="tile-detail"),
        class_="tile",
    )


def _section(found: Section) -> Markup:
    return element("section", element("h2", found.title), found.body, id=found.name)


def _footer(run: TrainingRecord) -> Markup:
    versions = run.record.get("versions") or {}
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    words = f"Made {made} by affectflow {versions.get('affectflow', '')} from the run's folder."
    return element("footer", words)
