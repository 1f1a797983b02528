"""Opening the splits of a dataset: which feature plays which role, then the rows put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from affectflow.models.batch import InputSpec

from ..config import digest
from ..errors import ConfigError, StoreError, unknown_name
from ..store.api import Store, open_store
from ..store.feature import SPLITS
from .assemble import assemble, find_samples
from .data import DataConfig, TrainingData
from .residual_text import residual_text
from .sources import Source, find_source, missing_feature, record

TOLD_BYTES = 100 * 2**20
"""Who opens a feature for the first time is told so if it is larger than this."""


def open_data(
    config: DataConfig,
    roles: Mapping[str, str],
    optional: frozenset[str],
    splits: Sequence[str],
    *,
    labelled: bool = True,
    tell: Callable[[str], None] = lambda message: None,
) -> TrainingData:
    """Open splits of a dataset.

    Nothing is standardized yet: see `TrainingData.standardized`.

    Args:
        config: Which data.
        roles: The model's roles and the feature that plays each by default; empty for none.
        optional: Roles that data need not have.
        splits: Which splits to open.
        labelled: Whether every task must have labels in every opened split (but the test split,
            whose labels may be withheld). When not, no label is read and there are no tasks.
        tell: Called before what may take long.

    Raises:
        StoreError: A feature, a split, a task or its labels are not there or not usable.
        ConfigError: The configuration speaks of roles that there are not.
    """
    for name in splits:
        if name not in SPLITS:
            raise StoreError(unknown_name("split", name, SPLITS))
    stores = [open_store(path) for path in config.stores]
    sources = find_sources(config, stores, roles, optional, "train" in splits)
    inputs = {role: _input(source, config.max_length) for role, source in sources.items()}
    samples = find_samples(config, stores)
    for role, source in sources.items():
        if (unread := source.unread_bytes) > TOLD_BYTES:
            tell(f"preparing {role}: the first opening reads {unread / 2**20:,.0f} MiB once")
    tasks, opened, counts = assemble(config, samples, sources, optional, splits, labelled)
    if left := residual_text(sources.values()):
        counts["residual_text"] = left
    return TrainingData(
        inputs=inputs,
        tasks=tasks,
        digest=digest({name: opened[name].digest for name in opened}, 32),
        fingerprints={role: record(source, samples) for role, source in sources.items()},
        counts=counts,
        splits=opened,
        samples=samples.digest,
    )


def find_sources(
    config: DataConfig,
    stores: Sequence[Store],
    roles: Mapping[str, str],
    optional: frozenset[str],
    train: bool,
) -> dict[str, Source]:
    """Return the feature of each role; optional roles without one are left out.

    Raises:
        StoreError: A role that must be played has no feature.
        ConfigError: The configuration names a role that there is not.
    """
    for field in ("features", "max_length", "scale", "standardize"):
        named: Iterable[str] = getattr(config, field)
        unknown = sorted(set(named) - set(roles))
        if unknown:
            message = unknown_name("role", unknown[0], roles)
            raise ConfigError(f"data.{field}: {message}", "roles are the model's names for inputs")
    found: dict[str, Source] = {}
    for role, default in roles.items():
        reference = config.features.get(role, default)
        if not reference:
            continue
        source = find_source(
            stores,
            config.dataset,
            role,
            reference,
            cache=None if config.cache is None else Path(config.cache),
            incomplete=config.incomplete,
            augmented=config.augmented and train,
        )
        if source is not None:
            found[role] = source
        elif role not in optional or role in config.features:
            raise missing_feature(stores, config.dataset, role, reference)
    _check_standardized(config, found)
    return found


def _check_standardized(config: DataConfig, sources: Mapping[str, Source]) -> None:
    for role in config.standardize:
        if config.scale.get(role, 1.0) != 1.0:
            message = f"data.scale and data.standardize both name '{role}'"
            raise ConfigError(message, "a standardized role needs no factor")
        # An optional role may have no feature.
        if role in sources and np.dtype(sources[role].spec.dtype).kind != "f":
            message = f"data.standardize: '{role}' holds {sources[role].spec.dtype}, whole numbers"
            raise ConfigError(message, "only floating-point features can be standardized")


def _input(source: Source, limits: Mapping[str, int]) -> InputSpec:
    """Return the shape per sample that a role is given out with."""
    shape, limit = source.spec.shape, limits.get(source.role)
    if limit is None:
        return InputSpec(shape)
    if limit < 1 or len(shape) < 1 or (len(shape) < 2 and not source.spec.ragged):
        message = f"data.max_length.{source.role} = {limit}, of a feature of shape {shape}"
        raise ConfigError(message, "it cuts the first of several axes to at least 1 entry")
    if source.spec.ragged:
        return InputSpec(shape)
    return InputSpec((min(limit, int(shape[0] or 0)), *shape[1:]))
