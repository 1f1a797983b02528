from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.corpus import make_corpus
from support.feature_stores import sample_row, some_values, write_feature, write_run, write_table
from support.stores import part_digests

from affectflow.pipeline.cli.options import load_dag, make_config
from affectflow.pipeline.engine.session import Summary, execute, latest_run, open_session
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store.layout import StoreLayout, read_json, write_json
from affectflow.pipeline.store.verify import Report, repair, verify_all, verify_run
from affectflow.pipeline.store.writer import ShardWriter, file_sha256

ONES = np.ones(2, np.float32)


def run_of(folder: Path, *settings: str, limit: int | None = None) -> Summary:
    manifest = folder / "data" / "mini.yaml"
    if not manifest.exists():
        make_corpus(folder / "data", 40)
    options = ["engine.shard_rows=8", "fake.fail_every=9", "engine.max_failed=1", *settings]
    config = make_config(
        str(manifest), str(manifest.parent), "offline", "fake", limit, False, options
    )
    return execute(open_session(config, folder / "store", load_dag("extract")), cluster="inline")


def check(folder: Path) -> Report:
    layout = StoreLayout(folder / "store")
    return verify_run(layout, latest_run(layout))


def feature_folder(folder: Path) -> Path:
    return next((folder / "store" / "features").glob("*/*/*"))


def whats(report: Report) -> list[str]:
    return [problem.what for problem in report.problems]


def test_a_run_with_failed_rows_is_sound(tmp_path: Path) -> None:
    summary = run_of(tmp_path)
    assert summary.outputs[0].failed > 0
    report = check(tmp_path)
    assert (whats(report), report.leftovers, report.incomplete) == ([], [], [])
    assert (report.outputs, report.parts, report.rows) == (1, 5, 40)
    assert verify_all(StoreLayout(tmp_path / "store")).sound


def flip(part: Path) -> None:
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 0xFF
    part.write_bytes(data)


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-9])


def remove(part: Path) -> None:
    part.unlink()


@pytest.mark.parametrize(
    ("damage", "what"),
    [(flip, "sha256 differs"), (cut, "bytes, committed"), (remove, "cannot be read")],
)
def test_damage_is_found_repaired_and_computed_again(
    tmp_path: Path, damage: object, what: str
) -> None:
    run_of(tmp_path)
    before = part_digests(tmp_path / "store")
    damage(feature_folder(tmp_path) / "part-00002.parquet")  # type: ignore[operator]
    report = check(tmp_path)
    assert [problem.shard for problem in report.problems] == [2]
    assert what in report.problems[0].what
    repair(StoreLayout(tmp_path / "store"), report)
    assert len(report.repaired) == 1
    assert run_of(tmp_path).cells["done"] == 1
    assert check(tmp_path).sound
    assert part_digests(tmp_path / "store") == before


def test_repair_reaches_the_same_bytes_under_another_fingerprint(tmp_path: Path) -> None:
    # The second run takes over full shards of the first by hard links.
    run_of(tmp_path, limit=32)
    assert run_of(tmp_path).cells["adopted"] == 4
    part = feature_folder(tmp_path) / "part-00001.parquet"
    assert os.stat(part).st_nlink == 2
    flip(part)
    report = check(tmp_path)
    assert len(report.problems) == 1
    repair(StoreLayout(tmp_path / "store"), report)
    assert len(report.repaired) == 2
    cells = run_of(tmp_path).cells
    assert (cells["done"], cells["adopted"]) == (1, 0)
    assert check(tmp_path).sound


def rewritten(folder: Path, shard: int, change: object) -> None:
    """Write a part again with changed rows, and a commit that agrees with its bytes."""
    part = folder / f"part-{shard:05d}.parquet"
    table = pq.read_table(part)
    pq.write_table(change(table), part)  # type: ignore[operator]
    path = folder / f"part-{shard:05d}.commit.json"
    facts = {"sha256": file_sha256(part), "bytes": part.stat().st_size}
    write_json(path, {**(read_json(path) or {}), **facts})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t.slice(1), "1 lost, 0 foreign"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "1 keys stand twice"),
        (lambda t: t.take(list(range(len(t)))[::-1]), "another order"),
        (lambda t: t.slice(1), "rows by status"),
    ],
)
def test_lost_doubled_and_shifted_rows(tmp_path: Path, change: object, what: str) -> None:
    run_of(tmp_path)
    rewritten(feature_folder(tmp_path), 1, change)
    found = check(tmp_path)
    assert any(what in text for text in whats(found)), whats(found)
    assert {problem.shard for problem in found.problems} == {1}


def test_failed_rows_without_a_cause(tmp_path: Path) -> None:
    run_of(tmp_path)
    quarantine = sorted((tmp_path / "store" / "quarantine").rglob("part-*.parquet"))
    rows = pq.read_table(quarantine[0], partitioning=None).num_rows
    quarantine[0].unlink()
    report = check(tmp_path)
    assert whats(report) == [
        f"{rows} failed rows without a cause in quarantine, 0 causes without a row"
    ]


def test_what_a_killed_run_leaves_is_harmless(tmp_path: Path) -> None:
    run_of(tmp_path)
    folder = feature_folder(tmp_path)
    (folder / ".part-00009.parquet.77-abcd.tmp").write_bytes(b"half")
    (folder / "part-00009.parquet").write_bytes(b"never committed")
    report = check(tmp_path)
    assert report.sound
    assert len(report.leftovers) == 2


def test_a_shard_that_is_not_committed(tmp_path: Path) -> None:
    run_of(tmp_path)
    (feature_folder(tmp_path) / "part-00003.commit.json").unlink()
    report = check(tmp_path)
    assert [(p.shard, p.what) for p in report.problems] == [(3, "the shard is not committed")]
    everything = verify_all(StoreLayout(tmp_path / "store"))
    assert everything.sound
    assert "1 of 5 shards not committed" in everything.incomplete[0]


def test_an_output_that_is_gone(tmp_path: Path) -> None:
    run_of(tmp_path)
    folder = feature_folder(tmp_path)
    folder.rename(tmp_path / "away")
    assert whats(check(tmp_path)) == ["the output of the run is not there"]


def test_a_torn_commit_and_a_torn_spec(tmp_path: Path) -> None:
    run_of(tmp_path)
    folder = feature_folder(tmp_path)
    before = part_digests(tmp_path / "store")
    (folder / "part-00000.commit.json").write_text('{"cell": "x"}')
    report = check(tmp_path)
    assert whats(report) == ["the commit record lacks bytes, keys, rows, sha256, upstream"]
    (folder / "_spec.json").write_text("{")
    report = check(tmp_path)
    assert "_spec.json cannot be read" in whats(report)
    repair(StoreLayout(tmp_path / "store"), report)
    run_of(tmp_path)
    assert check(tmp_path).sound
    assert part_digests(tmp_path / "store") == before


def test_a_changed_samples_table(tmp_path: Path) -> None:
    run_of(tmp_path)
    part = next((tmp_path / "store" / "samples").glob("*/part-00001.parquet"))
    table = pq.read_table(part, partitioning=None)
    index = table.schema.get_field_index("text")
    texts = ["another caption", *table["text"].to_pylist()[1:]]
    pq.write_table(table.set_column(index, table.schema.field("text"), [texts]), part)
    report = check(tmp_path)
    assert whats(report) == ["a row is not what its digest says"]
    repair(StoreLayout(tmp_path / "store"), report)
    run_of(tmp_path)
    assert check(tmp_path).sound


def test_values_of_another_width_than_declared(tmp_path: Path) -> None:
    spec = FeatureSpec("clip", "image", (3,), "float32")
    keys = ["a", "b"]
    table = write_table(tmp_path / "store", [sample_row(key) for key in keys])
    written = write_feature(table, spec, some_values(spec, keys, {}))
    write_run(table, {"clip": "0123456789abcdef"})
    wider = FeatureSpec("clip", "image", (4,), "float32")
    with ShardWriter(written.folder, 0, wider) as writer:
        for key, value in some_values(wider, keys, {}).items():
            writer.append(key, value)
    commit = {"cell": "x", **writer.result, "upstream": {}}
    write_json(written.folder / "part-00000.commit.json", commit)
    text = whats(check(tmp_path))[0]
    assert "fixed_size_binary[16], declared fixed_size_binary[12]" in text


def test_a_part_made_from_another_version_of_what_it_read(tmp_path: Path) -> None:
    spec = FeatureSpec("clip", "image", (3,), "float32")
    other = FeatureSpec("bert", "text", (3,), "float32")
    keys = ["a", "b"]
    table = write_table(tmp_path / "store", [sample_row(key) for key in keys])
    above = write_feature(table, spec, some_values(spec, keys, {}))
    below = write_feature(table, other, some_values(other, keys, {}), "fedcba98")
    write_run(table, {"clip": "0123456789abcdef", "bert": "fedcba98"})
    path = below.folder / "part-00000.commit.json"
    sha = file_sha256(above.folder / "part-00000.parquet")
    for found, wanted in ((sha, []), ("0" * 64, ["made from another version of 'clip'"])):
        write_json(path, {**(read_json(path) or {}), "upstream": {"clip": found}})
        assert whats(check(tmp_path)) == wanted


def test_augmented_rows_are_checked_against_the_children(tmp_path: Path) -> None:
    spec = FeatureSpec("bert", "text", (2,), "float32")
    table = write_table(tmp_path, [sample_row("a"), sample_row("b")])
    layout = StoreLayout(tmp_path)
    parent = layout.output("tables", "mini", "paraphrase", "feed0000")
    parent.mkdir(parents=True)
    children = [{"index": 0, "text": "x"}, {"index": 2, "text": "y"}]
    rows = [{"key": "a", "children": children}, {"key": "b", "children": None}]
    pq.write_table(pa.Table.from_pylist(rows), parent / "part-00000.parquet")
    sha = file_sha256(parent / "part-00000.parquet")
    write_json(parent / "part-00000.commit.json", {"sha256": sha})
    written = write_feature(table, spec, {"a": ONES, "b": ONES})
    facts = json.loads((written.folder / "_spec.json").read_text())
    write_json(written.folder / "_spec.json", {**facts, "rows": "paraphrase"})
    for keys, wanted in ((["a~p0", "a~p2"], []), (["a~p0", "a~p1"], ["1 lost, 1 foreign"])):
        with ShardWriter(written.folder, 0, spec) as writer:
            for key in keys:
                writer.append(key, ONES)
        commit = {"cell": "x", **writer.result, "upstream": {"paraphrase": sha}}
        write_json(written.folder / "part-00000.commit.json", commit)
        found = whats(verify_all(layout))
        assert [text.partition(": ")[2] for text in found] == wanted
