"""The loop: the same curve however it is cut, interrupted or spread."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import environment
from support.fusion_data import make_data, make_split
from support.toy_training import EVERYTHING, losses, silent, tensors, train

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.evaluation.baselines import constant_results
from affectflow.pipeline.training.journal import Journal, read_log
from affectflow.pipeline.training.scores import Monitor

TESTS = Path(__file__).resolve().parents[2]


class Interrupted(Exception):
    pass


def interrupt_at(step: int) -> Any:
    def watch(entry: Mapping[str, Any]) -> None:
        if entry["kind"] == "progress" and entry["step"] == step:
            raise Interrupted

    return watch


def process(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def child_environment() -> dict[str, str]:
    found = environment()
    found["PYTHONPATH"] += f":{TESTS}"
    return {**found, "OMP_NUM_THREADS": "1"}


def epochs(folder: Path) -> list[dict[str, Any]]:
    return [entry for entry in read_log(folder) if entry["kind"] == "epoch"]


def test_it_learns(tmp_path: Path) -> None:
    position = train(tmp_path, epochs=30, patience=0, optimizer={"lr": 0.03})
    assert position.finished == "30 epochs done"
    curve = losses(tmp_path)
    assert sum(curve[-7:]) < 0.6 * sum(curve[:7])
    assert position.best is not None
    assert position.best > 0.6


def test_a_seeded_run_repeats_bit_for_bit(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(tmp_path / name, dropout=0.3)
    train(tmp_path / "other", dropout=0.3, seed=8)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert tensors(tmp_path / "a") == tensors(tmp_path / "b")
    assert tensors(tmp_path / "a") != tensors(tmp_path / "other")


@pytest.mark.parametrize("pieces", [2, 3, 20])
def test_accumulation_equals_the_big_batch(tmp_path: Path, pieces: int) -> None:
    weighted = {"class_weights": "balanced", "task_weights": {"strength": 0.5}}
    train(tmp_path / "one", loader={"batch_size": 20}, loss=weighted)
    train(tmp_path / "cut", loader={"batch_size": 20}, loss=weighted, accumulate=pieces)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "one"), rel=2e-5)


def test_workers_and_layout_change_nothing(tmp_path: Path) -> None:
    for name, loader in {"0": {}, "1": {"workers": 1}, "4": {"workers": 4}}.items():
        train(tmp_path / name, dropout=0.3, loader=loader)
    assert losses(tmp_path / "0") == losses(tmp_path / "1") == losses(tmp_path / "4")
    assert tensors(tmp_path / "0") == tensors(tmp_path / "1") == tensors(tmp_path / "4")


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [
        ({"kind": "adamw", "schedule": "cosine", "warmup_steps": 4}, "fp32"),
        ({"kind": "adam", "lr": 0.5, "schedule": "plateau", "plateau_patience": 0}, "bf16"),
        ({"kind": "sgd", "schedule": "linear", "clip_value": 0.1}, "fp16"),
    ],
)
def test_resuming_at_any_step_equals_no_interruption(
    tmp_path: Path, optimizer: dict[str, Any], precision: str
) -> None:
    settings = {**EVERYTHING, "loader": {}, "optimizer": optimizer, "precision": precision}
    settings["epochs"] = 4
    train(tmp_path / "whole", **settings)
    steps = len(losses(tmp_path / "whole"))
    assert steps == 28
    if optimizer["schedule"] == "plateau":
        rates = [entry["lr"] for entry in read_log(tmp_path / "whole") if entry["kind"] == "step"]
        assert rates[-1] < rates[0]
    for step in range(1, steps + 1):
        with pytest.raises(Interrupted):
            train(tmp_path / "cut", watch=interrupt_at(step), **settings)
    train(tmp_path / "cut", **settings)
    assert tensors(tmp_path / "cut") == tensors(tmp_path / "whole")
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_resuming_after_sigkill_equals_no_interruption(tmp_path: Path) -> None:
    train(tmp_path / "whole", **EVERYTHING)
    step = random.Random(20261121).randrange(2, 20)
    command = process("-m", "support.toy_training", str(tmp_path / "cut"), str(step))
    done = subprocess.run(command, env=child_environment(), check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(losses(tmp_path / "cut")) < 21
    train(tmp_path / "cut", **EVERYTHING)
    assert tensors(tmp_path / "cut") == tensors(tmp_path / "whole")
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_going_on_with_another_number_of_ranks_is_warned_about(tmp_path: Path) -> None:
    heard: list[Mapping[str, Any]] = []

    def resumed_after(world: int, step: int) -> list[str]:
        folder = tmp_path / str(world)
        with pytest.raises(Interrupted):
            train(folder, watch=interrupt_at(step), checkpoint_every=3, epochs=1)
        state = folder / "last" / "state.json"
        # Two ranks leave what one does, but for this number.
        facts = json.loads(state.read_text("utf-8"))
        assert facts["world"] == 1
        state.write_text(json.dumps({**facts, "world": world}), "utf-8")
        train(folder, watch=heard.append, epochs=1)
        entries = [entry for entry in read_log(folder) if entry["kind"] == "warning"]
        return [entry["message"] for entry in entries if "ranks" in entry["name"]]

    assert resumed_after(1, 4) == []
    (message,) = resumed_after(2, 4)
    assert message.startswith("trained with ranks = 2 so far, goes on with 1: ")
    assert message in [entry.get("message") for entry in heard]
    heard.clear()
    # What is finished does not go on.
    state = tmp_path / "2" / "last" / "state.json"
    facts = json.loads(state.read_text("utf-8"))
    state.write_text(json.dumps({**facts, "world": 2}), "utf-8")
    train(tmp_path / "2", watch=heard.append, epochs=1)
    assert [entry["kind"] for entry in heard] == ["done"]


@pytest.mark.slow
def test_two_ranks_give_the_curve_of_one(tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = process("-m", "torch.distributed.run", "--nproc-per-node", "2")
    command += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    command += ["-m", "support.toy_training", str(tmp_path / "two")]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    train(tmp_path / "one", loader={"batch_size": 7})
    assert len(losses(tmp_path / "one")) == 24
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-5)
    one, two = epochs(tmp_path / "one"), epochs(tmp_path / "two")
    for split in ("train", "val"):
        for name in ("loss", "loss/mood", "loss/themes", "loss/strength"):
            ours = [entry[split][name] for entry in two]
            assert ours == pytest.approx([entry[split][name] for entry in one], rel=2e-5)


def test_early_stop_keeps_the_best_epoch(tmp_path: Path) -> None:
    data = make_data()
    noise = replace(data.splits["val"], vectors=-data.splits["val"].vectors)
    worse = replace(data, splits={**data.splits, "val": noise})
    position = train(tmp_path, worse, epochs=50, patience=3, monitor="val/loss")
    assert position.epoch == position.best_epoch + 3
    assert position.finished == "no better val/loss for 3 epochs"
    assert min(entry["value"] for entry in epochs(tmp_path)) == position.best
    # Running it again says that it is done and changes nothing.
    before = tensors(tmp_path)
    assert train(tmp_path, worse, epochs=50, patience=3, monitor="val/loss") == position
    assert tensors(tmp_path) == before
    assert sum(entry["kind"] == "end" for entry in read_log(tmp_path)) == 1


def test_equal_values_are_told_apart_by_the_loss() -> None:
    monitor = Monitor("val/mean/macro_f1", maximise=True)
    assert monitor.better(0.2, 9.0, None, 0.0)
    assert monitor.better(0.2, 0.9, 0.2, 1.0)
    assert not monitor.better(0.2, 1.0, 0.2, 1.0)
    assert not monitor.better(0.1, 0.5, 0.2, 1.0)
    assert monitor.better(0.3, 2.0, 0.2, 1.0)
    assert not monitor.better(np.nan, 0.1, None, 0.0)


def test_a_diverged_loss_is_a_readable_error(tmp_path: Path) -> None:
    data = make_data()
    broken = data.splits["train"]
    broken.vectors[3] = np.nan
    with pytest.raises(InvalidInput, match="the loss is nan at step"):
        train(tmp_path, data)


def test_an_undefined_monitor_is_a_readable_error(tmp_path: Path) -> None:
    data = make_data()
    data.splits["val"].labels["strength"][:] = np.nan
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"val/strength/mae is undefined .* every epoch"):
            train(tmp_path, data, monitor="val/strength/mae")
    assert len(epochs(tmp_path)) == 3
    assert not (tmp_path / "best").exists()


def test_an_epoch_without_a_value_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The predictions of the first two epochs and the fourth are as good as all the same.
    values = iter([np.nan, np.nan, 0.3, np.nan, 0.2, np.nan])
    monkeypatch.setattr(Monitor, "value", lambda self, scores: next(values))
    schedule = {"schedule": "plateau", "plateau_patience": 9}
    position = train(tmp_path, epochs=9, patience=3, monitor="val/mean/corr", optimizer=schedule)
    assert (position.best, position.best_epoch, position.epoch) == (0.3, 3, 6)
    assert [entry["value"] for entry in epochs(tmp_path)] == [None, None, 0.3, None, 0.2, None]
    warned = [entry for entry in read_log(tmp_path) if entry["kind"] == "warning"]
    assert [e["message"] for e in warned if e["name"] == "monitor_undefined"] == [
        "val/mean/corr is undefined; such an epoch is not a better one"
    ]
    state = json.loads((tmp_path / "last" / "state.json").read_text("utf-8"))
    assert state["schedule"]["best"] == 0.3


def test_batches_without_any_label_change_no_weight(tmp_path: Path) -> None:
    data = make_data()
    bare = make_split("train", 30, 1, missing=1.0)
    train(tmp_path / "a", replace(data, splits={**data.splits, "train": bare}), epochs=1)
    curve = losses(tmp_path / "a")
    # Only the penalty is left.
    assert max(curve) < 0.05


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_learns_too(tmp_path: Path, precision: str) -> None:
    train(tmp_path, precision=precision, epochs=10, patience=0, optimizer={"lr": 0.03})
    curve = losses(tmp_path)
    assert np.isfinite(curve).all()
    assert sum(curve[-7:]) < 0.8 * sum(curve[:7])


def test_gradient_norms_and_diagnostics_are_logged_per_epoch(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    entry = epochs(tmp_path)[0]
    names = {f"gradient/task/{name}" for name in ("mood", "themes", "strength")}
    assert names | {"gradient/part/hidden", "hidden/mean", "size"} <= set(entry["train"])
    assert entry["val"]["metrics"]["mean"]["macro_f1"] is not None
    plain = tmp_path / "plain"
    train(plain, epochs=1, gradient_report=False)
    assert losses(plain) == losses(tmp_path)


def test_a_head_that_says_one_class_is_warned_about(tmp_path: Path) -> None:
    data = make_data()
    data.splits["train"].labels["mood"][:] = 1
    # What is most frequent on val is another class, and no baseline that could be known.
    data.splits["val"].labels["mood"][:] = [2, 1, 2, 2] * (len(data.splits["val"]) // 4)
    train(tmp_path, data, epochs=3, patience=0, optimizer={"lr": 0.1})
    found = epochs(tmp_path)[-1]["val"]["decisions"]
    assert found["predictions/mood/largest_share"] == 1
    first = constant_results(data.tasks, data.splits["train"].labels, data.splits["val"].labels)[
        "mood"
    ]["accuracy"]
    assert found["predictions/mood/majority"] == first == 0.25
    warned = [entry["message"] for entry in read_log(tmp_path) if entry["kind"] == "warning"]
    assert any("head of mood predicts one class only (accuracy" in message for message in warned)
    last = epochs(tmp_path)[-1]
    assert any("head of mood" in name for name in last["weak_spots"])
    entries = [entry for entry in read_log(tmp_path) if entry["kind"] == "warning"]
    known = {entry["name"]: entry["epoch"] for entry in entries if "epoch" in entry}
    assert set(last["weak_spots"]) <= set(known)
    assert min(known.values()) >= 1


def test_what_json_lacks_is_null_in_the_log(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, silent, tensorboard=False)
    journal.write("epoch", 0, train={"a": np.inf, "b": [float("nan"), 1.0]}, val=None)
    line = (tmp_path / "log.jsonl").read_text()
    assert json.loads(line)["train"] == {"a": None, "b": [None, 1.0]}
    assert not re.search("NaN|Infinity", line)


def test_tensorboard_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(tmp_path, epochs=1, tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events.out.*"))
