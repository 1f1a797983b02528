"""Runs from a store: the folder, the table, several seeds, loading, mismatches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.feature_stores import write_feature
from support.toy_training import one_thread, silent
from support.training_stores import IMAGE, make_store, opened, rows_of

from affectflow.models.batch import InputSpec
from affectflow.pipeline.errors import AffectflowError, ConfigError, StoreError, UsageError
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.training import experiment
from affectflow.pipeline.training.checkpoint import load_run
from affectflow.pipeline.training.experiment import Outcome, open_splits, train
from affectflow.pipeline.training.opening import open_data
from affectflow.pipeline.training.presets import PRESETS, default_preset
from affectflow.pipeline.training.run_folder import RunFolder
from affectflow.pipeline.training.settings import Settings, resolve

SMALL: dict[str, Any] = {
    "trainer": {"epochs": 2, "tensorboard": False, "device": "cpu"},
    "loader": {"batch_size": 5},
    "model": {"hidden": [8]},
}


def settings_of(
    store: Path, name: str = "clip_head", /, **overrides: Mapping[str, Any]
) -> Settings:
    features = {"features": {"e_img": "clip_image", "e_txt": "clip_image"}}
    return resolve(name, "mini", [store], None, {**SMALL, "data": features, **overrides})


def run(settings: Settings, runs: Path, seeds: tuple[int, ...] = (1,)) -> Outcome:
    with one_thread():
        return train(settings, seeds, runs, silent)


def test_a_run_folder_holds_everything(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    outcome = run(settings_of(tmp_path / "store"), tmp_path / "runs", (1, 2))
    assert outcome.folder.parent == tmp_path / "runs" / "mini"
    assert outcome.folder.name.startswith("clip_head-")
    found = {str(path.relative_to(outcome.folder)) for path in outcome.folder.rglob("*.*")}
    for seed in ("seed-1", "seed-2"):
        names = ("log.jsonl", "val.json", "last/optimizer.safetensors", "best/model.safetensors")
        assert {f"{seed}/{name}" for name in names} <= found
    record = json.loads((outcome.folder / "run.json").read_text())
    assert record["seeds"]["2"]["status"] == "finished"
    assert record["fingerprints"]["e_img"]["feature"] == "clip_image"
    assert record["parameters"]["total"] == sum(record["parameters"]["parts"].values())
    assert str(tmp_path / "store") not in json.dumps({**record, "settings": {}, "command": ""})


def folder_of(settings: Settings, runs: Path) -> Path:
    return RunFolder.of(runs, settings, open_splits(settings)).path


def test_a_default_and_the_same_value_said_aloud_are_one_run(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    runs = tmp_path / "runs"
    plain = settings_of(tmp_path / "store", "clip_head")
    found = run(plain, runs).folder
    record = RunFolder(found).record()
    tasks = [task["name"] for task in record["tasks"]]
    full = f"clip_image@{record['fingerprints']['e_img']['fingerprint'][:12]}"
    data = {"features": {"e_img": full, "e_txt": "clip_image"}}
    said: list[dict[str, Any]] = [
        {"data": {**data, "tasks": tasks}},
        {"data": {**data, "scale": {"e_img": 1.0}}},
        {"trainer": {**SMALL["trainer"], "monitor": record["monitor"]}},
        {"loader": {**SMALL["loader"], "workers": 2}},
        {"loss": {"task_weights": {tasks[0]: 1.0}}},
    ]
    for overrides in said:
        assert folder_of(settings_of(tmp_path / "store", **overrides), runs) == found
    other: list[dict[str, Any]] = [
        {"data": {**data, "tasks": tasks[:1]}},
        {"data": {**data, "tasks": tasks[::-1]}},
        {"data": {**data, "scale": {"e_img": 2.0}}},
        {"data": {**data, "standardize": ["e_img"]}},
        {"trainer": {**SMALL["trainer"], "monitor": "val/loss"}},
        {"loader": {"batch_size": 6}},
        {"loss": {"task_weights": {tasks[0]: 0.5}}},
    ]
    paths = {folder_of(settings_of(tmp_path / "store", **overrides), runs) for overrides in other}
    assert len(paths | {folder_of(plain, runs)}) == len(other) + 1


def test_the_table_begins_with_the_majority(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    outcome = run(settings_of(tmp_path / "store"), tmp_path / "runs", (1, 2, 3))
    majority, guess, model = outcome.table["rows"]
    assert guess["kind"] == "guess"
    assert majority["kind"] == "baseline"
    accuracy = model["results"]["mood"]["accuracy"]
    values = list(accuracy["values"].values())
    assert len(values) == 3
    assert accuracy["mean"] == pytest.approx(sum(values) / 3)
    squares = sum((value - accuracy["mean"]) ** 2 for value in values)
    assert accuracy["std"] == pytest.approx((squares / 2) ** 0.5)
    assert (outcome.folder / "table.md").read_text().count("majority class of train") == 1


def test_what_the_store_says_of_a_feature_is_heard_and_stands_below_the_table(
    tmp_path: Path,
) -> None:
    table, written = make_store(tmp_path / "store", rows_of(40))
    folder = write_feature(table, IMAGE, written["clip_image"]).folder
    facts = json.loads((folder / "_spec.json").read_text())
    (folder / "_spec.json").write_text(json.dumps({**facts, "warnings": ["clip is untrained"]}))
    heard: list[Mapping[str, Any]] = []
    with one_thread():
        outcome = train(settings_of(tmp_path / "store"), (1,), tmp_path / "runs", heard.append)
    messages = [entry["message"] for entry in heard if entry["kind"] == "warning"]
    assert messages.count("clip is untrained") == 1
    assert "clip is untrained" in outcome.table["notes"]
    counts = next(entry["counts"] for entry in heard if entry["kind"] == "data")
    assert counts["splits"]["val"]["rows"] == 8


def test_a_model_that_is_trained_without_a_modality_says_so(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(20))

    def heard(runs: str, features: Mapping[str, str]) -> list[str]:
        small = {"model": {"width": 4, "heads": 2, "levels": 1}, "data": {"features": features}}
        settings = resolve("mult", "mini", [tmp_path / "store"], None, {**SMALL, **small})
        entries: list[Mapping[str, Any]] = []
        with one_thread():
            train(settings, (1,), tmp_path / runs, entries.append)
        return [entry["message"] for entry in entries if entry.get("name") == "feature"]

    (message,) = heard("silent", {"text": "bert"})
    assert message.startswith("no store has a feature for audio ('covarep'), vision ('openface')")
    assert "--set data.features.audio=NAME" in message
    assert heard("on_purpose", {"text": "bert", "audio": "", "vision": ""}) == []


def test_the_same_command_finds_the_same_folder(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    settings = settings_of(tmp_path / "store")
    first = run(settings, tmp_path / "runs")
    weights = first.folder / "seed-1" / "last" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    again = run(settings, tmp_path / "runs")
    assert again.folder == first.folder
    assert weights.stat().st_mtime_ns == written
    # What changes no result changes no folder; what does, does.
    fast = {"trainer": {**SMALL["trainer"], "log_every": 7}, "loader": {"batch_size": 5}}
    fast["loader"] = {"batch_size": 5, "workers": 2}
    assert run(settings_of(tmp_path / "store", **fast), tmp_path / "runs").folder == first.folder
    other = settings_of(tmp_path / "store", optimizer={"lr": 0.1})
    assert run(other, tmp_path / "runs").folder != first.folder


def test_a_loaded_run_says_what_the_trained_model_said(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    settings = settings_of(tmp_path / "store")
    loaded = load_run(run(settings, tmp_path / "runs").folder / "seed-1", "last")
    data = open_data(settings.data, settings.kind.roles, frozenset(), ("train", "val"))
    loaded.check(data)
    assert loaded.tasks == data.tasks
    assert not loaded.model.training
    with torch.no_grad():
        output = loaded.model(data.split("val").batch(range(4)))
    assert output.logits["mood"].shape == (4, 2)
    (loaded.folder / "best" / "state.json").unlink()
    with pytest.raises(StoreError, match="no checkpoint 'best'"):
        load_run(loaded.folder)
    with pytest.raises(StoreError, match="is no run of `pipeline train`"):
        load_run(tmp_path / "store" / "seed-1")


def test_other_features_are_one_readable_line(tmp_path: Path) -> None:
    table, written = make_store(tmp_path / "store", rows_of(40))
    settings = settings_of(tmp_path / "store")
    loaded = load_run(run(settings, tmp_path / "runs").folder / "seed-1")
    write_feature(table, IMAGE, written["clip_image"], "aaaa6789abcdefff")
    features = dict.fromkeys(("e_img", "e_txt"), "clip_image@aaaa")
    config = settings.data.model_copy(update={"features": features})
    data = open_data(config, settings.kind.roles, frozenset(), ("train", "val"))
    with pytest.raises(StoreError) as caught:
        loaded.check(data)
    assert caught.value.message == (
        "'e_img': the checkpoint was trained on clip_image@0123456789abcdef, "
        "these data have clip_image@aaaa6789abcdefff"
    )
    assert "pipeline features diff" in caught.value.hint
    loaded.check(data, same_dataset=False)
    wider = replace(data, inputs={**data.inputs, "e_txt": InputSpec((9,))})
    with pytest.raises(StoreError, match=r"trained on shape \(4,\), these data have \(9,\)"):
        loaded.check(wider, same_dataset=False)
    fewer = replace(data, inputs={"e_img": InputSpec((4,))})
    with pytest.raises(StoreError, match="needs 'e_txt'"):
        loaded.check(fewer, same_dataset=False)


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    settings = settings_of(tmp_path / "store")
    outcome = run(settings, tmp_path / "runs")
    before = (outcome.folder / "run.json").read_bytes()
    with (
        RunFolder(outcome.folder).held(),
        pytest.raises(StoreError, match="another process is training"),
    ):
        run(settings, tmp_path / "runs", (2,))
    assert (outcome.folder / "run.json").read_bytes() == before
    run(settings, tmp_path / "runs", (2,))


def test_a_failed_seed_is_recorded(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    wild = {"kind": "sgd", "lr": 1e30}
    with pytest.raises(AffectflowError, match="the loss is"):
        run(settings_of(tmp_path / "store", optimizer=wild), tmp_path / "runs")
    record = json.loads(next((tmp_path / "runs" / "mini").glob("*/run.json")).read_text())
    assert record["seeds"]["1"]["status"] == "failed"
    assert "the loss is" in record["seeds"]["1"]["reason"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimiser": {"lr": 1}}, "unknown owner 'optimiser'; did you mean optimizer"),
        ({"optimizer": {"lrr": 1}}, "unknown key 'lrr'"),
        ({"model": {"hiden": [1]}}, "unknown key 'hiden'; did you mean hidden"),
        ({"model": {"dropout": 2}}, "'dropout' = 2"),
        ({"trainer": {"epochs": 0}}, "'epochs' = 0"),
        ({"loss": {"task_weights": {"mood": -1}}}, "'task_weights.mood' = -1"),
        ({"loss": {"task_weights": {"mood": float("nan")}}}, "'task_weights.mood' = nan"),
        ({"optimizer": {"lr_scales": {"all": -1}}}, "'lr_scales.all' = -1"),
        ({"trainer": {"monitor": "val/mean/f2"}}, "unknown metric 'f2'"),
    ],
)
def test_mistakes_are_one_readable_line(
    tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    make_store(tmp_path / "store")
    with pytest.raises(ConfigError, match=message):
        run(settings_of(tmp_path / "store", **overrides), tmp_path / "runs")


@pytest.mark.parametrize(
    "trainer",
    [
        {"monitor": "test/mood/accuracy"},
        {"monitor": "val/moood/accuracy"},
        {"metrics": "mossi"},
    ],
)
def test_what_cannot_select_is_said_before_anything_is_trained(
    tmp_path: Path, trainer: dict[str, Any]
) -> None:
    make_store(tmp_path / "store", rows_of(40))
    settings = settings_of(tmp_path / "store", trainer={**SMALL["trainer"], **trainer})
    with pytest.raises(ConfigError):
        run(settings, tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize("role", ["tokens", "e_img"])
def test_a_feature_of_another_kind_is_refused_by_name(tmp_path: Path, role: str) -> None:
    make_store(tmp_path / "store", rows_of(40))
    features = {"e_txt": "clip_image", "tokens": "bert", "e_img": "clip_image"}
    features[role] = {"tokens": "clip_image", "e_img": "bert"}[role]
    settings = settings_of(tmp_path / "store", "mm_orient", model={}, data={"features": features})
    with pytest.raises(ConfigError, match=f"mm_orient: the role {role} wants"):
        run(settings, tmp_path / "runs")


@pytest.mark.parametrize("dtype", ["float32", "stored"])
def test_whole_numbers_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    table, _ = make_store(tmp_path / "store", rows_of(40))
    ids = FeatureSpec("text_bert", "text", (None, 3), "int32")
    write_feature(table, ids, {f"k{i:03d}": np.full((2, 3), i, np.int32) for i in range(40)})
    data = {"features": {"tokens": "text_bert"}, "dtype": dtype}
    with pytest.raises(ConfigError) as caught:
        run(settings_of(tmp_path / "store", "text_tokens", data=data), tmp_path / "runs")
    assert caught.value.message == (
        "role 'tokens': feature 'text_bert' holds int32, models take floating-point features"
    )
    assert "data.features.tokens" in caught.value.hint
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_may_stay_as_stored_until_they_are_used(tmp_path: Path, precision: str) -> None:
    make_store(tmp_path / "store", rows_of(40))
    # One batch and no dropout: the order of the samples changes nothing.
    same = {
        "trainer": {**SMALL["trainer"], "precision": precision},
        "loader": {"batch_size": 100},
        "model": {"hidden": [8], "dropout": 0.0},
    }
    values = []
    for dtype in ("float32", "stored"):
        data = {"dtype": dtype}
        settings = settings_of(tmp_path / "store", "text_tokens", data=data, **same)
        folder = run(settings, tmp_path / "runs").folder
        values.append(json.loads((folder / "seed-1" / "val.json").read_text())["loss"])
    assert values[1] == pytest.approx(values[0], rel=1e-3)


def test_a_model_that_does_not_fit_the_data_is_a_readable_error(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    settings = settings_of(
        tmp_path / "store", data={"features": {"e_img": "clip_image"}}, model={"use": ["e_txt"]}
    )
    with pytest.raises(ConfigError, match="clip_head is to use e_txt, but the data lack"):
        run(settings, tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*/*"))


def test_seeds_trained_together_are_those_trained_alone(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    settings = settings_of(tmp_path / "store")
    together = run(settings, tmp_path / "runs", (1, 2))
    alone = [run(settings, tmp_path / f"runs-{seed}", (seed,)) for seed in (2, 1)]
    for outcome in alone:
        for path in outcome.folder.glob("seed-*/last/model.safetensors"):
            other = together.folder / path.relative_to(outcome.folder)
            assert path.read_bytes() == other.read_bytes()


def test_a_model_that_reads_whole_batches_warns_when_they_are_cut(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))
    features = {"e_img": "clip_image", "e_txt": "clip_image", "extra": ""}
    settings = settings_of(
        tmp_path / "store",
        "mm_orient",
        model={"mlc": {"hidden": [8]}},
        data={"features": features},
        trainer={**SMALL["trainer"], "accumulate": 2, "epochs": 1},
    )
    heard: list[Mapping[str, Any]] = []
    with one_thread():
        train(settings, (1,), tmp_path / "runs", heard.append)
    warnings = [entry["message"] for entry in heard if entry["kind"] == "warning"]
    assert any("cut into 2 pieces" in message for message in warnings)


@pytest.mark.parametrize("make", PRESETS, ids=lambda make: make.__name__)
def test_every_preset_resolves_and_says_what_to_expect(make: Any) -> None:
    assert "``pipeline train" in make.__doc__ or "``pipeline features import" in make.__doc__
    assert "Expected: " in make.__doc__
    preset = make()
    settings = resolve(preset.model, "some", [Path("store")], make.__name__, {})
    assert settings.preset == make.__name__
    assert settings.to_json()["optimizer"]["lr"] == preset.settings["optimizer"]["lr"]


def test_presets_are_chosen_by_dataset() -> None:
    assert default_preset("mm_orient", "memotion") == "mm_orient_memotion"
    assert default_preset("mult", "mosi_unaligned_50") == "mult_mosi"
    assert default_preset("mult", "mosia") is None
    own = resolve("mm_orient", "memotion", [Path("store")], "author_code", {})
    assert own.recipe.optimizer.lr == 5e-6
    with pytest.raises(UsageError, match="did you mean author_code"):
        resolve("mm_orient", "memotion", [Path("store")], "author_cod", {})


def test_features_larger_than_networks_expect_are_spoken_of(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows_of(40))

    def said(name: str, **data: Any) -> list[str]:
        heard: list[Mapping[str, Any]] = []
        features = {"e_img": "clip_image", "e_txt": "clip_image"}
        data = {"features": features, **data}
        with one_thread():
            settings = settings_of(tmp_path / "store", data=data)
            train(settings, (1,), tmp_path / name, heard.append)
        warnings = (entry["message"] for entry in heard if entry["kind"] == "warning")
        return [message for message in warnings if "networks expect" in message]

    split = opened(tmp_path / "store", roles={"e_img": "clip_image"}).split("train")
    # Fewer samples than are looked at.
    values = np.concatenate(list(split.entries("e_img"))).astype(np.float64)
    largest, median = values.std(0).max(), np.median(values.std(0))
    words = f"has columns that vary by ±{largest:.3g}, in the middle ±{median:.3g}"
    assert said("raw") == [
        f"e_img {words}; e_txt {words}; networks expect about 1: "
        "--set 'data.standardize=[e_img,e_txt]'"
    ]
    # What is standardized already stays so if the hint is followed.
    assert said("one", standardize=["e_txt"]) == [
        f"e_img {words}; networks expect about 1: --set 'data.standardize=[e_img,e_txt]'"
    ]
    assert said("below", scale={"e_img": 29 / largest, "e_txt": 29 / largest}) == []
    assert len(said("above", scale={"e_img": 31 / largest, "e_txt": 29 / largest})) == 1
    assert said("standardized", standardize=["e_img", "e_txt"]) == []


def test_a_run_keeps_the_numbers_it_began_with(tmp_path: Path) -> None:
    table, written = make_store(tmp_path / "store", rows_of(40))
    features = {"features": {"e_img": "clip_image", "e_txt": "clip_image"}}
    settings = settings_of(tmp_path / "store", data={**features, "standardize": ["e_img"]})
    folder = run(settings, tmp_path / "runs").folder
    began = RunFolder(folder).statistics(["e_img"])
    assert began is not None
    # Other values under the same fingerprint.
    table, written = make_store(tmp_path / "other", rows_of(40))
    moved = {
        key: value + np.float32(5)
        for key, value in written["clip_image"].items()
        if isinstance(value, np.ndarray)
    }
    write_feature(table, IMAGE, moved)
    settings = settings_of(tmp_path / "other", data={**features, "standardize": ["e_img"]})
    assert run(settings, tmp_path / "runs", (1, 2)).folder == folder
    found = RunFolder(folder).statistics(["e_img"])
    assert found is not None
    assert np.array_equal(found["e_img"].mean, began["e_img"].mean)


def test_what_is_to_be_standardized_is_measured_once_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_store(tmp_path / "store", rows_of(40))
    monkeypatch.setattr(experiment, "TOLD_BYTES", 1)
    features = {"features": {"e_img": "clip_image", "e_txt": "clip_image"}}
    settings = settings_of(tmp_path / "store", data={**features, "standardize": ["e_img"]})
    for again in (False, True):
        heard: list[Mapping[str, Any]] = []
        with one_thread():
            train(settings, (1,), tmp_path / "runs", heard.append)
        told = [entry["message"] for entry in heard if entry["kind"] == "preparing"]
        assert any("standardizing e_img: reads" in message for message in told) != again


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cmrl": {"scope": "bank"}, "eval": {"graph": "dataset"}}, "cmrl.scope=bank"),
        ({"hima": {"stage2": False, "stage2_share": True}}, "hima: "),
    ],
)
def test_values_that_do_not_go_together_are_one_short_line(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("mm_orient", "some", [Path("store")], None, {"model": values})
    assert caught.value.message.startswith(f"--set model: {words}")
    assert len(caught.value.message) < 200
