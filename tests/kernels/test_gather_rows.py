"""The kernel against the definition: same bits, at every size, through and past the cache."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from affectflow.kernels.gather_rows import op, reference
from affectflow.kernels.gather_rows.cases import CASES, Case

needs_kernel = pytest.mark.skipif(op.kernel() is None, reason="no kernel on this machine")


def aligned(shape: tuple[int, ...], dtype: np.dtype, skew: int = 0) -> np.ndarray:
    """Return an array that begins at a line of the cache, or ``skew`` bytes after it."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + 128, np.uint8)
    first = -raw.ctypes.data % 64 + skew
    return raw[first : first + size].view(dtype).reshape(shape)


def same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """NaN stays NaN; everything else is equal bit by bit."""
    assert found.dtype == expected.dtype
    kind = np.dtype(f"u{found.itemsize}")
    if found.dtype.kind == "f":
        assert (np.isnan(found) == np.isnan(expected)).all()
        found, expected = found[~np.isnan(found)], expected[~np.isnan(expected)]
    assert (found.view(kind) == expected.view(kind)).all()


@pytest.fixture(params=["through the cache", "past the cache"])
def stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operation take one way whatever the size of the batch."""
    usual = request.param == "through the cache"
    monkeypatch.setattr(op, "PAST_CACHE_BYTES", 1 << 60 if usual else 1)


@pytest.mark.usefixtures("stores")
@pytest.mark.filterwarnings("ignore:overflow encountered in cast", "ignore:invalid value")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("skew", [0, 16])
def test_rows_are_those_asked_for(case: Case, skew: int) -> None:
    table, where = case.arrays()
    expected = table[where].astype(case.given)
    table.flags.writeable = False
    for gather in (op.gather_rows, reference.gather_rows):
        out = aligned((case.num_taken, case.num_columns), np.dtype(case.given), skew)
        out.view(np.uint8)[:] = 0xA5
        gather(table, where, out)
        same_bits(out, expected)


@needs_kernel
@pytest.mark.usefixtures("stores")
def test_every_half_widens_as_in_torch() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 64)
    out = aligned(halves.shape, np.dtype(np.float32))
    op.gather_rows(halves, np.arange(len(halves)), out)
    same_bits(out, torch.from_numpy(halves.copy()).float().numpy())


@needs_kernel
@pytest.mark.parametrize(
    ("case", "past_cache", "used"),
    [
        ("regions", True, True),
        ("regions", False, False),
        ("regions, widened", True, True),
        ("regions, widened", False, True),
        ("vectors, widened", False, True),
        ("odd sizes, widened", True, False),
        ("integers", True, False),
        ("float32", True, True),
    ],
)
def test_kernel_runs_where_it_gains(
    case: str, past_cache: bool, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op, "PAST_CACHE_BYTES", 1 if past_cache else 1 << 60)
    calls: list[int] = []
    monkeypatch.setattr(reference, "gather_rows", lambda *_: calls.append(1))
    one = next(found for found in CASES if found.name == case)
    table, where = one.arrays()
    op.gather_rows(table, where, aligned((one.num_taken, one.num_columns), np.dtype(one.given)))
    assert calls == ([] if used else [1])


@pytest.mark.usefixtures("stores")
def test_nothing_outside_the_output_is_written() -> None:
    case = Case("", 9, 64, 5, "float16", "float32")
    table, where = case.arrays()
    around = aligned((7, 64), np.dtype(np.float32))
    around[:] = 7.0
    op.gather_rows(table, where, around[1:6])
    assert (around[[0, 6]] == 7.0).all()


@pytest.mark.usefixtures("stores")
def test_threads_at_once_do_not_mix_rows() -> None:
    table = np.repeat(np.arange(200, dtype=np.float16)[:, None], 4096, axis=1)

    def taken(seed: int) -> bool:
        where = np.random.default_rng(seed).integers(0, 200, 50)
        out = aligned((50, 4096), np.dtype(np.float32))
        op.gather_rows(table, where, out)
        return bool((out == where[:, None]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(taken, range(200)))


@pytest.mark.parametrize("number", [-1, 4, 2**40])
def test_rows_that_are_not_there_are_refused(number: int) -> None:
    out = np.zeros((2, 64), np.float16)
    with pytest.raises(IndexError, match="of 4"):
        op.gather_rows(np.ones((4, 64), np.float16), np.array([0, number]), out)
    assert not out.any()


@pytest.mark.parametrize(
    ("table", "out", "message"),
    [
        (np.ones((4, 64)), np.ones((3, 64)), "do not make"),
        (np.ones((4, 64)), np.ones((2, 63)), "do not make"),
        (np.ones(4), np.ones(2), "do not make"),
        (np.ones((64, 4)).T, np.ones((2, 64)), "contiguous"),
        (np.ones((4, 64)), np.ones((64, 2)).T, "contiguous"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    table: np.ndarray, out: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        op.gather_rows(table, np.array([0, 1]), out)


def test_without_the_compiler_the_definition_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    package = "affectflow.kernels.gather_rows"
    monkeypatch.delattr(sys.modules[package], "kernel", raising=False)
    monkeypatch.delitem(sys.modules, f"{package}.kernel", raising=False)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    op.kernel.cache_clear()
    try:
        assert op.kernel() is None
        table, where = CASES[5].arrays()
        out = np.empty((len(where), table.shape[1]), np.float32)
        op.gather_rows(table, where, out)
        same_bits(out, table[where].astype(np.float32))
    finally:
        op.kernel.cache_clear()
