"""Every broken file is accounted for with its reason, and the good rows are as without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.broken_files import READABLE, make_broken_corpus
from support.command import run

from affectflow.pipeline.cli.options import load_dag, make_config
from affectflow.pipeline.engine.cell import stored_rows
from affectflow.pipeline.engine.session import Session, execute, failed_rows, open_session
from affectflow.pipeline.records import FeatureSpec

GOOD = 12
SETTINGS = [
    "engine.shard_rows=8",
    "engine.max_failed=0.9",
    "text_regions.backend=heuristic",
    'fake.reads=["clean_text", "inpaint"]',
]


def session_of(folder: Path, manifest: Path) -> Session:
    config = make_config(
        str(manifest), str(manifest.parent), "offline", "fake", None, False, SETTINGS
    )
    return open_session(config, folder / "store", load_dag("extract"))


def values_of(session: Session) -> dict[tuple[str, str], tuple[str, Any]]:
    """Return status and value of every row of every output."""
    found: dict[tuple[str, str], tuple[str, Any]] = {}
    for planned in session.plan.nodes.values():
        for (spec, _), folder in zip(planned.outputs, planned.folders, strict=True):
            for shard in range(len(session.samples.shards)):
                status = dict(
                    zip(
                        *(folder.table(shard)[n].to_pylist() for n in ("key", "status")),
                        strict=True,
                    )
                )
                for key, value in stored_rows(folder, shard, spec):
                    shown = (
                        value.tobytes()
                        if isinstance(spec, FeatureSpec) and status[key] == "ok"
                        else value
                    )
                    found[spec.name, key] = (status[key], shown)
    return found


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[str, Any]]:
    folder = tmp_path_factory.mktemp("clean")
    manifest, _ = make_broken_corpus(folder / "data", GOOD, broken=False)
    session = session_of(folder, manifest)
    summary = execute(session, cluster="inline")
    assert summary.exit_code == 0
    return values_of(session_of(folder, manifest))


def test_all_are_accounted_for_and_good_rows_do_not_change(
    clean: dict[tuple[str, str], tuple[str, Any]], tmp_path: Path
) -> None:
    manifest, expected = make_broken_corpus(tmp_path / "data", GOOD, broken=True)
    session = session_of(tmp_path, manifest)
    summary = execute(session, cluster="inline")
    again = session_of(tmp_path, manifest)
    classes: dict[str, set[str]] = {}
    for row in failed_rows(again):
        assert row["message"], row
        if row["node"] == "text_regions":
            classes.setdefault(row["key"], set()).add(row["class"])
    assert {key: classes.get(key) for key in expected} == {k: {c} for k, c in expected.items()}
    samples = again.samples.all_rows(["key", "status"]).to_pylist()
    # Good and readable ones, broken ones, and three bad lines: nothing is lost.
    assert len(samples) == GOOD + len(READABLE) + len(expected) + 3
    assert sum(row["status"] == "bad_row" for row in samples) == 2
    assert sum(row["status"] == "duplicate_row" for row in samples) == 1
    assert summary.exit_code == 4
    assert summary.failed_samples == len(expected) + 2
    found = values_of(again)
    assert {name: found[name] for name in clean} == clean
    per_output = {
        spec.name: 0 for planned in again.plan.nodes.values() for spec, _ in planned.outputs
    }
    for name, _ in found:
        per_output[name] += 1
    assert set(per_output.values()) == {len(samples)}


@pytest.mark.slow
def test_the_command_ends_without_a_traceback(tmp_path: Path) -> None:
    manifest, expected = make_broken_corpus(tmp_path / "data", GOOD, broken=True)
    flags = [flag for setting in SETTINGS for flag in ("--set", setting)]
    place = ["--dataset", manifest, "--root", manifest.parent, "--store", tmp_path / "store"]
    done = run("run", "extract", *place, "--features", "fake", "--workers", "2", *flags)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    listed = run("quarantine", "list", "--store", tmp_path / "store", "--limit", "0")
    for key in expected:
        assert key in listed.stdout
    strict = run(
        "run", "extract", *place, "--features", "fake", *flags, "--set", "engine.max_failed=0.01"
    )
    assert strict.returncode == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id;caption;picture;mood\na;hello;;sad\n", "id"),
        ("\ufeffid\tcaption\n", "picture"),
        ("", "rows.csv"),
    ],
)
def test_a_label_file_of_the_wrong_kind_is_one_clear_line(
    tmp_path: Path, content: str, message: str
) -> None:
    manifest, _ = make_broken_corpus(tmp_path / "data", 1, broken=False)
    (tmp_path / "data" / "rows.csv").write_text(content, encoding="utf-8")
    text = manifest.read_text().replace("  path: rows.csv", "  path: rows.csv\n  delimiter: ','")
    manifest.write_text(text)
    done = run(
        *("run", "extract", "--dataset", manifest, "--root", manifest.parent),
        *("--store", tmp_path / "store", "--features", "fake", "--cluster", "inline"),
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr


def test_other_mistakes_are_one_clear_line(tmp_path: Path) -> None:
    manifest, _ = make_broken_corpus(tmp_path / "data", 1, broken=False)
    place = ["--store", tmp_path / "store", "--features", "fake", "--cluster", "inline"]
    unknown = manifest.with_name("unknown.yaml")
    unknown.write_text(manifest.read_text() + "colour: blue\n")
    blocked = tmp_path / "a-file"
    blocked.write_text("not a folder")
    cases = [
        (["--dataset", "memotoin"], 2, "did you mean memotion"),
        (["--dataset", "none.yaml"], 2, "no manifest file"),
        (["--dataset", unknown, "--root", manifest.parent], 3, "colour"),
        (["--dataset", manifest, "--root", tmp_path / "nowhere"], 3, "rows.csv"),
        (["--dataset", manifest, "--root", manifest.parent, "--store", blocked], 3, "cannot write"),
        (["--dataset", manifest, "--root", manifest.parent, "--cluster", "moon"], 2, "moon"),
    ]
    for arguments, code, message in cases:
        done = run("run", "extract", *place, *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert message in done.stderr
        assert "Traceback" not in done.stderr
