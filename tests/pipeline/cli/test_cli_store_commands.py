from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from support.broken_files import make_broken_corpus
from support.corpus import make_corpus
from support.feature_stores import (
    FAILED,
    sample_row,
    some_values,
    write_feature,
    write_run,
    write_table,
)
from typer.testing import CliRunner, Result

from affectflow.pipeline.cli import datasets, features, verify
from affectflow.pipeline.errors import AffectflowError, MissingFiles, StoreError, UsageError
from affectflow.pipeline.records import FeatureSpec

SPEC = FeatureSpec("clip", "image", (3,), "float32")
KEYS = ["a", "b", "c"]

app = typer.Typer()
app.add_typer(features.app, name="features")
app.add_typer(datasets.app, name="datasets")
app.command("verify")(verify.verify)


def call(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(item) for item in arguments])


def error_of(*arguments: str | Path) -> AffectflowError:
    result = call(*arguments)
    assert isinstance(result.exception, AffectflowError), result.output
    return result.exception


@pytest.fixture
def store(tmp_path: Path) -> Path:
    table = write_table(tmp_path / "store", [sample_row(key) for key in KEYS], shard_rows=2)
    write_feature(table, SPEC, some_values(SPEC, KEYS, {"b": FAILED}), "aaaa1111", {"seed": 1})
    write_feature(table, SPEC, some_values(SPEC, KEYS, {}), "bbbb2222", {"seed": 2})
    write_run(table, {"clip": "aaaa1111"})
    return tmp_path / "store"


def test_features_list(store: Path) -> None:
    found = json.loads(call("features", "list", "--store", store, "--json").stdout)
    assert [(item["fingerprint"], item["latest"]) for item in found] == [
        ("aaaa1111", True),
        ("bbbb2222", False),
    ]
    table = call("features", "list", "--store", store, "--dataset", "mini").stdout
    assert "aaaa1111*" in table
    assert "3 float32" in table


def test_features_diff(store: Path) -> None:
    text = call("features", "diff", "aaaa", "bbbb", "--store", store).stdout
    assert "seed: 1 -> 2" in text
    assert "rows with a value in one only 1 · in both 2" in text
    assert "equal rows 2" in text
    found = json.loads(call("features", "diff", "aaaa", "aaaa", "--store", store, "--json").stdout)
    assert (found["same_recipe"], found["same_values"]) == (True, True)
    other = ("--store", store, "--store-b", store)
    assert "recipe: the same" in call("features", "diff", "aaaa", "mini/clip", *other).stdout
    assert isinstance(error_of("features", "diff", "aaaa", "cccc", "--store", store), UsageError)


def test_features_export_takes_the_latest_run_by_default(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("features", "export", "--as", "parquet-lists", "--out", out, "--store", store)
    [done] = json.loads(call(*command, "--json").stdout)
    assert done == {
        "feature": "mini/clip/aaaa1111",
        "folder": "mini/clip",
        "rows": 3,
        "ok": 2,
    }
    assert pq.read_metadata(out / "mini" / "clip" / "values.parquet").num_rows == 3
    assert "earlier export" in error_of(*command).message
    assert "mini/clip/bbbb2222" in call(*command, "--force", "bbbb").stdout


def test_verify_says_sound_and_why_not(store: Path) -> None:
    result = call("verify", "--store", store)
    assert (result.exit_code, result.stdout.partition(":")[0]) == (0, "sound")
    part = store / "features" / "mini" / "clip" / "aaaa1111" / "part-00001.parquet"
    part.write_bytes(part.read_bytes() + b"!")
    result = call("verify", "--store", store)
    assert result.exit_code == 3
    lines = [line for line in result.stdout.splitlines() if line.startswith("problem:")]
    assert len(lines) == 1
    assert "aaaa1111 shard 1: the part has" in lines[0]
    found = json.loads(call("verify", "--store", store, "--all", "--repair", "--json").stdout)
    assert (found["sound"], len(found["problems"]), len(found["repaired"])) == (False, 1, 1)
    assert call("verify", "--store", store, "--all").exit_code == 0


def test_verify_refuses_what_it_cannot_check(store: Path, tmp_path: Path) -> None:
    assert isinstance(error_of("verify", "--store", tmp_path / "none"), StoreError)
    assert isinstance(error_of("verify", "--store", store, "--run", "1999"), StoreError)
    assert isinstance(error_of("verify", "--store", store, "--run", "2026", "--all"), UsageError)


def test_datasets_list_marks_manifests_of_ones_own(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path, 1)
    found = json.loads(call("datasets", "list", manifest, "--json").stdout)
    custom = {item["name"]: item["custom"] for item in found}
    assert custom["memotion"] is False
    assert custom["mini"] is True
    assert "mini (custom)" in call("datasets", "list", manifest).stdout


def test_datasets_show() -> None:
    text = call("datasets", "show", "memotion").stdout
    for part in (
        "licence: ",
        "citation: ",
        "how to obtain it: ",
        "warning: ",
        "sentiment_strength",
    ):
        assert part in text
    assert json.loads(call("datasets", "show", "memotion", "--json").stdout)["reader"] == "memotion"
    assert "did you mean memotion" in error_of("datasets", "show", "memotoin").message


def test_datasets_validate_a_good_one(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "data", 20, images=True)
    result = call("datasets", "validate", manifest, "--root", tmp_path / "data", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout[result.stdout.index("{") :])
    assert (found["rows"], found["statuses"], found["problem_rows"]) == (20, {"ok": 20}, 0)
    assert found["labels"]["mood"] == {"sad": 10, "glad": 10}
    assert sum(found["splits"].values()) == 20
    assert list(found["sources"]) == ["rows.csv"]


def test_datasets_validate_broken_files(tmp_path: Path) -> None:
    manifest, expected = make_broken_corpus(tmp_path / "data", 12, broken=True)
    command = ("datasets", "validate", manifest, "--root", tmp_path / "data")
    result = call(*command, "--store", tmp_path / "store", "--json")
    assert result.exit_code == 4
    found = json.loads(result.stdout[result.stdout.index("{") :])
    # The broken pictures, and a line with too few cells and an unknown label.
    assert found["problem_rows"] == len(expected) + 2
    assert found["statuses"]["bad_row"] == 2
    reasons = {row["key"]: row["reason"] for rows in found["problems"].values() for row in rows}
    assert "path_outside_root" in reasons["hostile-absolute"]
    assert (tmp_path / "store" / "samples").is_dir()
    text = call(*command).stdout
    assert "rows cannot be used" in text
    assert "hostile-absolute: path_outside_root" in text


def test_datasets_validate_without_files(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "data", 1)
    (tmp_path / "data" / "rows.csv").unlink()
    error = error_of("datasets", "validate", manifest, "--root", tmp_path / "data")
    assert isinstance(error, MissingFiles)
    assert error.exit_code == 3


def test_datasets_validate_finds_duplicates_and_conflicts(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "data", 6)
    with open(tmp_path / "data" / "rows.csv", "a", encoding="utf-8") as file:
        file.write("twin-1,The very same long caption,,sad\n")
        file.write("twin-2,the very same long caption!,,glad\n")
    text = call("datasets", "validate", manifest, "--root", tmp_path / "data").stdout
    assert "near-duplicates: 1 groups, 2 rows; 0 groups lie in several splits" in text
    assert "groups with conflicting labels: mood 1" in text
