"""The whole product on the demo data, through the command line, as a user would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.command import run

from affectflow.pipeline.manifest import MANIFEST_FOLDER
from affectflow.pipeline.records import source_key

pytestmark = pytest.mark.slow

SETTINGS = ["engine.shard_rows=8", "engine.max_failed=0.6", "paraphrase.provider=rules"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every default feature of a small demo, paraphrases included."""
    folder = tmp_path_factory.mktemp("end-to-end")
    manifest = yaml.safe_load((MANIFEST_FOLDER / "demo.yaml").read_text(encoding="utf-8"))
    manifest |= {"name": "small-demo", "options": {**manifest["options"], "items": 24, "clips": 2}}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    flags = [flag for setting in SETTINGS for flag in ("--set", setting)]
    arguments = ["run", "extract", "--dataset", path, "--store", folder / "store", "--augment"]
    done = run(*arguments, *flags, "--workers", "2", "--json", timeout_s=900)
    assert done.returncode == 4, done.stderr
    summary = json.loads(done.stdout)
    originals = [o for o in summary["outputs"] if not o["node"].endswith("augmented")]
    for output in originals:
        if output["node"] != "augment_image":
            rows = output["ok"] + output["absent"] + output["failed"]
            assert rows == summary["samples"], output
    again = run(*arguments, *flags, "--json")
    assert json.loads(again.stdout)["cells"]["done"] == 0
    return folder / "store"


def test_status_verify_and_quarantine_agree(store: Path) -> None:
    status = json.loads(run("status", "--store", store, "--json").stdout)
    listed = json.loads(run("quarantine", "list", "--store", store, "--json").stdout)
    verified = run("verify", "--store", store)
    assert verified.returncode == 0, verified.stdout
    samples = {source_key(row["key"]) for row in listed}
    assert len(samples) == status["failed_samples"] > 0
    assert all(row["message"] for row in listed)
    for output in status["outputs"]:
        own = [
            row
            for row in listed
            if (row["node"], row["output"]) == (output["node"], output["name"])
        ]
        assert len(own) == output["failed"], output["name"]


def test_paraphrases_stay_in_train_with_their_source(store: Path) -> None:
    import affectflow

    opened = affectflow.open_store(store)
    samples = opened.samples("small-demo")
    splits = dict(zip(samples.keys, samples.splits, strict=True))
    feature = opened.feature("small-demo", "bert", augmented=True)
    keys = [str(key) for key in feature.read().keys]
    assert keys
    assert {splits[key.rpartition("~p")[0]] for key in keys} == {"train"}


def test_report_inspect_and_export(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run("report", "--store", store, "--out", page).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert "untrained" in text
    assert "<script" not in text
    listed = json.loads(run("quarantine", "list", "--store", store, "--json").stdout)
    shown = run("inspect", listed[0]["key"], "--store", store)
    assert shown.returncode == 0, shown.stderr
    assert listed[0]["key"] in shown.stdout
    out = tmp_path / "npy"
    place = ["--store", store, "--as", "npy", "--out", out]
    done = run("features", "export", "clip_image", *place)
    assert done.returncode == 0, done.stderr
    assert list(out.rglob("*.npy"))
