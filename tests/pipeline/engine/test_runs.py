"""Runs inside one process: resume, retry, explain, adoption, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.corpus import make_corpus
from support.stores import commit_inodes, leftovers, part_digests

from affectflow.pipeline.cli.options import load_dag, make_config
from affectflow.pipeline.engine import plan as planning
from affectflow.pipeline.engine.explain import explain
from affectflow.pipeline.engine.retry import check_unchanged, rows_to_retry
from affectflow.pipeline.engine.session import (
    Session,
    Summary,
    execute,
    failed_rows,
    latest_run,
    open_session,
    reopen,
)
from affectflow.pipeline.engine.specs import write_specs
from affectflow.pipeline.errors import ConfigError, DatasetError, UsageError

SHARDS = ["engine.shard_rows=8"]


def session_of(
    folder: Path, *settings: str, features: str = "fake", store: str = "store", **more: Any
) -> Session:
    manifest = folder / "data" / "mini.yaml"
    if not manifest.exists():
        make_corpus(folder / "data", 40)
    config = make_config(
        str(manifest),
        str(manifest.parent),
        "offline",
        features,
        more.get("limit"),
        False,
        [*SHARDS, *settings],
    )
    return open_session(config, folder / store, load_dag("extract"))


def run_of(folder: Path, *settings: str, **more: Any) -> Summary:
    return execute(session_of(folder, *settings, **more), cluster="inline")


def test_rows_equal_samples_and_the_second_run_does_nothing(tmp_path: Path) -> None:
    first = run_of(tmp_path)
    assert first.exit_code == 0
    assert (first.samples, first.outputs[0].ok) == (40, 40)
    before = commit_inodes(tmp_path / "store")
    second = run_of(tmp_path)
    assert {name: count for name, count in second.cells.items() if count} == {"cached": 5}
    assert commit_inodes(tmp_path / "store") == before
    assert leftovers(tmp_path / "store") == []


def test_failures_are_rows_and_exit_codes_tell(tmp_path: Path) -> None:
    settings = ('fake.fail_keys=["row-0003", "row-0020"]', "fake.fail_in=compute")
    inside = run_of(tmp_path, *settings, "engine.max_failed=0.01")
    assert (inside.exit_code, inside.failed_samples) == (5, 2)
    again = run_of(tmp_path, *settings, "engine.max_failed=0.2")
    assert (again.exit_code, again.cells["done"]) == (4, 0)
    rows = list(failed_rows(session_of(tmp_path, *settings)))
    assert sorted(row["key"] for row in rows) == ["row-0003", "row-0020"]
    assert all(row["message"] for row in rows)


def test_nothing_written_is_a_failure(tmp_path: Path) -> None:
    summary = run_of(tmp_path, "fake.fail_every=1", "engine.max_failed=1.0")
    assert summary.exit_code == 5
    assert summary.empty == ("fake",)


def test_one_changed_parameter_is_named_and_unrelated_ones_invalidate_nothing(
    tmp_path: Path,
) -> None:
    run_of(tmp_path)
    [finding] = explain(session_of(tmp_path, "fake.seed=9").plan)
    assert {"parameters.seed"} <= {item.component for item in finding.differences}
    assert {item.component for item in finding.differences} <= {
        "parameters.seed",
        "identity.weights.seed",
    }
    for unrelated in ("fake.batch_size=3", "fake.delay_ms=1", "engine.decode_threads=1"):
        [finding] = explain(session_of(tmp_path, unrelated).plan)
        assert finding.verdict.startswith("cached")


def test_a_library_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectflow.pipeline import stage
    from affectflow.pipeline.extractors import fake

    monkeypatch.setattr(fake.Extractor, "LIBRARIES", ("numpy",))
    run_of(tmp_path)
    real = stage.library_version
    monkeypatch.setattr(stage, "library_version", lambda name: "99.0")
    [finding] = explain(session_of(tmp_path).plan)
    [item] = finding.differences
    assert (item.component, item.stored, item.now) == ("libraries.numpy", real("numpy"), "99.0")


def test_a_changed_input_redoes_its_shard_only(tmp_path: Path) -> None:
    run_of(tmp_path)
    before = part_digests(tmp_path / "store")
    rows = tmp_path / "data" / "rows.csv"
    rows.write_text(rows.read_text().replace("number 20", "number twenty"))
    [finding] = explain(session_of(tmp_path).plan)
    assert [item.component for item in finding.differences] == ["samples.row-0020.text"]
    summary = run_of(tmp_path)
    assert (summary.cells["adopted"], summary.cells["done"]) == (4, 1)
    after = set(part_digests(tmp_path / "store").values()) - set(before.values())
    assert len(after) == 1


def test_labels_and_splits_invalidate_nothing(tmp_path: Path) -> None:
    run_of(tmp_path)
    rows = tmp_path / "data" / "rows.csv"
    rows.write_text(rows.read_text().replace("sad", "glad"))
    manifest = tmp_path / "data" / "mini.yaml"
    manifest.write_text(manifest.read_text().replace("seed: 7", "seed: 8"))
    assert run_of(tmp_path).cells["cached"] == 5


def test_a_limit_shares_its_full_shards(tmp_path: Path) -> None:
    run_of(tmp_path, limit=20)
    summary = run_of(tmp_path)
    assert (summary.cells["adopted"], summary.cells["done"]) == (2, 3)


def test_retry_touches_failed_rows_only(tmp_path: Path) -> None:
    settings = ('fake.fail_keys=["row-0003", "row-0020"]',)
    run_of(tmp_path, *settings)
    before = commit_inodes(tmp_path / "store")
    session = session_of(tmp_path, *settings)
    wanted = rows_to_retry(session, None)
    assert wanted == {("fake", 0): frozenset({"row-0003"}), ("fake", 2): frozenset({"row-0020"})}
    assert rows_to_retry(session, "decode_error") == {}
    digests = part_digests(tmp_path / "store")
    execute(session, cluster="inline", only_keys=wanted)
    after = commit_inodes(tmp_path / "store")
    changed = {name.rpartition("/")[2] for name in after if after[name] != before[name]}
    assert changed == {"part-00000.commit.json", "part-00002.commit.json"}
    assert part_digests(tmp_path / "store") == digests
    assert [row["message"] for row in failed_rows(session_of(tmp_path, *settings))] == [
        "'row-0003' was configured to fail",
        "'row-0020' was configured to fail",
    ]


def test_a_damaged_part_is_stale(tmp_path: Path) -> None:
    run_of(tmp_path)
    digests = part_digests(tmp_path / "store")
    part = next((tmp_path / "store").glob("features/*/*/*/part-00002.parquet"))
    part.write_bytes(part.read_bytes()[:-5])
    [cell] = session_of(tmp_path).plan.todo()
    assert (cell.shard, cell.state) == (2, "stale")
    run_of(tmp_path)
    assert part_digests(tmp_path / "store") == digests


def test_a_recorded_run_opens_again(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    execute(session, cluster="inline")
    record = latest_run(session.layout)
    again = reopen(record, tmp_path / "store", load_dag)
    assert isinstance(again.plan, planning.Plan)
    assert again.plan.todo() == []
    assert json.dumps(record["summary"]["outputs"][0]["ok"]) == "40"


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean fake"):
        session_of(tmp_path, features="fakes")
    with pytest.raises(ConfigError, match=r"unknown key 'sed'; known: .*seed"):
        session_of(tmp_path, "fake.sed=1")
    with pytest.raises(ConfigError, match="not in this graph"):
        session_of(tmp_path, "bert.max_length=8")
    with pytest.raises(ConfigError, match=r"owner\.key=value"):
        session_of(tmp_path, "seed")
    with pytest.raises(ConfigError, match="'max_failed' = 2"):
        session_of(tmp_path, "engine.max_failed=2")


def test_a_changed_weight_file_is_named(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"hidden_size": 16, "num_hidden_layers": 2}')
    (model / "vocab.txt").write_text("[PAD]")
    (model / "model.safetensors").write_bytes(b"weights before")
    settings = [f"bert.folder={model}", "bert.model=mine", "bert.text_source=raw"]
    session = session_of(tmp_path, *settings, features="bert")
    write_specs(session.plan, session.plan.nodes["bert"])
    (model / "model.safetensors").write_bytes(b"weights after!")
    [finding] = explain(session_of(tmp_path, *settings, features="bert").plan)
    [item] = finding.differences
    assert item.component.startswith("identity.weights")
    assert "safetensors" in item.component + str(item.stored)
    assert item.stored != item.now


def test_a_picture_that_changed_since_ingest_is_refused(tmp_path: Path) -> None:
    from support.corpus import picture, png

    from affectflow.pipeline.errors import RowError
    from affectflow.pipeline.media.images import load_original
    from affectflow.pipeline.records import Row

    manifest = make_corpus(tmp_path / "data", 6, images=True)
    (manifest.parent / "images" / "0003.png").unlink()
    session = session_of(tmp_path)
    samples = session.samples.samples(0)
    (manifest.parent / "images" / "0001.png").write_bytes(png(picture(77)))
    (manifest.parent / "images" / "0003.png").write_bytes(png(picture(78)))
    codes = {}
    for sample in samples:
        try:
            load_original(Row(sample, manifest.parent))
        except RowError as error:
            codes[sample.key] = error.code
    assert codes == {"row-0001": "changed_file", "row-0003": "changed_file"}
    with pytest.raises(DatasetError, match="changed since the run"):
        check_unchanged(session, lambda message: None)


def test_labels_are_identified_where_a_stage_reads_them(tmp_path: Path) -> None:
    settings = ["paraphrase.provider=rules", "paraphrase.exclude_classes={mood: [0]}"]

    def fingerprints(*more: str) -> dict[str, str]:
        manifest = tmp_path / "data" / "mini.yaml"
        if not manifest.exists():
            make_corpus(tmp_path / "data", 20)
        config = make_config(
            str(manifest), str(manifest.parent), "offline", "fake", None, True, [*SHARDS, *more]
        )
        plan = open_session(config, tmp_path / "store", load_dag("extract")).plan
        return {name: planned.fingerprint for name, planned in plan.nodes.items()}

    before, plain = fingerprints(*settings), fingerprints(settings[0])
    rows = tmp_path / "data" / "rows.csv"
    manifest = tmp_path / "data" / "mini.yaml"
    manifest.write_text(manifest.read_text().replace(", stratify: mood", ""))
    before, plain = fingerprints(*settings), fingerprints(settings[0])
    rows.write_text(rows.read_text().replace("glad", "sad"))
    after = fingerprints(*settings)
    assert after["paraphrase"] != before["paraphrase"]
    assert after["fake.augmented"] != before["fake.augmented"]
    assert after["fake"] == before["fake"]
    assert fingerprints(settings[0]) == plain


def test_one_row_that_is_not_finite_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from affectflow.pipeline.extractors import fake

    original = fake.Extractor.compute

    def broken(self: Any, items: Any) -> Any:
        values = [dict(value) for value in original(self, items)]
        if len(items) == 1:
            values[0]["fake"] = np.full(8, np.nan, np.float16)
        return values

    monkeypatch.setattr(fake.Extractor, "compute", broken)
    make_corpus(tmp_path / "data", 41)
    summary = run_of(tmp_path)
    assert summary.exit_code == 4
    assert summary.classes == {"not_finite": 1}


def test_lost_causes_are_computed_again(tmp_path: Path) -> None:
    import shutil

    settings = ('fake.fail_keys=["row-0003"]', "fake.seed=4")
    assert run_of(tmp_path, *settings).exit_code == 4
    shutil.rmtree(tmp_path / "store" / "quarantine")
    summary = run_of(tmp_path, *settings)
    assert (summary.exit_code, summary.cells["done"], summary.failed_samples) == (4, 1, 1)


def test_a_run_that_stops_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectflow.pipeline.engine import session as sessions

    session = session_of(tmp_path)

    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sessions.Driver, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(session, cluster="inline")
    assert latest_run(session.layout)["state"] == "stopped"


@pytest.mark.parametrize(
    ("settings", "features", "message"),
    [
        ((), ",", "features"),
        (("fake.seed=1", "fake.seed.x=2"), "fake", "is set to a value before"),
        (("fake.reads=[fake]",), "fake", "reads itself"),
        (("fake.feature=../../escaped",), "fake", "cannot name a feature"),
        (("engine.row_deadline_s=.inf",), "fake", "row_deadline_s"),
    ],
)
def test_odd_options_are_refused(
    tmp_path: Path, settings: tuple[str, ...], features: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        session_of(tmp_path, *settings, features=features)


def test_a_shard_that_takes_too_long_fails_and_can_be_run_again(tmp_path: Path) -> None:
    slow = ("fake.delay_ms=40", "fake.batch_size=1", "engine.cell_deadline_s=0.1")
    summary = run_of(tmp_path, *slow, limit=16)
    assert summary.exit_code == 5
    assert all("took more than 0.1 s" in cause for cause in summary.failed_cells.values())
    [first, _] = session_of(tmp_path, *slow, limit=16).plan.todo()
    assert (first.state, "took more than" in first.reason) == ("failed", True)
    again = run_of(tmp_path, limit=16)
    assert (again.exit_code, again.cells["done"]) == (0, 2)


def test_a_specification_says_when_it_was_begun_and_a_shard_what_it_ran_on(tmp_path: Path) -> None:
    run_of(tmp_path)
    paths = sorted((tmp_path / "store").glob("features/*/*/*/_spec.json"))
    first = json.loads(paths[0].read_text())
    assert set(first["begun"]) == {"at", "affectflow"}
    commit = json.loads((paths[0].parent / "part-00000.commit.json").read_text())
    assert commit["runtime"]["ran_on"] == "cpu"
    old = {"at": "2020-01-01T00:00:00+00:00", "affectflow": "0.0.1"}
    paths[0].write_text(json.dumps(first | {"begun": old, "warnings": ["another"]}))
    run_of(tmp_path)
    assert json.loads(paths[0].read_text()) == first | {"begun": old}


def test_damaged_records_count_as_absent(tmp_path: Path) -> None:
    run_of(tmp_path)
    digests = part_digests(tmp_path / "store")
    store = tmp_path / "store"
    for pattern in ("features/*/*/*/part-00001.commit.json", "cache/ingest/*/*.json"):
        for path in store.glob(pattern):
            path.write_text("{}")
    for path in store.glob("features/*/*/*/_spec.json"):
        path.write_text("[]")
    summary = run_of(tmp_path)
    assert (summary.cells["done"], summary.cells["cached"]) == (1, 4)
    assert part_digests(store) == digests
