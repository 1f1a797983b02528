"""`pipeline features import` and `export --as mmsa-pkl`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.command import run
from support.foreign_files import mmsa, mult, write
from support.foreign_files_csd import small_dataset

from affectflow.pipeline.cli.imported import print_imported
from affectflow.pipeline.ingest.foreign import Imported


def test_import_prints_what_it_did(tmp_path: Path) -> None:
    data, _ = mmsa()
    data["train"]["audio"][0, 0, 0] = -np.inf
    path = write(tmp_path / "My File.pkl", data)
    first = run("features", "import", path, "--as", "mmsa", "--store", tmp_path / "s")
    assert first.returncode == 0, first.stderr
    for text in ("my_file: 10 samples", "1 minus_inf → 0 in 1 rows", "n×5 float32", "end"):
        assert text in first.stdout
    assert "not among the files whose digest is known" in first.stdout
    assert "4 shards written" in first.stdout
    again = run("features", "import", path, "--as", "mmsa", "--store", tmp_path / "s", "--json")
    found = json.loads(again.stdout)
    assert (found["dataset"], found["shards_written"]) == ("my_file", 0)
    assert found["labels"]["train"]["sentiment"]["neutral"] >= 1
    listed = run("features", "list", "--store", tmp_path / "s")
    assert "warning: 1 values were not finite and are 0" in listed.stderr
    verified = run("verify", "--all", "--store", tmp_path / "s")
    assert verified.returncode == 0, verified.stdout


def test_missing_labels_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"train": {"mood": {"None": 1200, "sad": 3}}}
    facts = {"files": [], "features": [], "rows": 1203, "labels": labels, "notes": []}
    facts |= {"splits": {"train": 1203}, "statuses": {}, "flags": {}}
    print_imported(Imported("d", "samples", "f", 1, facts))
    printed = capsys.readouterr().out
    assert "no label 1,200, sad 3" in printed
    assert "None" not in printed


def test_csd_with_folds_and_export(tmp_path: Path) -> None:
    small_dataset(tmp_path / "csd")
    folds = tmp_path / "folds.json"
    folds.write_text(json.dumps({"train": ["abc"], "valid": ["xyz"]}))
    files = sorted((tmp_path / "csd").iterdir())
    store = ("--store", tmp_path / "s")
    done = run("features", "import", *files, "--as", "csd", "--splits", folds, *store)
    assert done.returncode == 0, done.stderr
    assert "csd: 4 samples" in done.stdout
    out = run("features", "export", "--as", "mmsa-pkl", "--out", tmp_path / "o", *store)
    assert out.returncode == 0, out.stderr
    assert "train 1, valid 2, test 0" in out.stdout
    assert "not filled: text, text_bert" in out.stdout
    assert "left out: dropped 1" in out.stdout
    assert (tmp_path / "o" / "csd.pkl").is_file()


def test_mistakes_end_with_a_line(tmp_path: Path) -> None:
    data, _ = mult()
    path = write(tmp_path / "x.pkl", data)
    wrong = run("features", "import", path, "--as", "mmsa", "--store", tmp_path / "s")
    assert wrong.returncode == 3
    assert "it looks like --as mult" in wrong.stderr
    unknown = run("features", "import", path, "--as", "mmmsa", "--store", tmp_path / "s")
    assert unknown.returncode == 2
    assert "did you mean mmsa" in unknown.stderr
    folds = tmp_path / "folds.json"
    folds.write_text('{"fold1": []}')
    bad = run("features", "import", path, "--as", "csd", "--splits", folds)
    assert bad.returncode == 3
    assert "no splits of videos" in bad.stderr
    assert "Traceback" not in wrong.stderr + unknown.stderr + bad.stderr
