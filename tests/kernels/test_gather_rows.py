"""The kernel against the definition: same bits, at every size, through and past the cache."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from affectflow.kernels.gather_rows import op, reference
from affectflow.kernels.gather_rows.cases import CASES, Case

kernel = pytest.importorskip("affectflow.kernels.gather_rows.kernel", reason="no llvmlite")
Kernels = kernel.Kernels

KERNELS = op.kernels()
needs_kernel = pytest.mark.skipif(
    KERNELS is None or KERNELS.widen is None, reason="no kernel on this machine"
)


def aligned(shape: tuple[int, ...], dtype: np.dtype, skew: int = 0) -> np.ndarray:
    """Return an array that begins at a line of the cache, or ``skew`` bytes after it."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + 128, np.uint8)
    first = -raw.ctypes.data % 64 + skew
    return raw[first : first + size].view(dtype).reshape(shape)


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


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
    monkeypatch.setattr(op, "PAST_CACHE_BYTES", 1 << 60 if usual else 0)
    monkeypatch.setattr(op, "WIDE_ROW_BYTES", 0)


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
        ("regions", True, "copy"),
        ("regions", False, None),
        ("regions, widened", True, "widen_past"),
        ("regions, widened", False, "widen"),
        ("vectors", True, None),
        ("vectors, widened", True, "widen"),
        ("float32", True, "copy"),
        ("odd sizes, widened", True, None),
        ("integers", True, None),
        ("halves of integers", True, None),
    ],
)
def test_kernel_runs_where_it_gains(
    case: str, past_cache: bool, used: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op, "PAST_CACHE_BYTES", 1 if past_cache else 1 << 60)
    calls: list[str] = []
    told = {name: lambda *_, name=name: calls.append(name) for name in Kernels._fields}
    monkeypatch.setattr(op, "kernels", lambda: Kernels(**told))
    one = named(case)
    table, where = one.arrays()
    op.gather_rows(table, where, aligned((one.num_taken, one.num_columns), np.dtype(one.given)))
    assert calls == ([] if used is None else [used])


@pytest.mark.usefixtures("stores")
def test_processor_without_half_precision_uses_the_definition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(op, "kernels", lambda: Kernels(lambda *_: None, None, None))
    table, where = named("vectors, widened").arrays()
    out = aligned((len(where), table.shape[1]), np.dtype(np.float32))
    op.gather_rows(table, where, out)
    same_bits(out, table[where].astype(np.float32))


@needs_kernel
@pytest.mark.parametrize("width", [32, 320])
def test_row_numbers_of_any_integer_type_and_stride(width: int) -> None:
    table = np.arange(90 * width, dtype=np.float32).astype(np.float16).reshape(90, width)
    for where in (
        np.arange(89, -1, -1, dtype=np.int32),
        np.arange(90, dtype=np.int64)[::-1],
        np.arange(90, dtype=np.uint8)[::3],
        np.arange(90, dtype=">i8"),
    ):
        out = aligned((len(where), width), np.dtype(np.float32))
        op.gather_rows(table, where, out)
        same_bits(out, table[where].astype(np.float32))


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
    ("table", "where", "out", "message"),
    [
        (np.ones((4, 64)), [0, 1], np.ones((3, 64)), "do not make"),
        (np.ones((4, 64)), [0, 1], np.ones((2, 63)), "do not make"),
        (np.ones(4), [0, 1], np.ones(2), "do not make"),
        (np.ones((4, 64)), [[0], [1]], np.ones((2, 64)), "do not make"),
        (np.ones((4, 64)), [0.0, 1.0], np.ones((2, 64)), "not integers"),
        (np.ones((64, 4)).T, [0, 1], np.ones((2, 64)), "contiguous"),
        (np.ones((4, 64)), [0, 1], np.ones((64, 2)).T, "contiguous"),
        (np.ones((4, 64)), [0, 1], np.broadcast_to(1.0, (1, 64)).repeat(2, 0), None),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    table: np.ndarray, where: list[Any], out: np.ndarray, message: str | None
) -> None:
    if message is None:
        out.flags.writeable, message = False, "read-only"
    with pytest.raises(ValueError, match=message):
        op.gather_rows(table, np.array(where), out)


def test_output_inside_the_table_is_refused() -> None:
    table = np.ones((8, 64), np.float16)
    with pytest.raises(ValueError, match="lies in the table"):
        op.gather_rows(table, np.array([1, 2]), table[2:4])


def test_objects_keep_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op, "PAST_CACHE_BYTES", 0)
    monkeypatch.setattr(op, "WIDE_ROW_BYTES", 0)
    thing = object()
    table = np.full((2, 64), thing)
    before = sys.getrefcount(thing)
    # One row of 64 pointers, at a line of the cache.
    taken = np.empty((1, 128), object)
    skipped = -taken.ctypes.data % 64 // 8
    taken = taken[:, skipped : skipped + 64]
    op.gather_rows(table, np.array([1]), taken)
    assert sys.getrefcount(thing) == before + 64


@pytest.fixture
def fresh_kernels() -> Iterator[None]:
    """Let what was compiled be looked for again, before and after."""
    op.kernels.cache_clear()
    yield
    op.kernels.cache_clear()


def still_right() -> None:
    table, where = named("vectors, widened").arrays()
    out = np.empty((len(where), table.shape[1]), np.float32)
    op.gather_rows(table, where, out)
    same_bits(out, table[where].astype(np.float32))


@pytest.mark.usefixtures("fresh_kernels")
def test_without_the_compiler_the_definition_computes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = "affectflow.kernels.gather_rows"
    monkeypatch.delattr(sys.modules[package], "kernel", raising=False)
    monkeypatch.delitem(sys.modules, f"{package}.kernel", raising=False)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    assert op.kernels() is None
    still_right()
    assert not caplog.records


@needs_kernel
@pytest.mark.usefixtures("fresh_kernels")
@pytest.mark.parametrize("error", [OSError, RuntimeError, AttributeError])
def test_broken_compiler_is_told_once(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise error("no such processor")

    monkeypatch.setattr(kernel, "build", fails)
    still_right()
    still_right()
    assert [record.getMessage() for record in caplog.records] == [
        "llvmlite is installed and does not work (no such processor); NumPy makes the batches"
    ]


@needs_kernel
@pytest.mark.usefixtures("fresh_kernels")
def test_language_that_the_compiler_does_not_know(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernel, "_PROGRAM", "define {stored} nonsense")
    still_right()
    assert len(caplog.records) == 1
