from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.feature_stores import write_feature
from support.training_stores import (
    FAILED,
    IMAGE,
    ROLES,
    TOKENS,
    Values,
    make_store,
    opened,
    rows_of,
    write_children,
)

from affectflow.pipeline.cli.show_training import _left_out
from affectflow.pipeline.errors import ConfigError, StoreError
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.training import standardization
from affectflow.pipeline.training.settings import resolve
from affectflow.pipeline.training.standardization import Statistics, measure, read, write

ALL = ("tokens", "regions", "e_img")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Values]]:
    root = tmp_path_factory.mktemp("store")
    holes = {"bert": {"k005": FAILED}, "clip_image": {"k006": FAILED, "k002": FAILED}}
    return root, make_store(root, rows_of(60), holes)[1]


@pytest.mark.parametrize("sizes", [[100], [1] * 100, [33, 0, 67], [99, 1]])
def test_pieces_are_joined_as_if_they_were_one(sizes: list[int]) -> None:
    random = np.random.default_rng(0)
    values = random.normal([0, 5, 1e6, -3], [1, 1e-3, 1, 100], (100, 4)).astype(np.float32)
    found = measure(np.split(values, np.cumsum(sizes)[:-1]), "float32")
    assert found is not None
    exact = values.astype(np.float64)
    assert found.entries == 100
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, exact.std(0), rtol=1e-9)


@pytest.mark.parametrize("together", [8, 1 << 21])
def test_a_long_piece_is_taken_in_parts(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardization, "_TOGETHER", together)
    values = np.random.default_rng(0).normal(3, 2, (50, 3))
    found = measure([values], "float64")
    assert found is not None
    assert found.entries == 50
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, values.std(0), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_rounding_explains_is_constant(dtype: str) -> None:
    # A sum of a hundred times 0.1 is not ten; and the second column wavers by one step.
    values = np.full((100, 4), 0.1, dtype)
    values[::3, 1] = np.nextafter(values[0, 1], np.array(1, dtype))
    values[:, 2] = np.linspace(-1, 1, 100)
    values[::2, 3] = np.array(0.2, dtype)
    found = measure([values[:37], values[37:]], dtype)
    assert found is not None
    assert found.deviation[:2].tolist() == [0.0, 0.0]
    assert (found.deviation[2:] > 0).all()
    assert found.facts == {"columns": 4, "constant": 2, "entries": 100}
    given = found.apply_(torch.tensor([[0.1, 0.5, 0.0, 0.1], [900.0, -0.5, 0.0, 0.2]]))
    assert given[:, :2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert measure([], dtype) is None
    assert measure([values[:0]], dtype) is None


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_varies_is_never_called_constant(dtype: str) -> None:
    random = np.random.default_rng(0)
    values = random.normal([1000, 300, 0, 0], [1, 0.5, 0.1, 0], (20_000, 4)).astype(dtype)
    # An outlier among small values, and a flag that is set once.
    values[7, 2], values[9, 3] = 60, 1
    found = measure([values], dtype)
    assert found is not None
    exact = values.astype(np.float64).std(0)
    np.testing.assert_allclose(found.deviation, exact, rtol=1e-9)
    assert found.facts["constant"] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_nothing_is_ever_infinite(dtype: torch.dtype) -> None:
    subnormal = np.zeros((9, 3), np.float32)
    subnormal[::3, 0] = 1e-40
    subnormal[4, 1] = 6e-8
    found = measure([subnormal], "float32")
    assert found is not None
    assert found.facts["constant"] == 2
    given = found.apply_(torch.tensor([[1.0, 1.0, 5.0], [-1.0, -60000.0, 0.0]], dtype=dtype))
    assert given.tolist() == [[0, 1e4, 0], [0, -1e4, 0]]
    assert measure([], "float32") is None


def test_wide_values_are_standardized_as_wide_ones() -> None:
    values = 1e9 + np.arange(1000.0)[:, None]
    found = measure([values], "float64")
    assert found is not None
    given = found.apply_(torch.from_numpy(values.copy())).numpy()
    np.testing.assert_allclose(given, (values - values.mean()) / values.std(), atol=1e-6)


def test_halves_are_rounded_once() -> None:
    values = torch.linspace(900, 1100, 64, dtype=torch.float16).reshape(32, 2)
    found = Statistics(np.array([1000.3, 999.7]), np.array([57.7, 3.0]), 32)
    wide = (values.double() - torch.tensor([1000.3, 999.7])) / torch.tensor([57.7, 3.0])
    assert torch.equal(found.apply_(values.clone()), wide.to(torch.float16))


@pytest.mark.parametrize("dtype", ["float32", "stored"])
def test_every_column_of_train(store: tuple[Path, dict[str, Values]], dtype: str) -> None:
    root, values = store
    data = opened(root, "train", "val", "test", standardize=ALL, dtype=dtype)
    plain = opened(root, "train", "val", "test", dtype=dtype)
    keys = data.split("train").keys
    counts = {key: int(values["regions.num_valid"][key][0]) for key in values["regions.num_valid"]}
    written = {
        "tokens": np.concatenate([values["bert"][k] for k in keys if k != "k005"]),
        "regions": np.concatenate([values["regions"][key][: counts[key]] for key in keys]),
        "e_img": np.stack([values["clip_image"][key] for key in keys if key != "k006"]),
    }
    exact = {role: found.astype(np.float64) for role, found in written.items()}
    for role, expected in exact.items():
        found = data.statistics[role]
        assert found.entries == len(expected)
        np.testing.assert_allclose(found.mean, expected.mean(0), rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.deviation, expected.std(0), rtol=1e-12)
    seen: set[str] = set()
    for name in ("train", "val", "test"):
        rows = range(len(plain.split(name)))
        for layout in ("padded", "packed"):
            batch, before = (one.split(name).batch(rows, layout) for one in (data, plain))
            for role, feature in batch.features.items():
                raw = before.features[role]
                assert torch.equal(feature.lengths, raw.lengths)
                assert feature.values.dtype == raw.values.dtype
                mean, deviation = exact[role].mean(0), exact[role].std(0)
                wanted = (raw.packed().values.double().numpy() - mean) / deviation
                tolerance = 1e-5 if feature.values.dtype == torch.float32 else 2e-3
                got = feature.packed().values.double().numpy()
                np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
                if layout == "padded":
                    empty = ~feature.mask if feature.values.dim() > 2 else ~feature.present
                    assert not feature.values[empty].any()
                    seen |= {role} if empty.any() else set()
    assert seen == set(ALL)
    # The one sample of val without the vector: zeros, not minus the mean.
    val = data.split("val")
    row = val.keys.tolist().index("k002")
    assert not val.batch([row]).features["e_img"].values.any()


def test_statistics_of_train_serve_other_splits(store: tuple[Path, dict[str, Values]]) -> None:
    root, _ = store
    trained = opened(root, standardize=("tokens",))
    with pytest.raises(StoreError, match="'train' was not opened"):
        opened(root, "test", standardize=("tokens",))
    found = opened(root, "test", standardize=("tokens",), statistics=trained.statistics)
    both = opened(root, "train", "test", standardize=("tokens",))
    one, other = (data.split("test").batch([0, 1, 2]) for data in (found, both))
    assert torch.equal(one.features["tokens"].values, other.features["tokens"].values)
    assert one.features["regions"].values.any()
    # What it was trained with serves even where train is open.
    half = {"tokens": Statistics(np.zeros(6), np.full(6, 2.0), 1)}
    raw = opened(root).split("train").batch([0]).features["tokens"].values
    again = opened(root, standardize=("tokens",), statistics=half).split("train")
    assert torch.equal(again.batch([0]).features["tokens"].values, raw / 2)


def test_augmented_copies_do_not_count(tmp_path: Path) -> None:
    table, _ = make_store(tmp_path)
    alone = opened(tmp_path, standardize=("tokens",)).statistics["tokens"]
    copies: Values = {"k000~p1": np.full((9, 6), 50, np.float16)}
    write_children(table, TOKENS, copies)
    data = opened(tmp_path, standardize=("tokens",))
    assert data.counts["splits"]["train"]["augmented"] == 1
    assert np.array_equal(data.statistics["tokens"].mean, alone.mean)
    assert data.statistics["tokens"].entries == alone.entries


def test_copies_of_a_dropped_sample_do_not_count_either(tmp_path: Path) -> None:
    table, _ = make_store(tmp_path, holes={"clip_image": {"k000": FAILED}})
    plain = opened(tmp_path, standardize=("tokens",), missing="drop")
    write_children(table, TOKENS, {"k000~p1": np.full((9, 6), 50, np.float16)})
    write_children(table, IMAGE, {"k000~p1": np.ones(4, np.float32)})
    data = opened(tmp_path, standardize=("tokens",), missing="drop")
    train = data.split("train")
    assert train.keys[train.augmented].tolist() == ["k000~p1"]
    assert "k000" not in train.keys
    assert np.array_equal(data.statistics["tokens"].mean, plain.statistics["tokens"].mean)


def test_pieces_of_a_split_have_every_entry_once(store: tuple[Path, dict[str, Values]]) -> None:
    train = opened(store[0]).split("train")
    for role in ROLES:
        whole = np.concatenate(list(train.entries(role)))
        pieces = list(train.entries(role, numbers=20))
        assert len(pieces) > 3
        assert np.array_equal(np.concatenate(pieces), whole)
        every = train.batch(range(len(train)), "packed").features[role].packed().values
        assert np.array_equal(whole, every)
    here = np.flatnonzero(train.columns["e_img"].valid)
    some = np.concatenate(list(train.entries("e_img", most=3)))
    picked = here[[0, (len(here) - 1) // 2, len(here) - 1]]
    assert np.array_equal(some, train.batch(picked).features["e_img"].values)


def test_written_and_read(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).normal(size=(2, 3))
    statistics = {"tokens": Statistics(numbers[0], np.abs(numbers[1]), 7)}
    write(tmp_path, statistics)
    found = read(tmp_path, ("tokens",))["tokens"]
    assert np.array_equal(found.mean, numbers[0])
    assert np.array_equal(found.deviation, np.abs(numbers[1]))
    assert found.entries == 7
    assert read(tmp_path / "absent", ()) == {}
    with pytest.raises(StoreError, match="cannot be read"):
        read(tmp_path, ("regions",))
    with pytest.raises(StoreError, match="cannot be read"):
        read(tmp_path / "absent", ("tokens",))
    assert [path.name for path in tmp_path.iterdir()] == [standardization.FILE_NAME]
    (tmp_path / standardization.FILE_NAME).write_bytes(b"\0" * 40)
    with pytest.raises(StoreError, match="cannot be read"):
        read(tmp_path, ("tokens",))


def test_what_cannot_be_standardized(tmp_path: Path) -> None:
    holes = {"clip_image": {f"k{i:03d}": FAILED for i in range(20) if i % 5 in (0, 1, 3)}}
    table, _ = make_store(tmp_path, holes=holes)
    ids = FeatureSpec("bert.ids", "text", (None,), "int32")
    write_feature(table, ids, {f"k{i:03d}": np.arange(2, dtype=np.int32) for i in range(20)})
    with pytest.raises(StoreError, match="no sample of 'train' has 'e_img'"):
        opened(tmp_path, standardize=("e_img",))
    with pytest.raises(ConfigError, match="'ids' holds int32, whole numbers"):
        opened(tmp_path, roles={"ids": "bert.ids"}, standardize=("ids",))
    with pytest.raises(ConfigError, match=r"data\.standardize: unknown role 'token'"):
        opened(tmp_path, standardize=("token",))
    with pytest.raises(ConfigError, match="both name 'tokens'"):
        opened(tmp_path, standardize=("tokens",), scale={"tokens": 0.5})


def test_a_run_of_before_keeps_its_name() -> None:
    def identity(*roles: str) -> dict[str, Any]:
        data = {"data": {"standardize": roles}}
        settings = resolve("mult", "mini", [Path("store")], None, data)
        found: dict[str, Any] = settings.identity([])["data"]
        return found

    assert "standardize" not in identity()
    assert identity("text", "audio") == identity("audio", "text")
    assert identity("text") != identity("audio")


def test_said_at_the_start() -> None:
    facts = {"text": {"columns": 300, "constant": 2}, "audio": {"columns": 5, "constant": 0}}
    assert list(_left_out({"standardized": facts})) == [
        "text: standardized, 300 columns, 2 of them constant and 0",
        "audio: standardized, 5 columns",
    ]
