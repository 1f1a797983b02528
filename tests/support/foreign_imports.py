"""Importing made-up foreign files into a store of a test, and reading them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affectflow.pipeline.ingest.foreign import Imported, import_features
from affectflow.pipeline.store.api import Store, open_store
from affectflow.pipeline.store.layout import StoreLayout


def imported(path: Path | Sequence[Path], form: str, store: Path, **more: Any) -> Imported:
    """Import one file, or several, as the dataset ``d`` unless told otherwise."""
    paths = [path] if isinstance(path, Path) else list(path)
    return import_features(paths, form, StoreLayout(store), **{"dataset": "d", **more})


def feature(done: Imported, name: str) -> Mapping[str, Any]:
    """Return the facts about one feature."""
    found: Mapping[str, Any] = next(f for f in done.facts["features"] if f["name"] == name)
    return found


def values(store: Path, name: str, dataset: str = "d") -> dict[str, np.ndarray]:
    """Return a feature's values by key; absent rows are left out."""
    found = open_store(store).feature(dataset, name).read()
    return dict(zip(found.keys.tolist(), found.values, strict=True))


def rows(store: Path, dataset: str = "d") -> dict[str, dict[str, Any]]:
    """Return the samples by key."""
    table = open_store(store).samples(dataset).table().to_pylist()
    return {row["key"]: row for row in table}


def assert_same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    """Compare values by key, shape and bit."""
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def opened(store: Path) -> Store:
    """Return the store."""
    return open_store(store)
