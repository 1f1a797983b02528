"""The ways to load batches that `loader.py` compares: float16 tensors as stored, one way float32.

``N`` rows, ``shape`` per row, ``B`` rows per batch. Each writes its files from the same rows and
then gives one epoch of batches, in order or shuffled. With workers, each does what its own
documentation says: threads for ours, worker processes of torch's ``DataLoader`` for the others.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from . import training_store
from .training_store import row_value

SEED = 7


class Way(Protocol):
    """One way to load batches."""

    name: str
    package: str

    def write(self) -> None:
        """Write all rows."""

    def open(self) -> None:
        """Open for reading."""

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        """Yield batches (B, *shape)."""


class Base:
    """What all have in common: where, how many rows of which shape, rows per batch."""

    name = ""
    package = "torch"
    # Whether the target is about this way.
    judged = False

    def __init__(self, folder: Path, rows: int, shape: Sequence[int], batch: int) -> None:
        self.folder = folder
        self.rows = rows
        self.shape = tuple(shape)
        self.batch = batch

    def content(self) -> Iterator[np.ndarray]:
        made = training_store.values(self.rows, self.shape)
        return (row_value(made, row) for row in range(self.rows))

    def order(self, shuffle: bool) -> np.ndarray:
        rows = np.arange(self.rows)
        return np.random.default_rng(SEED).permutation(rows) if shuffle else rows

    def pieces(self, shuffle: bool) -> Iterator[np.ndarray]:
        order = self.order(shuffle)
        return (order[i : i + self.batch] for i in range(0, self.rows, self.batch))

    def through_torch(self, items: Any, shuffle: bool, workers: int) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(SEED)
        loader = torch.utils.data.DataLoader(
            items, self.batch, shuffle=shuffle, num_workers=workers, generator=generator
        )
        return iter(loader)


class Ours(Base):
    """Our store through `open_data` and `Loader`."""

    name = "affectflow"

    def __init__(self, *where: Any, dtype: str = "stored") -> None:
        super().__init__(*where)
        self._dtype = dtype

    def write(self) -> None:
        training_store.write_store(self.folder, self.rows, self.shape)

    def open(self) -> None:
        from affectflow.pipeline.training.data import DataConfig
        from affectflow.pipeline.training.opening import open_data

        settings: dict[str, Any] = {"dtype": self._dtype, "stores": (str(self.folder),)}
        config = DataConfig(dataset=training_store.DATASET, **settings)
        roles = {"values": training_store.FEATURE}
        self._data = open_data(config, roles, frozenset(), ("train",))

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        from affectflow.pipeline.training.loader import Loader, LoaderConfig

        config = LoaderConfig(batch_size=self.batch, workers=workers)
        split, digest = self._data.split("train"), self._data.digest
        loader = Loader(split, config, seed=SEED, shuffle=shuffle, digest=digest)
        yield from (batch.features["values"].values for batch in loader.epoch(0))


class OursByPosition(Ours):
    """Our store as it is read where a feature is too large to be mapped."""

    name = "affectflow, as larger than 4 GiB"

    def write(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.symlink_to(self.folder.parent / Ours.__name__)

    def open(self) -> None:
        with self._mapping_nothing():
            super().open()

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        with self._mapping_nothing():
            yield from super().epoch(shuffle, workers)

    @staticmethod
    @contextlib.contextmanager
    def _mapping_nothing() -> Iterator[None]:
        from affectflow.pipeline.store import whole

        usual = whole.MAPPED_BYTES
        whole.MAPPED_BYTES = 0
        try:
            yield
        finally:
            whole.MAPPED_BYTES = usual


class MemoryMap(Base):
    """One `.npy` file, mapped; a batch is one fancy index, the fastest that NumPy has."""

    name = "NumPy memmap"

    def __init__(self, *where: Any, dtype: str = "float16") -> None:
        super().__init__(*where)
        self._dtype: torch.dtype = getattr(torch, dtype)

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path, shape = self.folder / "values.npy", (self.rows, *self.shape)
        mapped = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        for row, value in enumerate(self.content()):
            mapped[row] = value
        mapped.flush()

    def open(self) -> None:
        self._values = np.load(self.folder / "values.npy", mmap_mode="r")

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        if workers:
            yield from self.through_torch(_Copied(self._values), shuffle, workers)
            return
        for rows in self.pieces(shuffle):
            yield torch.from_numpy(np.asarray(self._values[rows])).to(self._dtype)


class _Copied(torch.utils.data.Dataset[Any]):
    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.from_numpy(np.array(self._values[row]))


class Pickle(Base):
    """One pickle of arrays by split, read whole; samples collated one by one."""

    name = "pickle in memory, float16"
    dtype: type[np.floating[Any]] = np.float16

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = np.stack(list(self.content())).astype(self.dtype)
        with open(self.folder / "values.pkl", "wb") as file:
            pickle.dump({"train": {"vision": content}}, file, protocol=4)

    def open(self) -> None:
        with open(self.folder / "values.pkl", "rb") as file:
            # The benchmark wrote this file itself.
            self._values = pickle.load(file)["train"]["vision"]

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        return self.through_torch(_Copied(self._values), shuffle, workers)


class Float32Pickle(Pickle):
    """The same in float32, which is what MMSA keeps in memory and gives to its models."""

    name = "pickle in memory, float32 as MMSA's"
    judged = True
    dtype = np.float32


class HuggingFace(Base):
    """A Hugging Face `datasets` folder in the torch format; batches by a list of rows."""

    name = "Hugging Face datasets"
    judged = True
    package = "datasets"

    def write(self) -> None:
        import datasets

        datasets.disable_progress_bars()
        kind: Any = datasets.Sequence(datasets.Value("float16"), length=self.shape[0])
        if len(self.shape) == 2:
            kind = datasets.Array2D(self.shape, "float16")
        values = np.stack(list(self.content()))
        made = datasets.Dataset.from_dict(
            {"value": values}, features=datasets.Features({"value": kind})
        )
        made.save_to_disk(self.folder)

    def open(self) -> None:
        import datasets

        found = datasets.load_from_disk(self.folder)
        # Without a dtype it would give float32.
        self._data: Any = found.with_format("torch", dtype=torch.float16)

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        if workers:
            for batch in self.through_torch(self._data, shuffle, workers):
                yield batch["value"]
            return
        for rows in self.pieces(shuffle):
            yield self._data[rows.tolist()]["value"]


class Streaming(Base):
    """MosaicML Streaming: MDS shards on the local disk, uncompressed, through `DataLoader`."""

    name = "MosaicML Streaming"
    judged = True
    package = "streaming"

    def write(self) -> None:
        from streaming import MDSWriter

        kind = f"ndarray:float16:{','.join(map(str, self.shape))}"
        with MDSWriter(out=str(self.folder), columns={"value": kind}) as writer:
            for value in self.content():
                writer.write({"value": value})

    def open(self) -> None:
        from streaming import StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        clean_stale_shared_memory()
        where = {"local": str(self.folder), "batch_size": self.batch, "shuffle_seed": SEED}
        self._data = {
            shuffle: StreamingDataset(shuffle=shuffle, **where) for shuffle in (False, True)
        }

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        # The dataset orders its rows itself.
        loader = torch.utils.data.DataLoader(self._data[shuffle], self.batch, num_workers=workers)
        return (batch["value"] for batch in loader)


class WebDataset(Base):
    """WebDataset: tar shards of `.npy` files; shuffling mixes shards and a buffer of 1,000."""

    name = "WebDataset"
    judged = True
    package = "webdataset"

    def write(self) -> None:
        import webdataset

        self.folder.mkdir(parents=True, exist_ok=True)
        pattern = str(self.folder / "values-%05d.tar")
        with (
            contextlib.redirect_stdout(io.StringIO()),
            webdataset.ShardWriter(pattern, maxcount=training_store.SHARD_ROWS) as writer,
        ):
            for row, value in enumerate(self.content()):
                writer.write({"__key__": f"{row:08d}", "npy": value})

    def open(self) -> None:
        self._paths = sorted(map(str, self.folder.glob("*.tar")))

    def epoch(self, shuffle: bool, workers: int = 0) -> Iterator[torch.Tensor]:
        import webdataset

        data = webdataset.WebDataset(
            self._paths, shardshuffle=len(self._paths) if shuffle else False, empty_check=False
        )
        if shuffle:
            data = data.shuffle(1000)
        batches = data.decode().to_tuple("npy").batched(self.batch)
        loader = webdataset.WebLoader(batches, batch_size=None, num_workers=workers)
        return (torch.as_tensor(values) for (values,) in loader)


WAYS: tuple[type[Base], ...] = (
    Ours,
    OursByPosition,
    MemoryMap,
    HuggingFace,
    Streaming,
    WebDataset,
    Pickle,
    Float32Pickle,
)


def why_not(way: type[Base]) -> str | None:
    """Return why a way cannot be measured here, or None."""
    if importlib.util.find_spec(way.package) is None:
        return f"the package '{way.package}' is not installed"
    if way is Streaming and not os.access("/dev/shm", os.W_OK):
        return "there is no shared memory to write to"
    return None
