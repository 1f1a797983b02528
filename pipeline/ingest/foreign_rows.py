"""Rows of foreign files as rows of a samples table, with a manifest and counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import canonical_json
from ..foreign._known import terms_of
from ..foreign._parsed import Parsed
from ..manifest import Manifest, Task
from ..store.samples import LABEL_PREFIX, samples_schema
from .groups import find_groups, group_findings
from .splits import make_splits


def manifest_of(parsed: Parsed, name: str, form: str) -> Manifest:
    """Return the manifest of an imported dataset.

    Raises:
        ManifestError: The name cannot name a dataset.
    """
    terms = terms_of(name)
    values = {
        "name": name,
        "title": terms.title,
        "reader": f"foreign.{form}",
        "licence": terms.licence,
        "citation": terms.citation,
        "homepage": terms.homepage,
        "obtain": f"`pipeline features import FILE --as {form} --dataset {name}`",
        "modalities": ("text", "audio", "video"),
        "tasks": {task: facts.model_dump() for task, facts in parsed.tasks.items()},
        "splits": parsed.splits.model_dump(),
    }
    return Manifest.model_validate(values)


def sample_rows(parsed: Parsed, manifest: Manifest) -> list[dict[str, Any]]:
    """Return a row per sample with group and split, in the order of the file."""
    names = samples_schema(manifest.tasks).names
    rows = [{**dict.fromkeys(names), **_facts_of(row, manifest.tasks)} for row in parsed.rows]
    groups = parsed.groups or find_groups(rows)
    for row, group in zip(rows, groups, strict=True):
        row["group"] = group
    make_splits(rows, parsed.splits, None)
    return rows


def _facts_of(row: Any, tasks: Mapping[str, Task]) -> dict[str, Any]:
    return {
        "key": row.key,
        "split": row.split,
        "text": row.text,
        "status": row.status,
        "reason": row.reason,
        "flags": list(row.flags),
        "origin": row.origin,
        "labels_raw": canonical_json(dict(row.labels_raw)),
        "extra": canonical_json(dict(row.extra)),
        **{LABEL_PREFIX + task: row.labels.get(task) for task in tasks},
    }


def table_facts(parsed: Parsed, rows: Sequence[Mapping[str, Any]], form: str) -> dict[str, Any]:
    """Return what `_samples.json` says about the rows.

    The digests of the files are not among it: an aligned and an unaligned file of one dataset then
    share their samples, and are told apart by their features' fingerprints.
    """
    flags = Counter(flag for row in rows for flag in row["flags"])
    whole = {task: _counted(rows, task, facts) for task, facts in parsed.tasks.items()}
    by_split: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_split[str(row["split"])].append(row)
    return {
        "format": form,
        "splits": dict(sorted(Counter(str(row["split"]) for row in rows).items())),
        "labels": whole,
        "labels_by_split": {
            split: {task: _counted(found, task, facts) for task, facts in parsed.tasks.items()}
            for split, found in sorted(by_split.items())
        },
        "flags": dict(sorted(flags.items())),
        "duplicates": group_findings(rows, parsed.tasks, LABEL_PREFIX),
    }


def _counted(rows: Sequence[Mapping[str, Any]], task: str, facts: Task) -> dict[str, int]:
    """Return rows by class, or for a number by its sign; ``None`` for those without a label."""
    values = [row[LABEL_PREFIX + task] for row in rows]
    if facts.kind == "regression":
        signs = {-1: "negative", 0: "neutral", 1: "positive"}
        named = ["None" if v is None else signs[(v > 0) - (v < 0)] for v in values]
    else:
        named = ["None" if v is None else facts.classes[v] for v in values]
    return dict(sorted(Counter(named).items()))
