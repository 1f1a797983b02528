"""A feature store from Python: open it, list what it holds, read features by key.

```python
import affectflow

store = affectflow.open_store("affectflow-store")
for info in store.features("memotion"):
    print(info.name, info.shape, info.counts)
keys, values = store.feature("memotion", "clip_image").read(split="train")
keys, tokens, mask = store.feature("memotion", "bert").torch(split="train")
labels = store.samples("memotion").labels("sentiment")
```

Everything is read by key and only what is committed is seen; nothing here writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import StoreError, unknown_name
from .feature import SPLITS, Feature, Split
from .join import Joined, join_features
from .layout import SPEC_NAME, StoreLayout
from .reader import OutputFolder, list_outputs
from .runs import choose_samples, dataset_of, run_records
from .samples import SamplesTable
from .samples_view import SamplesView

ROOMS = ("samples", "features", "tables", "runs")


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """What a store holds of one feature under one fingerprint.

    Attributes:
        dataset, name, fingerprint: What identifies it.
        node: Node of the graph that wrote it.
        augmented: Whether its rows are augmented samples in place of the samples themselves.
        modality: ``text``, ``image`` or ``audio``.
        shape: Per sample; None marks the ragged axis.
        dtype: NumPy name.
        rows: Committed rows, whatever their status.
        counts: Rows by status: ``ok``, ``absent``, ``failed``.
        bytes: Size of the committed parts on disk.
        shards, num_shards: Committed shards, and shards the samples have.
        complete: Whether every shard is committed.
        created: When the first shard was begun, UTC, ISO 8601.
        latest: Whether the dataset's latest run names this fingerprint.
        warnings: What the user must know, for example that weights are random.
    """

    dataset: str
    name: str
    fingerprint: str
    node: str
    augmented: bool
    modality: str
    shape: tuple[int | None, ...]
    dtype: str
    rows: int
    counts: dict[str, int]
    bytes: int
    shards: int
    num_shards: int
    complete: bool
    created: str
    latest: bool
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return asdict(self)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Return the store in a folder.

    Raises:
        StoreError: There is no store in that folder.
    """
    root = Path(path).absolute()
    if not root.is_dir() or not any((root / room).is_dir() for room in ROOMS):
        hint = "`pipeline run extract --store DIR` makes one"
        raise StoreError(f"there is no feature store in '{path}'", hint)
    return Store(StoreLayout(root))


@dataclass(frozen=True)
class Store:
    """A feature store, for reading.

    Attributes:
        layout: Where everything lies.
    """

    layout: StoreLayout

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self.layout.root

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have samples or features here."""
        tables = self.path.glob("samples/*@*/_samples.json")
        found = {path.parent.name.partition("@")[0] for path in tables}
        found |= {folder.dataset for folder in list_outputs(self.layout, "features")}
        return sorted(found)

    def samples(self, dataset: str, digest: str | None = None) -> SamplesView:
        """Return the samples of a dataset.

        Args:
            dataset: Its name.
            digest: Beginning of the digest of one samples table; by default the latest run's.

        Raises:
            StoreError: There is none, or several and no run says which; they are listed.
        """
        chosen, names = choose_samples(self.layout, dataset)
        if digest is not None:
            found = [name for name in names if name.startswith(f"{dataset}@{digest}")]
            chosen = found[0] if len(found) == 1 else None
        if not names:
            raise StoreError(unknown_name("dataset", dataset, self.datasets()))
        if chosen is None:
            asked = f"{dataset}@{digest or ''}"
            raise StoreError(
                f"'{asked}' is not one samples table; there are: {', '.join(names)}",
                "pass digest=…",
            )
        return SamplesView(SamplesTable(self.path / "samples" / chosen))

    def features(self, dataset: str | None = None) -> list[FeatureInfo]:
        """Return every feature of a dataset, or of all, sorted by dataset and name."""
        folders = list_outputs(self.layout, "features", dataset)
        latest = {name: self._latest(name) for name in {folder.dataset for folder in folders}}
        return [
            _info(folder, folder.fingerprint in latest[folder.dataset].values())
            for folder in folders
        ]

    def feature(
        self,
        dataset: str,
        name: str,
        fingerprint: str | None = None,
        *,
        augmented: bool = False,
    ) -> Feature:
        """Return one feature.

        Args:
            dataset: Name of the dataset.
            name: Name of the feature, for example ``bert`` or ``regions.boxes``.
            fingerprint: Beginning of its fingerprint. By default the only one there is, else the
                one the dataset's latest run names.
            augmented: The feature of the augmented samples in place of the samples'.

        Raises:
            StoreError: There is none, or several and no run says which; they are listed.
        """
        folders = [
            folder
            for folder in list_outputs(self.layout, "features", dataset)
            if folder.name == name and (folder.spec["rows"] != "samples") == augmented
        ]
        if not folders:
            raise self._no_feature(dataset, name, augmented)
        if fingerprint is not None:
            chosen = [folder for folder in folders if folder.fingerprint.startswith(fingerprint)]
        elif len(folders) == 1:
            chosen = folders
        else:
            named = self._named_by_run(dataset, folders)
            chosen = [folder for folder in folders if folder.fingerprint == named]
        if len(chosen) != 1:
            listed = ", ".join(folder.fingerprint for folder in chosen or folders)
            message = f"'{dataset}/{name}' has several fingerprints: {listed}"
            if fingerprint is not None and not chosen:
                message = f"'{dataset}/{name}' has no fingerprint {fingerprint}…; it has: {listed}"
            raise StoreError(message, "pass fingerprint=…")
        return self.open_feature(chosen[0])

    def open_feature(self, folder: OutputFolder) -> Feature:
        """Return the feature in a folder of this store, as `list_outputs` found it."""
        return Feature(folder, lambda: self.samples_of(folder).split_of)

    def samples_of(self, folder: OutputFolder) -> SamplesView:
        """Return the samples that a feature belongs to, with the splits of the latest such run."""
        for record in run_records(self.layout):
            of_this = dataset_of(record) == folder.dataset
            if of_this and folder.fingerprint in record["nodes"].values():
                table = SamplesTable(self.path / "samples" / str(record["samples"]))
                if (table.path / "_samples.json").is_file():
                    return SamplesView(table)
        return self.samples(folder.dataset, str(folder.spec["samples"]))

    def join(self, dataset: str, names: Iterable[str], split: Split | None = None) -> Joined:
        """Return several features of a dataset joined to its samples by key.

        Args:
            dataset: Name of the dataset.
            names: Features, each as `feature` finds it.
            split: Only this split's samples.

        Raises:
            StoreError: A feature is not there or not unique.
        """
        if split is not None and split not in SPLITS:
            raise StoreError(unknown_name("split", split, SPLITS))
        samples = self.samples(dataset)
        keys = samples.keys if split is None else samples.keys[samples.splits == split]
        found = {name: self.feature(dataset, name).read(split) for name in names}
        return join_features(keys, found)

    def _latest(self, dataset: str) -> dict[str, str]:
        records = (item for item in run_records(self.layout) if dataset_of(item) == dataset)
        return dict(next(records, {"nodes": {}})["nodes"])

    def _named_by_run(self, dataset: str, folders: list[OutputFolder]) -> str | None:
        """Return the fingerprint that the latest run with this feature's node names."""
        nodes = {str(folder.spec["node"]) for folder in folders}
        known = {folder.fingerprint for folder in folders}
        for record in run_records(self.layout):
            if dataset_of(record) == dataset:
                named = {record["nodes"].get(node) for node in nodes} & known
                if named:
                    return str(named.pop()) if len(named) == 1 else None
        return None

    def _no_feature(self, dataset: str, name: str, augmented: bool) -> StoreError:
        if dataset not in self.datasets():
            return StoreError(unknown_name("dataset", dataset, self.datasets()))
        folders = list_outputs(self.layout, "features", dataset)
        known = {item.name for item in folders if (item.spec["rows"] != "samples") == augmented}
        kind = "augmented feature" if augmented else "feature"
        return StoreError(unknown_name(kind, name, known), "`pipeline features list`")


def _info(folder: OutputFolder, latest: bool) -> FeatureInfo:
    spec, counts = folder.feature, folder.counts()
    written = datetime.fromtimestamp((folder.path / SPEC_NAME).stat().st_mtime, UTC)
    begun = folder.spec.get("begun", {}).get("at")
    return FeatureInfo(
        dataset=folder.dataset,
        name=folder.name,
        fingerprint=folder.fingerprint,
        node=str(folder.spec["node"]),
        augmented=folder.spec["rows"] != "samples",
        modality=spec.modality,
        shape=spec.shape,
        dtype=spec.dtype,
        rows=sum(counts.values()),
        counts=counts,
        bytes=sum(int(commit["bytes"]) for commit in folder.commits.values()),
        shards=len(folder.commits),
        num_shards=folder.num_shards,
        complete=len(folder.commits) == folder.num_shards,
        created=begun or written.isoformat(timespec="seconds"),
        latest=latest,
        warnings=tuple(folder.spec["warnings"]),
    )
