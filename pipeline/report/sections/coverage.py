"""Coverage: which share of the samples each output has, per modality, split and class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..census import Census, Group
from ..context import Context, Section
from ..figures import legend, stacked_bar
from ..html import Child, Markup, element, folded, join, note
from ..numbers import count_text, share_text
from ..tables import Rows, table

_COLOURS = {
    "ok": "ok",
    "absent": "absent: the sample has no such modality",
    "failed": "failed",
    "missing": "not computed yet",
}


def section(context: Context) -> Section:
    """Return the section."""
    census = context.census
    parts: list[Child] = [element("h3", "Modalities"), _modalities(census)]
    plain = _merged(census, [name for name in census.coverage if name not in census.children])
    if plain:
        parts += [element("h3", "Outputs by modality and split"), legend(_COLOURS)]
        parts.append(_matrix(census, plain, ("all", "modality", "split"), children=False))
        parts += _classes(context, plain)
    augmented = _merged(census, sorted(census.children))
    if augmented:
        parts.append(element("h3", "Outputs of augmented samples"))
        parts.append(note("Rows are paraphrased children, counted with their source's class."))
        parts.append(_matrix(census, augmented, ("all", "modality"), children=True))
    return Section("coverage", "Coverage", join(parts))


def _modalities(census: Census) -> Markup:
    total = census.sizes["all", "all"]
    splits = census.splits()
    rows: Rows = []
    for name in ("text", "image", "audio"):
        present = census.sizes["modality", name]
        usable = census.readable[name]
        parts = {"ok": usable, "failed": present - usable}
        words = f"{name}: {usable} of {total} samples"
        rows.append(
            [
                name,
                present,
                usable,
                stacked_bar(parts, whole=total, label=words, slim=True),
                *(_of_split(census, name, split) for split in splits),
            ]
        )
    heads = [f"in {split}" for split in splits]
    return table(("modality", "samples that name one", "readable", "", *heads), rows)


def _of_split(census: Census, modality: str, split: str) -> str:
    part = census.by_split[("modality", modality), split]
    return share_text(part, census.sizes["split", split])


def _merged(census: Census, outputs: Sequence[str]) -> dict[str, Child]:
    """Return output to heading; outputs of one node that cover the same share one column."""
    columns: dict[str, list[str]] = {}
    for name in outputs:
        twin = next((first for first in columns if _same(census, first, name)), name)
        columns.setdefault(twin, []).append(name)
    return {first: _heading(names) for first, names in columns.items()}


def _heading(names: Sequence[str]) -> Child:
    """Return the first name and how many more there are; pointing at it lists them."""
    if len(names) == 1:
        return names[0]
    return element("span", f"{names[0]} +{len(names) - 1}", title=", ".join(names))


def _same(census: Census, one: str, other: str) -> bool:
    if one.split(".")[0] != other.split(".")[0]:
        return False
    left, right = census.coverage[one], census.coverage[other]
    return all(np.array_equal(left[group], right[group]) for group in {*left, *right})


def _matrix(
    census: Census, columns: dict[str, Child], dimensions: Sequence[str], children: bool
) -> Markup:
    rows: Rows = []
    for dimension in dimensions:
        values = census.splits() if dimension == "split" else census.values(dimension)
        for value in values:
            group = (dimension, value)
            if census.sizes[group] == 0:
                continue
            name = "all samples" if dimension == "all" else _row_name(dimension, value)
            cells = [_cell(census, group, output, children) for output in columns]
            rows.append([name, census.sizes[group], *cells])
    return table(("", "samples", *columns.values()), rows, kind="matrix", rest="groups")


def _row_name(dimension: str, value: str) -> Markup:
    kind = {"modality": "with ", "split": "split "}.get(dimension, "")
    return join([element("span", kind, class_="quiet"), value])


def _cell(census: Census, group: Group, output: str, children: bool) -> Markup:
    ok, absent, failed = (int(number) for number in census.coverage[output][group])
    whole = ok + absent + failed if children else census.sizes[group]
    missing = max(0, whole - ok - absent - failed)
    parts = {"ok": ok, "absent": absent, "failed": failed, "missing": missing}
    words = ", ".join(f"{count_text(number)} {name}" for name, number in parts.items() if number)
    share = element("span", share_text(ok, whole), class_="share")
    bar = stacked_bar(parts, whole=whole, label=words, slim=True)
    return element("div", share, bar, title=words, class_="cover")


def _classes(context: Context, columns: dict[str, Child]) -> list[Child]:
    """Return one folded matrix per task; the first one, most often the main task, may be open."""
    parts: list[Child] = []
    for task in context.tasks:
        matrix = _matrix(context.census, columns, (f"task:{task}",), children=False)
        gaps = _has_gaps(context.census, columns, f"task:{task}")
        words = "" if gaps else " – every output has every class in full"
        title = join([task, element("span", words, class_="quiet")])
        parts.append(folded(title, matrix, open_=gaps and not parts))
    return [element("h3", "Outputs by class"), *parts] if parts else []


def _has_gaps(census: Census, columns: dict[str, Child], dimension: str) -> bool:
    return any(
        census.coverage[output][dimension, value][0] < census.sizes[dimension, value]
        for output in columns
        for value in census.values(dimension)
    )
