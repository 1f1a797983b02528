"""A running scheduler over TCP: same bytes as inline, also when a worker dies."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

import pytest
from support.command import run, start
from support.corpus import make_corpus
from support.dask_processes import tcp_cluster
from support.stores import commit_inodes, part_digests

from affectflow.pipeline.engine import execute as driver


def arguments(manifest: Path, store: Path, cluster: str, delay_ms: int) -> list[str | Path]:
    settings = ["engine.shard_rows=16", f"fake.delay_ms={delay_ms}", "fake.reads=[clean_text]"]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    common = ["--dataset", manifest, "--root", manifest.parent, "--store", store, "--json"]
    return ["run", "extract", *common, "--features", "fake", "--cluster", cluster, *flags]


@pytest.mark.slow
def test_two_workers_one_killed_give_the_bytes_of_inline(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "data", 160)
    inline = run(*arguments(manifest, tmp_path / "inline", "inline", 0))
    assert inline.returncode == 0, inline.stderr
    store = tmp_path / "tcp"
    with tcp_cluster(tmp_path, workers=2) as cluster:
        process = start(*arguments(manifest, store, cluster.address, 40), log=tmp_path / "log")
        end = time.monotonic() + 60
        while len(commit_inodes(store)) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        assert process.poll() is None, (tmp_path / "log").read_text()
        victim = cluster.processes[1]
        victim.kill()
        assert process.wait(120) == 0, (tmp_path / "log").read_text()
    assert part_digests(store) == part_digests(tmp_path / "inline")
    summary = json.loads((tmp_path / "log").read_text().partition("{")[2].join(["{", ""]))
    assert summary["cells"]["done"] == 20


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "data", 4)
    done = run(*arguments(manifest, tmp_path / "store", "tcp://127.0.0.1:9", 0))
    assert done.returncode == 3
    assert "cannot reach the Dask scheduler" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_travels_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectflow.pipeline.cli.options import load_dag, make_config
    from affectflow.pipeline.engine.session import execute, open_session

    manifest = make_corpus(tmp_path / "data", 40)
    config = make_config(
        str(manifest), str(manifest.parent), "offline", "fake", None, False, ["engine.shard_rows=8"]
    )
    session = open_session(config, tmp_path / "store", load_dag("extract"))
    sizes: list[int] = []
    original = driver.InlineExecutor.submit

    def measured(self: driver.InlineExecutor, task: driver.CellTask) -> None:
        sizes.append(len(pickle.dumps(task)))
        original(self, task)

    monkeypatch.setattr(driver.InlineExecutor, "submit", measured)
    execute(session, cluster="inline")
    assert len(sizes) == 5
    assert max(sizes) < 10_000
    monkeypatch.setattr(driver, "MAX_TASK_BYTES", 100)
    again = open_session(config, tmp_path / "other", load_dag("extract"))
    with pytest.raises(driver.AffectflowError, match="limit 100"):
        execute(again, cluster="inline")
