"""Near-duplicates: groups, labels that disagree inside them, groups that cross splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from ...store.samples import LABEL_PREFIX, SamplesTable
from ..census import label_text
from ..context import Context, Section
from ..html import Child, Markup, code, element, join, note
from ..numbers import count_text, counted, share_text, shortened
from ..pictures import strip
from ..tables import Rows, table

_SHOWN_GROUPS = 8
_SHOWN_MEMBERS = 6


@dataclass
class DuplicateGroup:
    """Samples that are nearly the same.

    Attributes:
        size: Members.
        members: The first rows: key, split, image, text, labels.
        labels: Label texts by task, over all members.
        splits: Splits of the members.
    """

    size: int = 0
    members: list[Mapping[str, Any]] = field(default_factory=list)
    labels: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    splits: set[str] = field(default_factory=set)

    @property
    def conflicts(self) -> list[str]:
        """Tasks whose labels disagree."""
        return [task for task, found in self.labels.items() if len(found) > 1]


def section(context: Context) -> Section:
    """Return the section."""
    facts = context.samples.info["duplicates"]
    if not facts["groups"]:
        return Section("duplicates", "Duplicates", note("No two samples are near-duplicates."))
    words = f"{counted(facts['rows'], 'sample')} lie in {counted(facts['groups'], 'group')} of "
    words += "near-duplicates (same bytes, nearly the same picture, or the same caption)."
    shared = facts["shared_between_splits"]
    crossing = "None of them crosses a split."
    if shared:
        crossing = (
            f"{count_text(shared)} of them cross a split: a model tested there has seen them."
        )
    parts: list[Child] = [element("p", words, " ", crossing), _conflicts(facts)]
    groups = collect(context.samples, context.tasks)
    chosen = sorted(groups.items(), key=lambda item: _rank(item[1], item[0]))[:_SHOWN_GROUPS]
    parts.append(element("h3", "The groups that disagree most"))
    parts += [_group(context, name, found) for name, found in chosen]
    return Section("duplicates", "Duplicates", join(parts))


def _rank(found: DuplicateGroup, name: str) -> tuple[int, int, str]:
    return (-len(found.conflicts), -found.size, name)


def _conflicts(facts: Mapping[str, Any]) -> Child:
    rows: Rows = [
        [task, number, share_text(number, facts["groups"])]
        for task, number in facts["conflicts"].items()
    ]
    if not rows:
        return None
    ceiling = "A group whose members are labelled differently cannot be predicted without error."
    heads = ("task", "groups with conflicting labels", "share of groups")
    return [element("h3", "Conflicting labels"), note(ceiling), table(heads, rows, rest="tasks")]


def collect(
    samples: SamplesTable, tasks: Mapping[str, Mapping[str, Any]]
) -> dict[str, DuplicateGroup]:
    """Return the groups with more than one member; of each only the first members are kept."""
    counts = pc.value_counts(samples.all_rows(["group"])["group"].combine_chunks())
    several = pc.greater(counts.field("counts"), 1)
    names = counts.field("values").filter(several)
    groups: dict[str, DuplicateGroup] = defaultdict(DuplicateGroup)
    columns = ["key", "split", "group", "image", "text"]
    columns += [LABEL_PREFIX + task for task in tasks]
    for shard in range(len(samples.shards)):
        found = samples.table(shard, columns)
        for row in found.filter(pc.is_in(found["group"], names)).to_pylist():
            _add(groups[row["group"]], row, tasks)
    return dict(groups)


def _add(group: DuplicateGroup, row: Mapping[str, Any], tasks: Mapping[str, Any]) -> None:
    group.size += 1
    group.splits.add(row["split"] or "(none)")
    for task, spec in tasks.items():
        if row[LABEL_PREFIX + task] is not None:
            group.labels[task].add(label_text(row[LABEL_PREFIX + task], spec))
    if len(group.members) < _SHOWN_MEMBERS:
        group.members.append(row)


def _group(context: Context, name: str, found: DuplicateGroup) -> Markup:
    disagree = ", ".join(found.conflicts) or "nothing"
    words = f"{counted(found.size, 'sample')} · split {', '.join(sorted(found.splits))}"
    head = element("p", element("b", "disagree on: "), disagree, element("small", words))
    return element(
        "div", head, strip(list(_members(context, found))), class_="group", id=f"group-{name}"
    )


def _members(context: Context, found: DuplicateGroup) -> Iterator[Markup]:
    for row in found.members:
        labels = [
            element("span", f"{task}: ", element("b", _label(row, task, context)))
            for task in found.conflicts[:4]
        ]
        caption = element(
            "small", shortened(row["text"] or "(no caption)", 90), class_="blur words"
        )
        small = element("small", row["split"] or "(none)", *labels)
        key = row["key"]
        yield context.gallery.sample(row["image"], f"sample {key}", code(key), small, caption)


def _label(row: Mapping[str, Any], task: str, context: Context) -> str:
    return label_text(row[LABEL_PREFIX + task], context.tasks[task])
