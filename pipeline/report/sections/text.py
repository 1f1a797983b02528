"""Text: what cleaning changed, rule by rule, and what paraphrasing gave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow.compute as pc

from ...store.reader import OutputFolder
from ..context import Context, Section
from ..figures import stacked_bar
from ..html import Child, Markup, code, element, join, note
from ..numbers import count_text, share_text
from ..tables import Rows, table


@dataclass
class Cleaning:
    """What the table `clean_text` says over all rows.

    Attributes:
        rows: Rows that are ok.
        changed: Rows whose text differs from the raw text.
        empty: Rows without any text left.
        touched: Rows per rule.
        times: Applications per rule.
        flags: Rows per flag.
        characters: Characters before and after.
    """

    rows: int = 0
    changed: int = 0
    empty: int = 0
    touched: Counter[str] = field(default_factory=Counter)
    times: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    characters: tuple[int, int] = (0, 0)


def section(context: Context) -> Section | None:
    """Return the section; None when no stage worked on text."""
    parts: list[Child] = []
    cleaned = context.table_of("clean_text")
    if cleaned is not None:
        parts += _cleaning(take_cleaning(cleaned[1]))
    paraphrased = context.table_of("paraphrase")
    if paraphrased is not None:
        parts += _paraphrases(paraphrased[1])
    return Section("text", "Text", join(parts)) if parts else None


def take_cleaning(folder: OutputFolder) -> Cleaning:
    """Read the table one shard at a time."""
    found = Cleaning()
    columns = ["status", "text", "raw", "no_text", "rules", "flags"]
    for shard in folder.commits:
        whole = folder.table(shard, columns)
        ok = whole.filter(pc.equal(whole["status"], "ok"))
        found.rows += ok.num_rows
        changed = pc.fill_null(pc.not_equal(ok["text"], ok["raw"]), False)
        found.changed += pc.sum(changed).as_py() or 0
        found.empty += pc.sum(ok["no_text"]).as_py() or 0
        lengths = (pc.sum(pc.utf8_length(ok[name])).as_py() or 0 for name in ("raw", "text"))
        before, after = lengths
        found.characters = (found.characters[0] + before, found.characters[1] + after)
        for rules in ok["rules"].to_pylist():
            counts = {name: number for name, number in rules or () if number}
            found.touched.update(counts.keys())
            found.times.update(counts)
        for flags in ok["flags"].to_pylist():
            found.flags.update(flags or ())
    return found


def _cleaning(found: Cleaning) -> list[Child]:
    before, after = found.characters
    words = f"{count_text(found.changed)} of {count_text(found.rows)} captions were changed "
    words += f"({share_text(found.changed, found.rows)}), {count_text(found.empty)} hold no text. "
    words += f"Characters: {count_text(before)} before, {count_text(after)} after."
    parts: list[Child] = [element("h3", "Cleaning"), element("p", words)]
    rows: Rows = [
        [code(name), number, _share_bar(number, found.rows), found.times[name]]
        for name, number in found.touched.most_common()
    ]
    if rows:
        parts.append(table(("rule", "captions", "", "times applied"), rows, rest="rules"))
    flags: Rows = [
        [code(name), n, _share_bar(n, found.rows)] for name, n in found.flags.most_common()
    ]
    if flags:
        parts.append(table(("flag", "captions", ""), flags, rest="flags"))
    return parts


def _share_bar(part: int, whole: int) -> Markup:
    bar = stacked_bar({"compute": part}, whole=whole, label=share_text(part, whole), slim=True)
    return element("div", bar, element("span", share_text(part, whole)), class_="share-bar")


def _paraphrases(folder: OutputFolder) -> list[Child]:
    outcomes: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    children = 0
    for shard in folder.commits:
        whole = folder.table(shard, ["status", "reason", "outcome", "children", "dropped"])
        columns = (whole[name].to_pylist() for name in whole.column_names)
        for status, reason, outcome, made, refused in zip(*columns, strict=True):
            outcomes[outcome if status == "ok" else f"{status}: {reason}"] += 1
            children += len(made or ())
            dropped.update(item["reason"] for item in refused or ())
    total = outcomes.total()
    rows: Rows = [[name, n, _share_bar(n, total)] for name, n in outcomes.most_common()]
    words = f"{count_text(children)} paraphrases were kept, {count_text(dropped.total())} dropped."
    parts: list[Child] = [element("h3", "Paraphrases"), element("p", words)]
    parts.append(table(("outcome", "samples", ""), rows, rest="outcomes"))
    if dropped:
        reasons: Rows = [[name, number] for name, number in dropped.most_common()]
        parts += [note("Why replies were dropped"), table(("reason", "replies"), reasons)]
    return parts
