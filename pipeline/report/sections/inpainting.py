"""Inpainting: how much text was found, painted over and left, with pictures before and after."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ...errors import RowError
from ...store.reader import OutputFolder
from ..context import Context, Section
from ..figures import histogram
from ..html import Child, Markup, code, element, join, note
from ..numbers import decimal_text, share_text
from ..pictures import PICTURE_PIXELS, placeholder
from ..rows import row_table, sample_rows
from ..tables import Rows, table

MAX_PICTURES = 12
_BINS = 20
_COLUMNS = ("key", "status", "cover", "outcome", "text_area_before", "text_area_after", "residual")


@dataclass(frozen=True, order=True)
class Painted:
    """One painted picture, ordered by what it is chosen for."""

    score: float
    key: str
    shard: int
    position: int
    cover: float
    residual: float


@dataclass
class Tally:
    """What the table `inpaint` says over all rows.

    Attributes:
        outcomes: Rows by outcome, and by status where there is none.
        cover, residual: Values of painted rows; the residual is NaN where it was not measured.
        before, after: Text area in pixels, of painted rows where both were measured.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    cover: list[np.ndarray] = field(default_factory=list)
    residual: list[np.ndarray] = field(default_factory=list)
    before: float = 0.0
    after: float = 0.0
    widest: list[Painted] = field(default_factory=list)
    worst: list[Painted] = field(default_factory=list)


def section(context: Context) -> Section | None:
    """Return the section; None when nothing was inpainted."""
    found = context.table_of("inpaint")
    if found is None:
        return None
    folder = found[1]
    tally = take_tally(folder)
    parts: list[Child] = [_found_text(context), _outcomes(tally), _quality(tally)]
    chosen = chosen_pictures(tally)
    if chosen:
        parts += [element("h3", "Before, mask, after"), _explanation(len(chosen))]
        parts.append(element("div", list(_pictures(context, folder, chosen)), class_="triptychs"))
    return Section("inpainting", "Inpainting", join(parts))


def take_tally(folder: OutputFolder) -> Tally:
    """Read the small columns of every committed shard."""
    tally = Tally()
    for shard in folder.commits:
        table_ = folder.table(shard, list(_COLUMNS))
        outcomes = zip(table_["outcome"].to_pylist(), table_["status"].to_pylist(), strict=True)
        tally.outcomes.update(outcome or status for outcome, status in outcomes)
        painted = np.asarray(pc.equal(table_["outcome"], "painted").fill_null(False))
        cover, residual, before, after = (
            _floats(table_[name])
            for name in ("cover", "residual", "text_area_before", "text_area_after")
        )
        tally.cover.append(cover[painted])
        tally.residual.append(residual[painted])
        both = painted & np.isfinite(before) & np.isfinite(after)
        tally.before += float(before[both].sum())
        tally.after += float(after[both].sum())
        keys = table_["key"].to_pylist()
        for position in np.flatnonzero(painted):
            facts = (keys[position], shard, int(position), cover[position], residual[position])
            _keep(tally.widest, Painted(float(np.nan_to_num(cover[position])), *facts))
            if np.isfinite(residual[position]) and residual[position] > 0:
                _keep(tally.worst, Painted(float(residual[position]), *facts))
    return tally


def _keep(best: list[Painted], item: Painted) -> None:
    push = heapq.heappush if len(best) < MAX_PICTURES else heapq.heappushpop
    push(best, item)


def _floats(column: Any) -> np.ndarray:
    return np.asarray(pc.cast(column, "float64").to_numpy(), float)


def chosen_pictures(tally: Tally) -> list[tuple[str, Painted]]:
    """Return up to `MAX_PICTURES` pictures with the reason each was chosen for, none twice."""
    worst = sorted(tally.worst, reverse=True)
    widest = sorted(tally.widest, reverse=True)
    half = MAX_PICTURES // 2
    chosen = {item.key: ("worst residual", item) for item in worst[:half]}
    for item in widest:
        if len(chosen) < MAX_PICTURES:
            chosen.setdefault(item.key, ("largest cover", item))
    return list(chosen.values())


def _found_text(context: Context) -> Child:
    """Return how many samples have text regions at all."""
    found = context.table_of("text_regions")
    if found is None:
        return None
    rows = with_text = regions = 0
    for shard in found[1].commits:
        counted = found[1].table(shard, ["status", "scores"])
        ok = counted.filter(pc.equal(counted["status"], "ok"))
        lengths = pc.fill_null(pc.list_value_length(ok["scores"]), 0).to_numpy()
        rows += len(lengths)
        with_text += int((lengths > 0).sum())
        regions += int(lengths.sum())
    words = f"Text was found in {with_text:,} of {rows:,} pictures ({share_text(with_text, rows)})"
    if with_text:
        words += f", {regions:,} regions, {regions / with_text:.1f} per picture with text"
    return element("p", words + ".")


def _outcomes(tally: Tally) -> Markup:
    total = tally.outcomes.total()
    rows: Rows = [
        [name.replace("_", " "), number, share_text(number, total)]
        for name, number in tally.outcomes.most_common()
    ]
    return table(("outcome", "samples", "share"), rows)


def _quality(tally: Tally) -> Child:
    cover = _finite(tally.cover)
    residual = _finite(tally.residual)
    if len(cover) == 0:
        return note("No picture was painted.")
    rows: Rows = [["cover (share of the pixels painted)", *_quantiles(cover)]]
    if len(residual):
        rows.append(["residual (text area left ÷ text area before)", *_quantiles(residual)])
    heads = ("painted pictures", "lowest", "median", "mean", "95 %", "highest")
    figures = [histogram(*_bins(cover), "cover of painted pictures")]
    if len(residual):
        figures.append(histogram(*_bins(residual), "residual of painted pictures"))
    return [
        _removed(tally),
        table(heads, rows),
        element("div", figures, class_="figures"),
    ]


def _removed(tally: Tally) -> Child:
    if tally.before <= 0:
        return note("The detector was not run again on the painted pictures.")
    less = share_text(tally.before - tally.after, tally.before)
    words = "less text area found by the detector after painting than before, over all pictures"
    return element("p", element("strong", less, class_="big"), " ", words)


def _finite(arrays: list[np.ndarray]) -> np.ndarray:
    values = np.concatenate(arrays) if arrays else np.zeros(0)
    return values[np.isfinite(values)]


def _quantiles(values: np.ndarray) -> list[str]:
    numbers = (values.min(), np.median(values), values.mean(), np.quantile(values, 0.95))
    return [decimal_text(float(number)) for number in (*numbers, values.max())]


def _bins(values: np.ndarray) -> tuple[list[int], str, str]:
    high = max(1.0, float(values.max()))
    counts, _ = np.histogram(values, bins=_BINS, range=(0.0, high))
    return counts.tolist(), "0", decimal_text(high)


def _explanation(number: int) -> Markup:
    return note(
        f"{number} pictures, chosen to show the hardest cases, not the average: those with the "
        "worst residual first, then those with the largest cover."
    )


def _pictures(
    context: Context, folder: OutputFolder, chosen: list[tuple[str, Painted]]
) -> Iterator[Markup]:
    wanted: dict[int, set[str]] = defaultdict(set)
    for _, item in chosen:
        wanted[item.shard].add(item.key)
    images = sample_rows(context.samples, wanted, ["image"])
    for reason, item in chosen:
        stored = row_table(folder, item.shard, item.position, ["image", "mask"]).to_pylist()[0]
        original = images.get(item.key, {"image": None})["image"]
        before = context.gallery.sample(
            original, f"{item.key} before", "before", pixels=PICTURE_PIXELS
        )
        mask = _stored(context, stored["mask"], f"{item.key} mask", "mask", covered=False)
        after = _stored(context, stored["image"], f"{item.key} after", "after")
        words = f"{reason} · cover {share_text(item.cover, 1)}"
        words += f" · residual {decimal_text(item.residual)}"
        head = element("p", code(item.key), element("small", words))
        yield element("div", head, before, mask, after, class_="triptych")


def _stored(
    context: Context, data: bytes | None, alt: str, caption: str, covered: bool = True
) -> Markup:
    if data is None:
        return placeholder("none stored", "the table holds no picture for this row", caption)
    try:
        return context.gallery.encoded(
            data, alt, alt, caption, pixels=PICTURE_PIXELS, covered=covered
        )
    except RowError as error:
        return placeholder(error.code, error.message, caption)
