"""`pipeline train MODEL` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment, run
from support.training_stores import make_store, rows_of


@pytest.mark.slow
def test_train_runs_end_to_end_and_again_finds_its_run(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    arguments = ["train", "feature_fusion", "--dataset", "mini", "--store", tmp_path / "store"]
    arguments += ["--runs", tmp_path / "runs", "--seeds", "1,2", "--device", "cpu"]
    for assignment in ("trainer.epochs=2", "model.hidden=[8]", "trainer.tensorboard=false"):
        arguments += ["--set", assignment]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "majority class of train" in done.stdout
    assert "epoch 2: train loss" in done.stderr
    assert done.stderr.count("ended: 2 epochs done") == 2
    again = run(*arguments, "--json")
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert found["seeds"]["2"]["status"] == "finished"
    assert found["table"]["rows"][0]["kind"] == "baseline"
    assert found["run"] in done.stdout
    last = run(*arguments, "--resume")
    assert last.returncode == 0, last.stderr
    assert last.stderr.count("nothing left to do (2 epochs done)") == 2
    new = run(*arguments, "--resume", "--set", "trainer.epochs=3")
    assert new.returncode == 3
    assert "was begun in" in new.stderr
    assert len(list((tmp_path / "runs" / "mini").iterdir())) == 1


def test_help_lists_models_without_torch() -> None:
    code = (
        "import sys; sys.argv = ['pipeline', 'train', '--help']\n"
        "from affectflow.pipeline.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'pyarrow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    for name in ("mm_orient", "clip_head", "mult", "deepfillv2"):
        assert f"\n  {name} " in done.stdout


def test_mistakes_end_with_one_line_and_a_code(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    unknown = run("train", "mm_orien", "--dataset", "mini")
    assert unknown.returncode == 2
    assert unknown.stderr == "error: unknown model 'mm_orien'; did you mean mm_orient?\n"
    common = ["--dataset", "mini", "--store", tmp_path / "store"]
    missing = run("train", "clip_head", *common, "--set", "data.features.e_txt=clip_text")
    assert missing.returncode == 3
    assert "clip_text" in missing.stderr
    assert "pipeline run extract" in missing.stderr
    seeds = run("train", "clip_head", *common, "--seeds", "1,x")
    assert seeds.returncode == 3
    assert "--seeds got '1,x'" in seeds.stderr
    large = run("train", "clip_head", *common, "--seeds", "99999999999999999999")
    assert large.returncode == 3
    assert "whole numbers up to 4294967295" in large.stderr
