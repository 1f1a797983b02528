"""Splits and label distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..census import UNLABELLED, Census
from ..context import Context, Section
from ..figures import histogram, legend, stacked_bar
from ..html import Child, Markup, element, folded, join, note
from ..numbers import decimal_text, share_text
from ..tables import MAX_ROWS, Rows, table

_SPLIT_COLOURS = ("split-one", "split-two", "split-three", "split-four")
_BINS = 20
_OPEN_TASKS = 3


def section(context: Context) -> Section:
    """Return the section."""
    census = context.census
    parts: list[Child] = [_splits(context)]
    colours = split_colours(census)
    if context.tasks:
        parts += [element("h3", "Labels"), legend({c: name for name, c in colours.items()})]
    for index, (task, spec) in enumerate(context.tasks.items()):
        body = _numbers(census, task) if spec["kind"] == "regression" else None
        shown = join([_task_note(spec), body, _classes(census, task, colours)])
        parts.append(folded(task, shown, open_=index < _OPEN_TASKS))
    return Section("labels", "Splits and labels", join(parts))


def split_colours(census: Census) -> dict[str, str]:
    """Return split to colour class."""
    last = len(_SPLIT_COLOURS) - 1
    return {name: _SPLIT_COLOURS[min(index, last)] for index, name in enumerate(census.splits())}


def _splits(context: Context) -> Markup:
    census = context.census
    total = census.sizes["all", "all"]
    colours = split_colours(census)
    rows: Rows = [
        [
            name,
            census.sizes["split", name],
            share_text(census.sizes["split", name], total),
            stacked_bar({colours[name]: census.sizes["split", name]}, whole=total, slim=True),
            _origin(census, name),
        ]
        for name in census.splits()
    ]
    shared = context.samples.info["duplicates"]["shared_between_splits"]
    words = "No group of near-duplicates lies in more than one split."
    if shared:
        words = f"{shared:,} groups of near-duplicates lie in more than one split: see Duplicates."
    policy = context.session.manifest.splits
    made = ""
    if any(origin == "generated" for _, origin in census.origins):
        made = f" Generated parts: seed {policy.seed}"
        made += f", stratified by {policy.stratify}" if policy.stratify else ""
        made += f", each {policy.group_by} in one part." if policy.group_by else "."
    return join([table(("split", "samples", "share", "", "origin"), rows), note(words, made)])


def _origin(census: Census, split: str) -> str:
    found = {origin: n for (name, origin), n in census.origins.items() if name == split}
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{number:,} {origin}" for origin, number in sorted(found.items()))


def _task_note(task: Mapping[str, Any]) -> Markup:
    kinds = {
        "single": "One class per sample",
        "multi": "Any number of classes per sample",
        "regression": "A number",
        "soft": "A distribution over classes; counted by the largest share",
    }
    return note(f"{kinds[task['kind']]}. {task['note']}".strip())


def _numbers(census: Census, task: str) -> Child:
    values = np.concatenate(census.numbers[task] or [np.zeros(0)])
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return None
    counts, edges = np.histogram(values, bins=_BINS)
    low, high = decimal_text(float(edges[0])), decimal_text(float(edges[-1]))
    words = f"{len(values):,} values, mean {decimal_text(float(values.mean()))}"
    return histogram(counts.tolist(), low, high, words)


def _classes(census: Census, task: str, colours: Mapping[str, str]) -> Markup:
    dimension = f"task:{task}"
    total = census.sizes["all", "all"]
    names = [name for name in census.values(dimension) if census.sizes[dimension, name]]
    if len(names) > MAX_ROWS:
        names.sort(key=lambda name: -census.sizes[dimension, name])
    names.sort(key=lambda name: name == UNLABELLED)
    most = max((census.sizes[dimension, name] for name in names), default=1)
    # With one split its shares are those of the whole.
    compared = list(colours) if len(colours) > 1 else []
    rows: Rows = []
    for name in names:
        group = (dimension, name)
        parts = {colour: census.by_split[group, split] for split, colour in colours.items()}
        words = ", ".join(f"{split} {census.by_split[group, split]:,}" for split in colours)
        bar = stacked_bar(parts, whole=most, label=f"{name}: {words}", slim=True)
        shares = [
            share_text(census.by_split[group, split], census.sizes["split", split])
            for split in compared
        ]
        size = census.sizes[group]
        rows.append([name, size, share_text(size, total), bar, *shares])
    heads = [f"of {split}" for split in compared]
    return table(("class", "samples", "share", "", *heads), rows, kind="spread", rest="classes")
