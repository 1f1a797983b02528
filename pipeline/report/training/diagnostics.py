"""Graphs, gates, entropies: the histories a model logged under names with slashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..context import Section
from ..html import Child, Markup, element, folded, join, note
from ..numbers import decimal_text
from ..tables import Rows, table
from .charts import Line, chart_grid, line_chart, line_legend
from .record import SeedRecord, Series, TrainingRecord

_PREFIX = "diagnostics/"
_GRAPH = "graph"


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
    return Section("histories", "Gates and entropies", join([note(words), *_charts(found)]))


def _group(name: str) -> str:
    return name.partition("/")[0]


def _series(run: TrainingRecord, wanted: Callable[[str], bool]) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for seed in run.seeds:
        chosen = {name: points for name, points in diagnostics_of(seed).items() if wanted(name)}
        if chosen:
            found[seed.seed] = chosen
    return found


def diagnostics_of(seed: SeedRecord) -> Series:
    """Return the diagnostics of a seed over epochs, else over steps."""
    for series in (seed.epochs, seed.steps):
        found = {
            name.partition(_PREFIX)[2]: points for name, points in series.items() if _PREFIX in name
        }
        if found:
            return found
    return {}


def _names(found: Mapping[str, Series]) -> list[str]:
    return list(dict.fromkeys(name for series in found.values() for name in series))


def _last_table(found: Mapping[str, Series]) -> Markup:
    """Return one row per graph with its last values, mean over seeds."""
    measures: dict[str, dict[str, float]] = {}
    for name in _names(found):
        _, _, rest = name.partition("/")
        graph, _, measure = rest.rpartition("/")
        last = [series[name][-1][1] for series in found.values() if name in series]
        measures.setdefault(graph or "all", {})[measure or rest] = sum(last) / len(last)
    columns = list(dict.fromkeys(column for row in measures.values() for column in row))
    rows: Rows = [
        [graph, *(decimal_text(row.get(column)) for column in columns)]
        for graph, row in measures.items()
    ]
    heads = ("graph", *(column.replace("_", " ") for column in columns))
    return join([table(heads, rows), note("At the end, mean over seeds.")])


def _charts(found: Mapping[str, Series]) -> Iterable[Markup]:
    seeds = {f"seed {seed}": (index, False) for index, seed in enumerate(found)}
    groups: dict[str, list[str]] = {}
    for name in _names(found):
        group, _, rest = name.partition("/")
        title = f"{group}/{rest.rpartition('/')[0]}" if "/" in rest else group
        groups.setdefault(title, []).append(name)
    yield line_legend(seeds)
    for index, (title, names) in enumerate(groups.items()):
        charts = [
            line_chart(
                name,
                [
                    Line(seed, series[name], colour)
                    for colour, (seed, series) in enumerate(found.items())
                    if name in series
                ],
            )
            for name in names
        ]
        body: Child = chart_grid(charts)
        yield folded(element("span", title), body, open_=index < 4)
