"""Retrying only what failed: the rows of some classes, and what was made from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from ..errors import DatasetError
from ..ingest.dataset import ingest_dataset
from ..store.quarantine import quarantine_rows
from .session import Session


def rows_to_retry(session: Session, only: str | None) -> dict[tuple[str, int], frozenset[str]]:
    """Return the keys to compute again, by cell.

    Args:
        session: The session.
        only: A class of failure; None for all. Rows that failed because a stage they read failed
            with that class are included, and so are all later cells of the same rows.
    """
    wanted: dict[tuple[str, int], set[str]] = defaultdict(set)
    for name, planned in session.plan.nodes.items():
        for row in quarantine_rows(planned.quarantine):
            if only is None or row["class"] in {only, f"upstream_{only}"}:
                wanted[name, row["shard"]].add(row["key"])
        for above in planned.node.upstream:
            for (node, shard), keys in list(wanted.items()):
                if node == above:
                    wanted[name, shard] |= keys
    return {cell: frozenset(keys) for cell, keys in wanted.items() if _committed(session, cell)}


def check_unchanged(session: Session, tell: Callable[[str], None]) -> None:
    """Refuse to retry over files that are not those the run saw.

    Raises:
        DatasetError: Files changed; `run extract` takes them, and computes only what they touch.
    """
    engine = session.config.engine
    now = ingest_dataset(
        session.manifest,
        session.root,
        session.layout,
        limit=session.config.limit,
        shard_rows=engine.shard_rows,
        progress=tell,
    )
    if now.content != session.samples.content:
        message = f"files of '{now.dataset}' changed since the run"
        raise DatasetError(message, "`pipeline run extract` takes them in; other shards are kept")


def _committed(session: Session, cell: tuple[str, int]) -> bool:
    return session.plan.cells[cell].state == "cached"


def count_rows(wanted: Mapping[tuple[str, int], frozenset[str]]) -> int:
    """Return how many different samples are in a retry."""
    return len(frozenset().union(*wanted.values())) if wanted else 0
