from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectflow.pipeline.training.order import BUCKET_BATCHES, batch_bounds, epoch_order

FACTS = {
    "num_rows": st.integers(0, 300),
    "batch_size": st.integers(1, 70),
    "tail": st.integers(0, 80),
    "world": st.integers(1, 5),
    "seed": st.integers(0, 2**63),
    "epoch": st.integers(0, 10**6),
    "shuffle": st.booleans(),
    "bucket": st.booleans(),
}


@given(**FACTS)
@settings(max_examples=300, deadline=None)
def test_every_sample_exactly_once(
    num_rows: int,
    batch_size: int,
    tail: int,
    world: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    bucket: bool,
) -> None:
    lengths = np.arange(num_rows) * 7919 % 31 if bucket else None
    order = epoch_order(
        num_rows, batch_size, seed=seed, epoch=epoch, digest="d", shuffle=shuffle,
        merge_tail_below=tail, lengths=lengths,
    )  # fmt: skip
    shares = [
        [order.batch(number, rank, world) for rank in range(world)] for number in range(len(order))
    ]
    seen = [row for batch in shares for share in batch for row in share.tolist()]
    assert sorted(seen) == list(range(num_rows))
    sizes = [sum(map(len, batch)) for batch in shares]
    whole = num_rows // batch_size
    rest = num_rows % batch_size
    if rest == 0:
        expected = [batch_size] * whole
    elif rest < tail and whole:
        expected = [batch_size] * (whole - 1) + [batch_size + rest]
    else:
        expected = [batch_size] * whole + [rest]
    assert sorted(sizes) == sorted(expected)
    for number, batch in enumerate(shares):
        assert max(map(len, batch)) - min(map(len, batch)) <= 1
        # Shares put together are the batch of a world of one, in its order.
        assert np.array_equal(np.concatenate(batch), order.batch(number))


def order_of(**changes: object) -> list[int]:
    facts = {"seed": 1, "epoch": 2, "digest": "d", "shuffle": True, **changes}
    rows: list[int] = epoch_order(50, 8, **facts).rows.tolist()  # type: ignore[arg-type]
    return rows


def test_order_depends_on_seed_epoch_and_data() -> None:
    assert order_of() == order_of()
    others = [order_of(seed=2), order_of(epoch=3), order_of(digest="e")]
    assert len({tuple(rows) for rows in [order_of(), *others]}) == 4
    assert order_of(shuffle=False) == list(range(50))


def test_the_order_is_written_down() -> None:
    # A change of these numbers changes every curve that was ever recorded.
    rows = epoch_order(10, 4, seed=1111, epoch=0, digest="0" * 32, shuffle=True).rows
    assert rows.tolist() == [8, 9, 2, 0, 3, 6, 7, 4, 1, 5]


def test_all_orders_are_about_equally_likely() -> None:
    first = np.zeros((6, 6))
    for epoch in range(3000):
        rows = epoch_order(6, 2, seed=0, epoch=epoch, digest="d", shuffle=True).rows
        first[np.arange(6), rows] += 1
    # 500 expected per cell, standard deviation about 20.
    assert np.abs(first - 500).max() < 100


@pytest.mark.parametrize("shuffle", [True, False])
def test_buckets_put_similar_lengths_together(shuffle: bool) -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 32 * BUCKET_BATCHES * 3 + 5)
    facts = {"seed": 1, "epoch": 1, "digest": "d", "shuffle": shuffle}
    bucketed = epoch_order(len(lengths), 32, lengths=lengths, **facts)  # type: ignore[arg-type]
    plain = epoch_order(len(lengths), 32, **facts)  # type: ignore[arg-type]

    def padding(order: object) -> int:
        batches = [lengths[order.batch(number)] for number in range(len(order))]  # type: ignore
        return sum(int((batch.max() - batch).sum()) for batch in batches)

    assert padding(bucketed) < padding(plain) / 10


def test_a_small_tail_joins_the_batch_before() -> None:
    assert batch_bounds(10, 4).tolist() == [0, 4, 8, 10]
    assert batch_bounds(10, 4, 3).tolist() == [0, 4, 10]
    assert batch_bounds(10, 4, 2).tolist() == [0, 4, 8, 10]
    assert batch_bounds(2, 4, 3).tolist() == [0, 2]
    assert batch_bounds(0, 4, 3).tolist() == [0]
