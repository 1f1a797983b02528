"""Run records, as far as readers of a store need them: which fingerprints a run wrote or found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .layout import StoreLayout, read_json

RUN_NAME = "run.json"


def run_records(layout: StoreLayout) -> Iterator[dict[str, Any]]:
    """Yield the records of all runs, the latest first; unreadable ones are left out."""
    for path in sorted(layout.runs.glob(f"*/{RUN_NAME}"), reverse=True):
        record = read_json(path, ("samples",))
        if record is not None:
            yield record


def dataset_of(record: Mapping[str, Any]) -> str:
    """Return the name of the dataset a run was about."""
    return str(record["samples"]).partition("@")[0]


def latest_of(layout: StoreLayout, dataset: str) -> dict[str, Any] | None:
    """Return the record of the latest run over a dataset, or None."""
    found = (record for record in run_records(layout) if dataset_of(record) == dataset)
    return next(found, None)


def choose_samples(layout: StoreLayout, dataset: str) -> tuple[str | None, list[str]]:
    """Return the folder name of a dataset's samples table and all candidates.

    The latest run's table is taken, else the only one there is; None when neither decides.
    """
    pattern = layout.samples(dataset, "*").name + "/_samples.json"
    names = sorted(path.parent.name for path in (layout.root / "samples").glob(pattern))
    for record in run_records(layout):
        if dataset_of(record) == dataset and record["samples"] in names:
            return str(record["samples"]), names
    return (names[0] if len(names) == 1 else None), names
