"""A finished training opened again: its data with the features it was trained on, its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ..config import parse
from ..errors import ConfigError, StoreError
from ..extractors._device import DeviceName, pick_device
from ..store.api import open_store
from ..training.assemble import find_samples
from ..training.checkpoint import LoadedRun, load_run
from ..training.data import DataConfig, TrainingData
from ..training.loader import Loader, LoaderConfig
from ..training.metrics import memotion
from ..training.metrics.families import MEMOTION_VERSIONS
from ..training.opening import open_data
from ..training.precision import placed
from ..training.run_folder import RunFolder, tasks_from_json
from ..training.standardization import Statistics
from ..training.standardization import read as read_statistics
from ..training.validation import SplitOutput, prepare_evaluation, run_batches

if TYPE_CHECKING:
    from affectflow.models.batch import FusionModel

Checkpoint = Literal["best", "last"]


@dataclass(frozen=True)
class TrainedRun:
    """A run of `pipeline train`.

    Attributes:
        folder: Where it lies.
        checkpoint: Which checkpoint of each seed.
        stores: Feature stores to read from; those of the training by default.
        device: Where the models run; as in training by default.
        tell: Called with a line before data are opened in a way that may take long.
    """

    folder: Path
    checkpoint: Checkpoint = "best"
    stores: tuple[Path, ...] = ()
    device: DeviceName | None = None
    tell: Callable[[str], None] = lambda message: None

    @cached_property
    def record(self) -> dict[str, Any]:
        """`run.json`."""
        return RunFolder(self.folder).record()

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved configuration of the training."""
        found: dict[str, Any] = self.record["settings"]
        return found

    @property
    def dataset(self) -> str:
        """Name of the dataset it was trained on."""
        return str(self.settings["data"]["dataset"])

    @property
    def family(self) -> str:
        """Family of metric definitions; of the Memotion sets with the scores of their tasks."""
        family = str(self.settings["trainer"]["metrics"])
        is_memotion = family == "auto" and self.dataset in MEMOTION_VERSIONS
        if is_memotion and memotion.fits(tasks_from_json(self.record["tasks"])):
            return self.dataset
        return family

    @property
    def seeds(self) -> tuple[str, ...]:
        """Seeds that are finished, in numerical order; all with the checkpoint if none is.

        A mean over seeds of which one was interrupted is of neither training.

        Raises:
            StoreError: None has the checkpoint.
        """
        unfinished = self.unfinished
        return tuple(seed for seed in self.begun if seed not in unfinished) or self.begun

    @property
    def begun(self) -> tuple[str, ...]:
        """Seeds that have the checkpoint, in numerical order.

        Raises:
            StoreError: There is none.
        """
        folders = self.folder.glob(f"seed-*/{self.checkpoint}/state.json")
        names = sorted((path.parent.parent.name[len("seed-") :] for path in folders), key=int)
        if not names:
            message = f"'{self.folder.name}' has no seed with the checkpoint '{self.checkpoint}'"
            raise StoreError(message, "train it first, to the first epoch")
        return tuple(names)

    @property
    def unfinished(self) -> list[str]:
        """Seeds that are not finished."""
        records: Mapping[str, Mapping[str, Any]] = self.record.get("seeds", {})
        return [seed for seed, facts in records.items() if facts.get("status") != "finished"]

    def data_config(self, dataset: str | None = None) -> DataConfig:
        """Return the configuration of the data: features and samples are those of the training.

        Args:
            dataset: Another dataset to predict; its features have fingerprints of their own.
        """
        values = dict(self.settings["data"])
        trained: Mapping[str, Mapping[str, Any]] = self.record["fingerprints"]
        if dataset is None:
            values["features"] = {
                role: f"{found['feature']}@{found['fingerprint']}"
                for role, found in trained.items()
            }
            # Another table of these samples may have other splits: its test our training.
            values["samples"] = self.record["data"].get("samples", values["samples"])
        else:
            values["features"] = {role: str(found["feature"]) for role, found in trained.items()}
            values |= {"dataset": dataset, "samples": None, "missing": "keep"}
        values["tasks"] = [task["name"] for task in self.record["tasks"]]
        # An optional role that no store played has none of these here.
        for name in ("max_length", "scale"):
            # Runs of versions before have not every setting.
            given: Mapping[str, Any] = values.get(name, {})
            values[name] = {role: value for role, value in given.items() if role in trained}
        values["standardize"] = [role for role in values.get("standardize", ()) if role in trained]
        if self.stores:
            values["stores"] = tuple(str(store) for store in self.stores)
        return parse(DataConfig, values, f"run '{self.folder.name}'")

    @property
    def roles(self) -> dict[str, str]:
        """Feature of each role the model was trained with; all of them are needed again."""
        return {role: str(found["feature"]) for role, found in self.record["fingerprints"].items()}

    def open(self, splits: Sequence[str]) -> TrainingData:
        """Open splits of the data it was trained on.

        Raises:
            StoreError: A feature is not there under the fingerprint of the training.
        """
        data = open_data(self.data_config(), self.roles, frozenset(), splits, tell=self.tell)
        return self.standardized(data)

    def standardized(self, data: TrainingData) -> TrainingData:
        """Return data standardized as those of the training were, if they were.

        Raises:
            StoreError: What they were standardized with cannot be read.
        """
        return data.standardized(found) if (found := self.statistics()) else data

    def statistics(self) -> dict[str, Statistics]:
        """Return what the training standardized its features with.

        Raises:
            StoreError: They are not in the run's folder.
        """
        standardized = self.record["data"]["counts"].get("standardized", {})
        return read_statistics(self.folder, tuple(standardized))

    def load(self, seed: str) -> LoadedRun:
        """Return the model of one seed."""
        return load_run(self.folder / f"seed-{seed}", self.checkpoint)

    def apply(
        self,
        seed: str,
        loaded: LoadedRun,
        data: TrainingData,
        split: str,
        *,
        train: TrainingData | None = None,
        keep_attention: bool = False,
    ) -> SplitOutput:
        """Run a model over a split: batches as in training, in the order of the data, none left.

        The model keeps what it was shown of the split, so that `forward_flops` counts that too.

        Args:
            seed: The model's seed.
            loaded: The model.
            data: Opened for the split.
            split: Its name.
            train: Where the training split is, for models that want a sample of it; in ``data`` by
                default.
            keep_attention: Whether to keep attention weights.

        Raises:
            ConfigError: The model needs a sample of the training split, and there is none.
        """
        device = pick_device(self.device or self.settings["trainer"]["device"])
        model = loaded.model.to(device)
        loader = parse(LoaderConfig, {**self.settings["loader"], "bucket": False}, "loader")
        source = (train or data).splits.get("train")
        if model.num_reference and source is None:
            hint = "open 'train' too, or train with eval.batch_policy=running, batch or single"
            raise ConfigError("the model compares with samples of the training split", hint)
        prepare_evaluation(model, source, int(seed), device, loader.layout)
        batches = Loader(
            data.split(split), loader, seed=int(seed), shuffle=False, digest=data.digest
        )
        if model.wants_split:
            model.observe_split(placed(batch, device) for batch in batches.epoch(0))
        precision = self.settings["trainer"]["precision"]
        return run_batches(
            model, batches.epoch(0), loaded.tasks, device, precision, keep_attention=keep_attention
        )

    def forward_flops(self, loaded: LoadedRun, data: TrainingData, split: str) -> int:
        """Return the floating-point operations of matrix products per sample, attention included.

        Counted over one batch of evaluation, so a model that relates the samples of a batch has
        its share of that; element-wise operations are not counted.
        """
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        loader = parse(LoaderConfig, self.settings["loader"], "loader")
        found = data.split(split)
        rows = np.arange(min(len(found), loader.batch_size))
        device = next(loaded.model.parameters()).device
        batch = placed(found.batch(rows, layout=loader.layout), device)
        # The counter does not know the fused attention of CPUs and would count it as nothing.
        plain = sdpa_kernel(SDPBackend.MATH)
        with torch.inference_mode(), plain, FlopCounterMode(display=False) as counter:
            loaded.model(batch)
        return int(counter.get_total_flops() / len(rows))

    def batch_policy(self, model: FusionModel) -> str:
        """Return in words what a prediction depends on beside its own sample."""
        if not model.reads_whole_batch:
            return "each sample on its own"
        size = self.settings["loader"]["batch_size"]
        policy = find_value(self.settings["model"], "batch_policy")
        words = f"batches of {size} in the order of the data, tail kept"
        if model.wants_split:
            words += ", neighbours from the whole split"
        # The policy ``single`` leaves a sample without neighbours.
        elif policy != "single" and find_value(self.settings["model"], "scope") == "bank":
            words += ", neighbours from the training bank"
        return f"eval.batch_policy={policy}, {words}" if policy else words

    def groups(self, keys: Sequence[str]) -> np.ndarray:
        """Return (N,) int64: equal for samples that the ingest found to be near-duplicates."""
        config = self.data_config()
        table = find_samples(config, [open_store(path) for path in config.stores]).table(
            ["key", "group"]
        )
        of = dict(zip(table["key"].to_pylist(), table["group"].to_pylist(), strict=True))
        names = np.asarray([of.get(key) or key for key in keys], object).astype(str)
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def find_value(values: Mapping[str, Any], name: str) -> Any:
    """Return the first value of that name in nested mappings; None where there is none."""
    if name in values:
        return values[name]
    below = (find_value(item, name) for item in values.values() if isinstance(item, Mapping))
    return next((found for found in below if found is not None), None)


def original_labels(data: TrainingData) -> dict[str, np.ndarray]:
    """Return the labels of the training split without those of augmented copies."""
    train = data.split("train")
    first = np.unique(train.families, return_index=True)[1]
    return {task: values[first] for task, values in train.labels.items()}
