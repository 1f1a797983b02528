"""Naming a feature on the command line: its name, a fingerprint, dataset/feature, or all three."""

from __future__ import annotations

from ..errors import UsageError
from .api import Store
from .reader import OutputFolder, list_outputs

FORMS = "FEATURE, a fingerprint's beginning, DATASET/FEATURE or DATASET/FEATURE/FINGERPRINT"


def resolve(store: Store, reference: str) -> OutputFolder:
    """Return the feature that a reference names.

    Raises:
        UsageError: It names none, or several; they are listed.
        StoreError: ``DATASET/FEATURE`` has several fingerprints and no run says which.
    """
    parts = reference.strip("/").split("/")
    if len(parts) == 2:
        return store.feature(parts[0], parts[1]).folder
    folders = list_outputs(store.layout, "features")
    datasets = sorted({folder.dataset for folder in folders if folder.name == reference})
    if len(datasets) == 1:
        return store.feature(datasets[0], reference).folder
    if datasets:
        names = ", ".join(f"{dataset}/{reference}" for dataset in datasets)
        raise UsageError(f"'{reference}' is a feature of several datasets", f"name one: {names}")
    if len(parts) == 3:
        head = (parts[0], parts[1])
        found = [
            folder
            for folder in folders
            if (folder.dataset, folder.name) == head and folder.fingerprint.startswith(parts[2])
        ]
    else:
        found = [folder for folder in folders if folder.fingerprint.startswith(reference)]
    if len(parts) > 3 or not reference.strip() or not found:
        raise UsageError(f"'{reference}' names no feature in '{store.path}'", f"expected {FORMS}")
    if len(found) > 1:
        names = ", ".join(name_of(folder) for folder in found)
        raise UsageError(f"'{reference}' names {len(found)} features: {names}", "name one of them")
    return found[0]


def name_of(folder: OutputFolder) -> str:
    """Return the full reference of a feature."""
    return f"{folder.dataset}/{folder.name}/{folder.fingerprint}"


def latest_features(store: Store) -> list[OutputFolder]:
    """Return the features that the latest run of each dataset names."""
    infos = [info for info in store.features() if info.latest]
    known = {(info.dataset, info.name, info.fingerprint) for info in infos}
    return [
        folder
        for folder in list_outputs(store.layout, "features")
        if (folder.dataset, folder.name, folder.fingerprint) in known
    ]
