"""What a dataset's files are like: counts, labels, defects, duplicates; no feature is computed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..manifest import Manifest
from ..store.samples import SamplesTable
from .dataset import iter_problem_rows

MAX_EXAMPLES = 5
# The reader chose to leave these rows out, with a reason; nothing is wrong with their files.
LEFT_OUT = frozenset({"duplicate_row", "dropped"})


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found in a dataset's files.

    Attributes:
        dataset: Its name.
        rows: Samples.
        statuses: Samples by status.
        splits: Samples by split.
        labels: Task to class name to samples; ``(none)`` counts samples without a label.
        flags: Findings that do not make a row unusable, and how many rows have them.
        problems: Up to five rows per class of problem: key and reason.
        problem_rows: Rows that cannot be used.
        duplicates: Groups of near-duplicates, rows in them, conflicting labels per task, groups
            whose members lie in several splits, examples.
        sources: Label files below the root with their sha256.
        not_as_published: Those whose digest is not the published one.
        samples: Digest of the samples table.
    """

    dataset: str
    rows: int
    statuses: Mapping[str, int]
    splits: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    flags: Mapping[str, int]
    problems: Mapping[str, list[dict[str, str]]]
    problem_rows: int
    duplicates: Mapping[str, Any]
    sources: Mapping[str, str]
    not_as_published: tuple[str, ...]
    samples: str

    def to_json(self) -> dict[str, Any]:
        """Return the findings as JSON."""
        return asdict(self)


def validate(table: SamplesTable, manifest: Manifest) -> Validation:
    """Return what the ingest of a dataset found."""
    info = table.info
    examples: dict[str, list[dict[str, str]]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for row in iter_problem_rows(table):
        counts[row["status"]] += 1
        if len(examples[row["status"]]) < MAX_EXAMPLES:
            examples[row["status"]].append({"key": row["key"], "reason": row["reason"]})
    return Validation(
        dataset=table.dataset,
        rows=table.num_rows,
        statuses=info["statuses"],
        splits=info["splits"],
        labels={
            task: dict(_named_labels(manifest, task, found))
            for task, found in info["labels"].items()
        },
        flags=info["flags"],
        problems=dict(examples),
        problem_rows=sum(n for status, n in counts.items() if status not in LEFT_OUT),
        duplicates=info["duplicates"],
        sources=info["sources"],
        not_as_published=tuple(info["sources_not_as_published"]),
        samples=table.digest,
    )


def _named_labels(
    manifest: Manifest, task: str, counts: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """Yield class name and count in the order of the codes."""
    classes = manifest.tasks[task].classes
    numbers = {str(code): name for code, name in enumerate(classes)}
    absent = counts.get("None", 0)
    if manifest.tasks[task].kind == "single" and classes:
        for code, name in numbers.items():
            yield name, counts.get(code, 0)
    elif manifest.tasks[task].kind == "multi":
        total: Counter[str] = Counter()
        for value, count in counts.items():
            for code in _codes(value):
                total[numbers.get(code, code)] += count
        yield from sorted(total.items(), key=lambda item: (-item[1], item[0]))
    else:
        yield "(labelled)", sum(counts.values()) - absent
    if absent:
        yield "(none)", absent


def _codes(value: str) -> list[str]:
    """Return the codes of a set of classes as `str` wrote it, for example ``[0, 3]``."""
    return [code.strip() for code in value.strip("[]").split(",") if code.strip(" None")]
