"""Graphs, gates, entropies: the histories a model logged under names with slashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from ..context import Section
from ..html import Markup, element, folded, join, note
from ..numbers import decimal_text
from ..tables import Rows, table
from .charts import Line, Points, chart_grid, line_chart, line_legend
from .record import SeedRecord, TrainingRecord

_GRAPH = "graph"
# Kept apart by the name's first part: losses have charts of their own.
_LOSSES = "loss"
_FOLDED = ("gradient",)

Histories: TypeAlias = Mapping[str, Mapping[str, Points]]
"""Name to the points of ``train`` and ``val``."""


def graphs(run: TrainingRecord) -> Section | None:
    """Return sparsity and neighbours of every graph; None for models without graphs."""
    found = _series(run, lambda name: _group(name) == _GRAPH)
    if not found:
        return None
    words = "Density is the share of all pairs that are joined, degree the neighbours of a sample; "
    words += "an isolated sample gets nothing from the others. A threshold is too high when nearly "
    words += "all are isolated, too low when half of all pairs are joined."
    body = [note(words), _last_table(found), *_charts(found)]
    return Section("graphs", "Graphs", join(body))


def histories(run: TrainingRecord) -> Section | None:
    """Return gate, entropy and further histories; None where a model logs none."""
    found = _series(run, lambda name: _group(name) != _GRAPH)
    if not found:
        return None
    words = "Attention entropy is relative to equal weights: near 1 the weights say nothing, near "
    words += "0 one entry has all of it."
    return Section("histories", "Gates, entropies, gradients", join([note(words), *_charts(found)]))


def _group(name: str) -> str:
    return name.partition("/")[0]


def _series(run: TrainingRecord, wanted: Callable[[str], bool]) -> dict[str, Histories]:
    found: dict[str, Histories] = {}
    for seed in run.seeds:
        chosen = {name: lines for name, lines in histories_of(seed).items() if wanted(name)}
        if chosen:
            found[seed.seed] = chosen
    return found


def histories_of(seed: SeedRecord) -> Histories:
    """Return what a seed logged per epoch beside losses and metrics, by name."""
    found: dict[str, dict[str, Points]] = {}
    for prefix, split in (("train/", "train"), ("val/means/", "val")):
        for name, points in seed.epochs.items():
            rest = name.removeprefix(prefix)
            if rest != name and _group(rest) != _LOSSES:
                found.setdefault(rest, {})[split] = points
    return found


def _names(found: Mapping[str, Histories]) -> list[str]:
    return list(dict.fromkeys(name for histories in found.values() for name in histories))


def _last_table(found: Mapping[str, Histories]) -> Markup:
    """Return one row per graph with its last values, mean over seeds."""
    measures: dict[str, dict[str, float]] = {}
    for name in _names(found):
        graph, _, measure = name.partition("/")[2].rpartition("/")
        last = [_last(histories[name]) for histories in found.values() if name in histories]
        measures.setdefault(graph or "all", {})[measure] = sum(last) / len(last)
    columns = list(dict.fromkeys(column for row in measures.values() for column in row))
    rows: Rows = [
        [graph, *(decimal_text(row.get(column)) for column in columns)]
        for graph, row in measures.items()
    ]
    heads = ("graph", *(column.replace("_", " ") for column in columns))
    words = "At the end of training, on val where it was measured there, mean over seeds."
    return join([table(heads, rows), note(words)])


def _last(lines: Mapping[str, Points]) -> float:
    return (lines.get("val") or lines["train"])[-1][1]


def _charts(found: Mapping[str, Histories]) -> Iterable[Markup]:
    seeds = {f"seed {seed}": (index, False) for index, seed in enumerate(found)}
    yield line_legend({**seeds, "training": (0, False), "validation": (0, True)})
    groups: dict[str, list[str]] = {}
    for name in _names(found):
        groups.setdefault(name.rpartition("/")[0] or name, []).append(name)
    for title, names in groups.items():
        charts = [line_chart(name, _lines(found, name)) for name in names]
        opened = _group(title) not in _FOLDED
        yield folded(element("span", title), chart_grid(charts), open_=opened)


def _lines(found: Mapping[str, Histories], name: str) -> list[Line]:
    return [
        Line(f"{seed} {split}", points, colour, dashed=split == "val")
        for colour, (seed, histories) in enumerate(found.items())
        for split, points in histories.get(name, {}).items()
    ]
