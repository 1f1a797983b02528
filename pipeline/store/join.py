"""Several features of one dataset side by side, joined by key, with presence per feature.

``N`` keys, ``shape`` per sample, ``rest = shape[1:]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import StoreError, unknown_name
from .feature import Features
from .row_groups import Values


@dataclass(frozen=True)
class Joined:
    """Features joined to the samples by key.

    Attributes:
        keys: (N,) object array of str: every sample, whether it has the features or not.
        features: Name to the rows that have a value, in an order of their own.
        rows: Name to (N,) int64: row of each key in ``features[name]``, -1 where there is none.
    """

    keys: np.ndarray
    features: Mapping[str, Features]
    rows: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.keys)

    @property
    def present(self) -> dict[str, np.ndarray]:
        """Name to (N,) bool: whether the sample has this feature."""
        return {name: rows >= 0 for name, rows in self.rows.items()}

    @property
    def complete(self) -> np.ndarray:
        """Which samples have every feature, (N,) bool."""
        return np.logical_and.reduce([np.ones(len(self), bool), *self.present.values()])

    def values(self, name: str) -> Values:
        """Return one feature in the order of ``keys``.

        Returns:
            ``(N, *shape)``, zeros where the feature is missing; for a ragged feature a list of N
            arrays ``(n, *rest)``, of length 0 where it is missing.

        Raises:
            StoreError: The feature is not part of the join.
        """
        if name not in self.features:
            raise StoreError(unknown_name("feature of this join", name, self.features))
        found, rows = self.features[name], self.rows[name]
        shape = [int(size or 0) for size in found.spec.shape]
        if isinstance(found.values, list):
            empty = np.zeros(shape, found.spec.dtype)
            return [found.values[row] if row >= 0 else empty for row in rows]
        values = np.zeros((len(self), *shape), found.spec.dtype)
        values[rows >= 0] = found.values[rows[rows >= 0]]
        return values


def join_features(keys: np.ndarray, features: Mapping[str, Features]) -> Joined:
    """Return features joined to ``keys``; rows of keys that are not asked for stay out of reach."""
    rows: dict[str, np.ndarray] = {}
    for name, found in features.items():
        position = {key: index for index, key in enumerate(found.keys)}
        rows[name] = np.fromiter((position.get(key, -1) for key in keys), np.int64, len(keys))
    return Joined(keys, features, rows)
