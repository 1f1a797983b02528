from __future__ import annotations

import threading

import pytest
import torch
from support.training_stores import make_store, opened, rows_of

from affectflow.models.batch import FusionBatch
from affectflow.pipeline.errors import ConfigError, StoreError
from affectflow.pipeline.training.data import TrainingData
from affectflow.pipeline.training.loader import Loader, LoaderConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    root = tmp_path_factory.mktemp("store")
    make_store(root, rows_of(55))
    return opened(root)


def loader(data: TrainingData, **changes: object) -> Loader:
    facts = {"batch_size": 5, **changes}
    more = {name: facts.pop(name) for name in ("rank", "world", "seed") if name in facts}
    config = LoaderConfig(**facts)  # type: ignore[arg-type]
    settings = {"seed": 7, "shuffle": True, "digest": data.digest, **more}
    return Loader(data.split("train"), config, **settings)  # type: ignore[arg-type]


def same(one: FusionBatch, other: FusionBatch) -> bool:
    return one.keys == other.keys and all(
        torch.equal(one.features[role].values, other.features[role].values)
        and torch.equal(one.features[role].lengths, other.features[role].lengths)
        for role in one.features
    )


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_workers_change_nothing(data: TrainingData, workers: int, layout: str) -> None:
    alone = list(loader(data, layout=layout).epoch(3))
    helped = list(loader(data, layout=layout, workers=workers).epoch(3))
    assert len(alone) == len(helped) == len(loader(data)) == 7
    assert all(same(*pair) for pair in zip(alone, helped, strict=True))


def test_ranks_share_every_batch(data: TrainingData) -> None:
    whole = list(loader(data).epoch(1))
    shares = [list(loader(data, rank=rank, world=2).epoch(1)) for rank in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert batch.keys == first.keys + second.keys
    # 33 samples: the last batch has 3, which is too few for five ranks.
    last = [list(loader(data, rank=rank, world=5).epoch(1))[-1] for rank in range(5)]
    assert sorted(map(len, last)) == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("workers", [0, 3])
def test_going_on_in_the_middle(data: TrainingData, workers: int) -> None:
    whole = list(loader(data).epoch(2))
    first = loader(data, workers=workers)
    batches = first.epoch(2)
    begun = [next(batches) for _ in range(4)]
    state = first.state()
    assert (state["epoch"], state["batch"]) == (2, 4)
    second = loader(data, workers=workers)
    rest = list(second.epoch(*second.restore(state)))
    assert all(same(*pair) for pair in zip(whole, begun + rest, strict=True))
    assert (second.state()["epoch"], second.state()["batch"]) == (3, 0)


def test_a_state_of_something_else_is_refused(data: TrainingData) -> None:
    state = loader(data).state()
    with pytest.raises(StoreError, match="the loader's seed was 7 and is now 8"):
        loader(data, seed=8).restore(state)
    with pytest.raises(StoreError, match="batch_size was 5 and is now 6"):
        loader(data, batch_size=6).restore(state)
    with pytest.raises(StoreError, match="digest"):
        loader(data).restore({**state, "digest": "0"})
    loader(data, workers=2, layout="packed").restore(state)


def test_leaving_an_epoch_early_ends_its_threads(data: TrainingData) -> None:
    batches = loader(data, workers=3).epoch(0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_an_error_of_a_worker_arrives(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader(data, workers=2)
    gone = StoreError("values of a feature cannot be read")

    def fail(*_: object) -> None:
        raise gone

    monkeypatch.setattr(type(made.data), "batch", fail)
    with pytest.raises(StoreError, match="cannot be read"):
        list(made.epoch(0))


def test_numbers_out_of_range(data: TrainingData) -> None:
    with pytest.raises(ConfigError, match="batch 8 of an epoch of 7"):
        next(loader(data).epoch(0, 8))
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        loader(data, rank=2, world=2)


def test_buckets_of_real_lengths(data: TrainingData) -> None:
    made = loader(data, bucket=True)
    keys = [key for batch in made.epoch(0) for key in batch.keys]
    assert sorted(keys) == sorted(data.split("train").keys)
