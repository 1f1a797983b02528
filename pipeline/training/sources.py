"""Finding the features that play a model's roles, in one or several stores."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StoreError, unknown_name
from ..records import FeatureSpec
from ..store.api import Store
from ..store.feature import Feature
from ..store.finite import is_looked_at
from ..store.reader import OutputFolder, list_outputs
from ..store.samples_view import SamplesView
from ..store.view import View
from ..store.whole import open_any

COUNTS_SUFFIX = ".num_valid"


@dataclass(frozen=True)
class Source:
    """A feature that plays a role.

    Attributes:
        role: What the model calls it.
        store: Number of the store it was found in.
        folder: The feature of the samples.
        augmented: The feature of the augmented samples, where there is one.
        cache: Where copies made for reading are kept.
        warnings: What the user must know.
    """

    role: str
    store: int
    folder: OutputFolder
    augmented: OutputFolder | None
    cache: Path
    warnings: tuple[str, ...]

    @property
    def spec(self) -> FeatureSpec:
        """Shape and dtype as stored."""
        return self.folder.feature

    def views(self) -> list[View]:
        """Return the view of the samples' values, then that of the augmented ones, if any."""
        return [open_any(folder, self.cache) for folder in self._folders]

    @property
    def unread_bytes(self) -> int:
        """Bytes that are read once, to look for NaN and to copy, because this was never opened."""
        new = (folder for folder in self._folders if not is_looked_at(folder, self.cache))
        return sum(int(commit["bytes"]) for folder in new for commit in folder.commits.values())

    @property
    def _folders(self) -> list[OutputFolder]:
        return [self.folder, *([self.augmented] if self.augmented else [])]

    def num_valid(self) -> dict[str, int] | None:
        """Return how many entries of a fixed ``(K, …)`` feature count, by key, where recorded."""
        if self.spec.ragged or len(self.spec.shape) < 2:
            return None
        found: dict[str, int] = {}
        for folder in (self.folder, self.augmented):
            counts = _sibling(folder, COUNTS_SUFFIX) if folder else None
            if counts is not None:
                read = Feature(counts, dict).read()
                numbers = np.asarray(read.values).reshape(len(read), -1)[:, 0]
                found.update(zip(read.keys.tolist(), numbers.tolist(), strict=True))
        return found or None


def find_source(
    stores: Sequence[Store],
    dataset: str,
    role: str,
    reference: str,
    *,
    cache: Path | None,
    incomplete: bool,
    augmented: bool,
) -> Source | None:
    """Return the feature that a reference names, in the first store that has it.

    Args:
        stores: In order of preference.
        dataset: Name of the dataset.
        role: What the model calls the feature.
        reference: ``name`` or ``name@beginning of a fingerprint``.
        cache: Folder for copies made for reading; None for the cache of the feature's store.
        incomplete: Whether a feature that is not fully extracted will do.
        augmented: Whether the feature of augmented samples is looked for too.

    Returns:
        The feature, or None where no store has one of this name.

    Raises:
        StoreError: No fingerprint begins so, several do, or the feature is not complete.
    """
    name, _, fingerprint = reference.partition("@")
    seen: list[str] = []
    for number, store in enumerate(stores):
        found = _named(store, dataset, name, False)
        seen += [folder.fingerprint for folder in found]
        matching = [folder for folder in found if folder.fingerprint.startswith(fingerprint)]
        if not matching:
            continue
        folder = store.feature(dataset, name, fingerprint or None).folder
        children = _children(store, dataset, name) if augmented else None
        place = cache or store.layout.cache()
        warnings = [str(text) for text in folder.spec["warnings"]]
        warnings += _unfinished(folder, incomplete)
        if children is not None:
            warnings += _unfinished(children, incomplete)
        return Source(role, number, folder, children, place, tuple(warnings))
    if seen:
        raise _no_fingerprint(dataset, name, fingerprint, seen)
    return None


def missing_feature(stores: Sequence[Store], dataset: str, role: str, reference: str) -> StoreError:
    """Return the error for a role whose feature no store has; the nearest names are listed."""
    name = reference.partition("@")[0]
    if not any(dataset in store.datasets() for store in stores):
        known = {found for store in stores for found in store.datasets()}
        return StoreError(unknown_name("dataset", dataset, known), "see data.dataset, data.stores")
    known = {
        folder.name
        for store in stores
        for folder in list_outputs(store.layout, "features", dataset)
        if folder.spec["rows"] == "samples"
    }
    hint = f"--set data.features.{role}=NAME, or extract it: `pipeline run extract`"
    return StoreError(f"role '{role}': {unknown_name('feature', name, known)}", hint)


def record(source: Source, samples: SamplesView) -> dict[str, object]:
    """Return what a run writes down about a feature; no path of this machine."""
    spec, warnings = source.spec, list(source.warnings)
    if source.folder.spec.get("content") != samples.source.content:
        # With other rows this is harmless: values are joined by key.
        warnings.append(f"'{spec.name}' was made from samples of other content than these")
    return {
        "feature": source.folder.name,
        "fingerprint": source.folder.fingerprint,
        "store": source.store,
        "augmented": source.augmented.fingerprint if source.augmented else None,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "modality": spec.modality,
        "rows": source.folder.counts(),
        "warnings": warnings,
        # What new data are compared with: their fingerprints never equal those of other samples.
        "recipe": source.folder.spec["recipe"],
    }


def _named(store: Store, dataset: str, name: str, augmented: bool) -> list[OutputFolder]:
    return [
        folder
        for folder in list_outputs(store.layout, "features", dataset)
        if folder.name == name and (folder.spec["rows"] != "samples") == augmented
    ]


def _children(store: Store, dataset: str, name: str) -> OutputFolder | None:
    if not _named(store, dataset, name, True):
        return None
    return store.feature(dataset, name, augmented=True).folder


def _sibling(folder: OutputFolder, suffix: str) -> OutputFolder | None:
    """Return what the same node wrote beside a feature, under the same fingerprint."""
    path = folder.path.parents[1] / f"{folder.name}{suffix}" / folder.fingerprint
    return OutputFolder(path, folder.room) if path.is_dir() else None


def _unfinished(folder: OutputFolder, allowed: bool) -> list[str]:
    done, wanted = len(folder.commits), folder.num_shards
    if done == wanted:
        return []
    message = f"'{folder.dataset}/{folder.name}' has {done} of {wanted} shards"
    if not allowed:
        hint = "finish `pipeline run extract`, or train on what there is: data.incomplete=true"
        raise StoreError(f"{message} under fingerprint {folder.fingerprint}", hint)
    return [message]


def _no_fingerprint(dataset: str, name: str, wanted: str, seen: Sequence[str]) -> StoreError:
    near = difflib.get_close_matches(wanted, seen, n=len(seen), cutoff=0.0)
    listed: Mapping[str, None] = dict.fromkeys(near)
    message = f"'{dataset}/{name}' has no fingerprint {wanted}…; nearest first: {', '.join(listed)}"
    return StoreError(message, f"name one of them: {name}@FINGERPRINT")
