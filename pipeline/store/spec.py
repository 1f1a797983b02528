"""Fingerprints: what affects a value, as a tree that can be compared, and its digest.

The recipe of a node is `{stage, version, parameters, weights, libraries, rows, upstream}`, where
`upstream` holds the recipes of the nodes it reads. The fingerprint adds the content digest of the
samples. Batch size, workers and device stay out of both and are recorded beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..config import digest
from ..stage import BaseStage


def recipe_of(
    stage: BaseStage[Any, Any], rows: str, upstream: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return everything but the samples that affects what ``stage`` writes.

    Args:
        stage: The configured stage.
        rows: ``samples``, or the name of the node whose children are the rows.
        upstream: Recipe of each node read, by the name the stage reads it under.
    """
    return {
        "stage": stage.NAME,
        "version": stage.VERSION,
        "parameters": stage.config.result_parameters(),
        "identity": dict(stage.identity()),
        "libraries": stage.libraries(),
        "rows": rows,
        "upstream": {name: dict(recipe) for name, recipe in sorted(upstream.items())},
    }


def fingerprint_of(recipe_digest: str, content: str) -> str:
    """Return the fingerprint of a recipe applied to samples with this content digest."""
    return digest({"recipe": recipe_digest, "content": content})


def cell_digest(recipe_digest: str, shard_content: str) -> str:
    """Return the digest of one cell: equal digests mean equal bytes, in any fingerprint."""
    return digest({"recipe": recipe_digest, "shard": shard_content}, 32)


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield ``(path, old, new)`` for every leaf that differs between two recipes."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(old.get(key), new.get(key), inner)
    elif old != new:
        yield path, old, new
