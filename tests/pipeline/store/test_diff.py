from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.feature_stores import ABSENT, FAILED, sample_row, write_feature, write_table

import affectflow
from affectflow.pipeline.errors import UsageError
from affectflow.pipeline.records import Failure, FeatureSpec
from affectflow.pipeline.store.diff import Diff, diff_features, value_lines
from affectflow.pipeline.store.references import name_of, resolve

SPEC = FeatureSpec("clip", "image", (2,), "float32")
RAGGED = FeatureSpec("bert", "text", (None, 2), "float32")
Values = dict[str, np.ndarray | Failure]


def compare(
    folder: Path,
    a: Values,
    b: Values,
    specs: tuple[FeatureSpec, FeatureSpec] = (SPEC, SPEC),
    recipes: tuple[dict, dict] = ({"stage": "x"}, {"stage": "x"}),
    shard_rows: tuple[int, int] = (2, 2),
) -> Diff:
    folders = []
    for name, values, spec, recipe, rows in zip(
        "ab", (a, b), specs, recipes, shard_rows, strict=True
    ):
        table = write_table(folder / name, [sample_row(key) for key in values], rows)
        write_feature(table, spec, values, recipe=recipe)
        folders.append(affectflow.open_store(folder / name).feature("mini", spec.name).folder)
    return diff_features(*folders)


def row(*numbers: float) -> np.ndarray:
    return np.asarray(numbers, np.float32)


def test_equal_features(tmp_path: Path) -> None:
    values: Values = {"a": row(1, 2), "b": FAILED, "c": row(0, 0)}
    diff = compare(tmp_path, values, values)
    assert (diff.recipe, diff.same_values) == ([], True)
    assert (diff.compared, diff.equal, diff.max_abs, diff.mean_cosine) == (2, 2, 0.0, 1.0)


def test_values_are_joined_by_key_not_by_position(tmp_path: Path) -> None:
    keys = [f"k{i}" for i in range(9)]
    values: Values = {key: row(i, 1) for i, key in enumerate(keys)}
    turned: Values = {key: values[key] for key in reversed(keys)}
    diff = compare(tmp_path, values, turned, shard_rows=(2, 4))
    assert (diff.compared, diff.equal, diff.only_a, diff.only_b) == (9, 9, 0, 0)


def test_what_differs_is_counted_and_measured(tmp_path: Path) -> None:
    a: Values = {"same": row(3, 4), "turned": row(1, 0), "half": row(2, 2), "lost": row(1, 1)}
    b: Values = {"same": row(3, 4), "turned": row(0, 1), "half": row(2, 2.5), "new": row(1, 1)}
    diff = compare(tmp_path, {**a, "hole": ABSENT}, {**b, "hole": row(5, 5)})
    assert (diff.only_a, diff.only_b, diff.status) == (1, 1, 1)
    assert (diff.compared, diff.equal, diff.same_values) == (3, 1, False)
    assert diff.max_abs == 1.0
    assert diff.mean_abs == pytest.approx((0 + 1 + 0.25) / 3)
    half = 9 / (np.hypot(2, 2) * np.hypot(2, 2.5))
    assert diff.mean_cosine == pytest.approx((1 + 0 + half) / 3)
    assert diff.examples == ["turned", "half"]
    assert "rows only in A 1" in next(iter(value_lines(diff)))


def test_zero_vectors_have_a_defined_cosine(tmp_path: Path) -> None:
    diff = compare(tmp_path, {"a": row(0, 0), "b": row(0, 0)}, {"a": row(0, 0), "b": row(1, 0)})
    assert diff.mean_cosine == 0.5


def test_ragged_lengths(tmp_path: Path) -> None:
    a: Values = {"a": np.ones((3, 2), np.float32), "b": np.zeros((0, 2), np.float32)}
    b: Values = {"a": np.ones((2, 2), np.float32), "b": np.zeros((0, 2), np.float32)}
    diff = compare(tmp_path, a, b, (RAGGED, RAGGED))
    assert (diff.compared, diff.lengths, diff.equal, diff.examples) == (2, 1, 1, ["a"])


def test_dtypes_are_compared_by_value_and_never_equal_by_bytes(tmp_path: Path) -> None:
    half = FeatureSpec("clip", "image", (2,), "float16")
    a: Values = {"a": row(1, 0.1)}
    diff = compare(tmp_path, a, {"a": row(1, 0.1).astype(np.float16)}, (SPEC, half))
    assert (diff.equal, diff.compared) == (0, 1)
    assert diff.max_abs == pytest.approx(abs(float(np.float32(0.1)) - float(np.float16(0.1))))
    assert ("output.dtype", "float32", "float16") in diff.recipe


def test_shapes_that_cannot_be_compared(tmp_path: Path) -> None:
    wide = FeatureSpec("clip", "image", (3,), "float32")
    diff = compare(tmp_path, {"a": row(1, 2)}, {"a": row(1, 2, 3)}, (SPEC, wide))
    assert (diff.comparable, diff.same_values, diff.max_abs) == (False, False, None)
    assert "shapes differ" in list(value_lines(diff))[-1]


def test_recipes_say_which_parameter(tmp_path: Path) -> None:
    recipes = (
        {"stage": "clip", "parameters": {"model": "ViT-B-32", "crop": True}, "libraries": {}},
        {"stage": "clip", "parameters": {"model": "ViT-L-14", "crop": True}, "libraries": {}},
    )
    values: Values = {"a": row(1, 2)}
    diff = compare(tmp_path, values, values, recipes=recipes)
    assert diff.recipe == [("parameters.model", "ViT-B-32", "ViT-L-14")]
    assert diff.to_json()["same_recipe"] is False


def test_references(tmp_path: Path) -> None:
    table = write_table(tmp_path, [sample_row("a")])
    write_feature(table, SPEC, {"a": row(1, 2)}, "abcd1111")
    write_feature(table, RAGGED, {"a": np.ones((1, 2), np.float32)}, "abcd1111")
    write_feature(table, RAGGED, {"a": np.ones((2, 2), np.float32)}, "ffff2222")
    store = affectflow.open_store(tmp_path)
    assert name_of(resolve(store, "ffff")) == "mini/bert/ffff2222"
    assert name_of(resolve(store, "mini/clip")) == "mini/clip/abcd1111"
    assert name_of(resolve(store, "mini/bert/abcd")) == "mini/bert/abcd1111"
    with pytest.raises(UsageError, match="names 2 features: mini/bert/abcd1111, mini/clip/abcd"):
        resolve(store, "abcd")
    for reference in ("", "0000", "mini/bert/0000", "a/b/c/d"):
        with pytest.raises(UsageError, match="names no feature"):
            resolve(store, reference)


def test_a_name_that_several_datasets_have(tmp_path: Path) -> None:
    for dataset in ("mini", "maxi"):
        table = write_table(tmp_path / dataset, [sample_row("a")])
        write_feature(table, SPEC, {"a": row(1, 2)}, "abcd1111")
    shutil.move(tmp_path / "maxi/features/mini", tmp_path / "mini/features/maxi")
    with pytest.raises(UsageError, match="feature of several datasets") as caught:
        resolve(affectflow.open_store(tmp_path / "mini"), "clip")
    assert caught.value.hint == "name one: maxi/clip, mini/clip"
