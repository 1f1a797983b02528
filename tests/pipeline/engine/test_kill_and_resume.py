"""Killing the parent or a worker at random moments loses at most unfinished shards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from support.command import run, start
from support.corpus import make_corpus
from support.stores import commit_inodes, part_digests

KILLS = 20
ROWS = 192


def arguments(manifest: Path, store: Path, cluster: str) -> list[str | Path]:
    """Return a run whose shards take a while: 12 shards of two nodes."""
    settings = ["engine.shard_rows=16", "fake.delay_ms=8", "fake.reads=[clean_text]"]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    common = ["--dataset", manifest, "--root", manifest.parent, "--store", store]
    return ["run", "extract", *common, "--features", "fake", "--cluster", cluster, *flags]


def kill_at_random(process: subprocess.Popen[bytes], moment_s: float, worker: bool) -> bool:
    """Kill the parent or one of its workers after a while; return whether it was still running."""
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        pass
    else:
        return False
    children = psutil.Process(process.pid).children(recursive=True) if worker else []
    workers = [child for child in children if "spawn_main" in " ".join(_arguments(child))]
    if workers:
        random.choice(workers).send_signal(signal.SIGKILL)
        return True
    os.killpg(process.pid, signal.SIGKILL) if not worker else process.kill()
    process.wait()
    return True


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A finished run and the digests of its parts."""
    folder = tmp_path_factory.mktemp("undisturbed")
    manifest = make_corpus(folder / "data", ROWS)
    finished = run(*arguments(manifest, folder / "store", "inline"))
    assert finished.returncode == 0, finished.stderr
    digests = part_digests(folder / "store")
    assert len(digests) == 2 * 12
    return manifest, digests


@pytest.mark.slow
def test_parent_killed_at_random_moments(
    undisturbed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    manifest, expected = undisturbed
    random.seed(11)
    store, log = tmp_path / "store", tmp_path / "log"
    kills = rounds = 0
    while kills < KILLS:
        before = commit_inodes(store)
        process = start(*arguments(manifest, store, "inline"), log=log)
        killed = kill_at_random(process, random.uniform(0.3, 3.0), worker=False)
        after = commit_inodes(store)
        redone = [name for name in before if after.get(name) != before[name]]
        assert not redone, "a committed shard was computed again"
        kills += killed
        if not killed:
            assert process.returncode == 0, log.read_text()
            assert part_digests(store) == expected
            rounds += 1
            store = tmp_path / f"store{rounds}"
    finished = run(*arguments(manifest, store, "inline"))
    assert finished.returncode == 0, finished.stderr
    assert part_digests(store) == expected


@pytest.mark.slow
def test_workers_and_parent_killed_on_a_local_cluster(
    undisturbed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    manifest, expected = undisturbed
    random.seed(5)
    store, log = tmp_path / "store", tmp_path / "log"
    for attempt in range(4):
        process = start(*arguments(manifest, store, "local"), log=log)
        kill_at_random(process, random.uniform(2.0, 6.0), worker=attempt % 2 == 0)
        if attempt % 2 == 0:
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                pytest.fail("the run hangs after a worker was killed:\n" + log.read_text())
    before = commit_inodes(store)
    finished = run(*arguments(manifest, store, "local"))
    assert finished.returncode == 0, finished.stderr + log.read_text()
    assert part_digests(store) == expected
    assert {name: inode for name, inode in commit_inodes(store).items() if name in before} == before


def test_only_unfinished_shards_are_redone(
    undisturbed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    manifest, expected = undisturbed
    store = tmp_path / "store"
    assert run(*arguments(manifest, store, "inline")).returncode == 0
    before = commit_inodes(store)
    lost = [name for name in before if "part-00003" in name or "part-00007" in name]
    assert len(lost) == 4
    for name in lost:
        (store / name).unlink()
    time.sleep(0.01)
    assert run(*arguments(manifest, store, "inline")).returncode == 0
    after = commit_inodes(store)
    assert {name for name in after if after[name] != before[name]} <= set(lost)
    assert part_digests(store) == expected
