"""What every extractor promises, checked on every extractor there is."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.extractor_rows import assert_close, make_row, make_rows, run

from affectflow.pipeline import loading
from affectflow.pipeline.errors import ConfigError, RowAbsent, RowError
from affectflow.pipeline.records import Failure, FeatureSpec, Row
from affectflow.pipeline.stage import BaseStage

NAMES = loading.names("extractors")
Stage = BaseStage[Any, Any]


def make(name: str, **changes: Any) -> Stage:
    module = loading.load_module("extractors", name)
    return loading.make_stage(name, module.tiny() | changes)


@pytest.fixture(scope="module", params=NAMES)
def stage(request: pytest.FixtureRequest) -> Stage:
    opened = make(request.param)
    opened.identity()
    opened.open()
    return opened


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return make_rows(tmp_path)


def specs_of(stage: Stage) -> dict[str, FeatureSpec]:
    specs = stage.outputs()
    assert all(isinstance(spec, FeatureSpec) for spec in specs)
    return {spec.name: spec for spec in specs if isinstance(spec, FeatureSpec)}


def check_value(spec: FeatureSpec, value: Any) -> None:
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.dtype(spec.dtype)
    assert len(value.shape) == len(spec.shape)
    for got, expected in zip(value.shape, spec.shape, strict=True):
        assert expected in (None, got)
    if np.issubdtype(value.dtype, np.floating):
        assert np.isfinite(value).all()


def test_there_are_extractors() -> None:
    assert {"bert", "clip", "covarep", "fake", "regions"} <= set(NAMES)


def test_values_are_what_the_specs_say(stage: Stage, rows: list[Row]) -> None:
    specs = specs_of(stage)
    for values in run(stage, rows):
        assert set(values) == set(specs)
        for name, spec in specs.items():
            check_value(spec, values[name])


def test_values_own_their_memory_or_a_whole_batch_stays(stage: Stage, rows: list[Row]) -> None:
    for values in run(stage, rows):
        for value in values.values():
            base = value.base
            assert base is None or base.nbytes <= 4 * value.nbytes + 4096


def test_rows_differ(stage: Stage, rows: list[Row]) -> None:
    first, second = run(stage, [rows[0], rows[2]])
    main = stage.outputs()[0].name
    assert first[main].shape != second[main].shape or (first[main] != second[main]).any()


def test_batch_equals_single(stage: Stage, rows: list[Row]) -> None:
    together = run(stage, rows)
    for row, values in zip(rows, together, strict=True):
        alone = run(stage, [row])[0]
        for name, value in values.items():
            assert_close(value, alone[name])


def test_order_of_rows_changes_nothing(stage: Stage, rows: list[Row]) -> None:
    forward, backward = run(stage, rows), run(stage, rows[::-1])[::-1]
    for one, other in zip(forward, backward, strict=True):
        for name in one:
            assert_close(one[name], other[name])


def test_same_input_gives_same_bytes_in_a_new_stage(rows: list[Row], stage: Stage) -> None:
    again = make(stage.NAME)
    again.open()
    for one, other in zip(run(stage, rows), run(again, rows), strict=True):
        for name in one:
            assert one[name].tobytes() == other[name].tobytes()


def statuses(stage: Stage, row: Row) -> dict[str, str]:
    """Return output name to ok, failed or absent for one row."""
    try:
        values = run(stage, [row])[0]
    except RowError as error:
        status = "absent" if isinstance(error, RowAbsent) else "failed"
        return dict.fromkeys(specs_of(stage), status)
    return {n: v.status if isinstance(v, Failure) else "ok" for n, v in values.items()}


def test_absent_image_is_absent_not_failed(stage: Stage, tmp_path: Path) -> None:
    found = statuses(stage, make_row(tmp_path, "bare", image=None))
    for name, spec in specs_of(stage).items():
        assert found[name] == ("absent" if spec.modality == "image" else "ok")


def test_broken_image_fails_its_own_outputs_only(stage: Stage, tmp_path: Path) -> None:
    if stage.NAME == "fake":
        pytest.skip("fake reads no pixels")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    found = statuses(stage, make_row(tmp_path, "broken", image="broken.png"))
    for name, spec in specs_of(stage).items():
        assert found[name] == ("failed" if spec.modality == "image" else "ok")


def test_failed_row_leaves_the_others_as_they_were(stage: Stage, tmp_path: Path) -> None:
    if stage.NAME == "fake":
        pytest.skip("fake reads no pixels")
    rows = make_rows(tmp_path, 4)
    alone = run(stage, rows)
    (tmp_path / "cut.png").write_bytes((tmp_path / "row0.png").read_bytes()[:60])
    broken = make_row(tmp_path, "cut", image="cut.png")
    mixed, whole = [*rows[:2], broken, *rows[2:]], [*alone[:2], None, *alone[2:]]
    loaded = {place: item for place, row in enumerate(mixed) if (item := try_load(stage, row))}
    assert set(loaded) >= {0, 1, 3, 4}
    for bucket in {stage.bucket(item) for item in loaded.values()}:
        places = [place for place, item in loaded.items() if stage.bucket(item) == bucket]
        found = stage.compute([loaded[place] for place in places])
        for place, values in zip(places, found, strict=True):
            for name, value in (whole[place] or {}).items():
                assert_close(values[name], value)


def try_load(stage: Stage, row: Row) -> Any:
    try:
        return stage.load(row)
    except RowError:
        return None


def test_failed_upstream_stage_fails_what_reads_it(stage: Stage, tmp_path: Path) -> None:
    cause = Failure("decode_error", "the cause")
    upstream = dict.fromkeys(stage.reads(), cause)
    if not upstream:
        pytest.skip("reads no other stage")
    row = make_row(tmp_path, "late", upstream=upstream)
    with pytest.raises(RowError, match="the cause") as caught:
        stage.load(row)
    assert caught.value.code == "upstream_decode_error"


def learns_nothing(stage: Stage) -> bool:
    """Return whether values come from signal processing alone."""
    weights = stage.identity().get("weights")
    return isinstance(weights, dict) and weights.get("kind") == "none"


def test_absent_audio_is_absent_not_failed(stage: Stage, tmp_path: Path) -> None:
    found = statuses(stage, make_row(tmp_path, "mute", audio=None))
    for name, spec in specs_of(stage).items():
        assert found[name] == ("absent" if spec.modality == "audio" else "ok")


def test_broken_audio_fails_its_own_outputs_only(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF0000WAVEnothing more")
    found = statuses(stage, make_row(tmp_path, "noisy", audio="broken.wav"))
    for name, spec in specs_of(stage).items():
        assert found[name] == ("failed" if spec.modality == "audio" else "ok")


def test_identity_is_json_and_stable(stage: Stage) -> None:
    text = json.dumps(stage.identity(), sort_keys=True)
    assert text == json.dumps(make(stage.NAME).identity(), sort_keys=True)
    assert learns_nothing(stage) or '"untrained": true' in text


def test_random_weights_are_said_to_be_random(stage: Stage) -> None:
    said = any("random" in line for line in stage.warnings())
    assert said != learns_nothing(stage)


def test_seed_changes_identity_or_parameters(stage: Stage) -> None:
    if learns_nothing(stage):
        pytest.skip("nothing random")
    other = make(stage.NAME, seed=17)
    assert other.config.result_parameters() != stage.config.result_parameters()


@pytest.mark.parametrize("name", NAMES)
def test_seed_changes_values(name: str, tmp_path: Path) -> None:
    row = make_row(tmp_path, "seeded")
    if learns_nothing(make(name)):
        pytest.skip("nothing random")
    stages = [make(name, seed=seed) for seed in (5, 6)]
    for one in stages:
        one.open()
    first, second = (run(one, [row])[0] for one in stages)
    main = stages[0].outputs()[0].name
    assert first[main].shape != second[main].shape or (first[main] != second[main]).any()


@pytest.mark.parametrize("name", NAMES)
def test_batch_size_is_not_a_result_parameter(name: str) -> None:
    small, large = make(name, batch_size=1), make(name, batch_size=7)
    assert small.config.result_parameters() == large.config.result_parameters()
    assert small.config.runtime_parameters() != large.config.runtime_parameters()


@pytest.mark.parametrize("name", NAMES)
def test_configuration_travels(name: str) -> None:
    stage = make(name)
    again = pickle.loads(pickle.dumps(stage.config))
    assert again == stage.config
    assert loading.make_stage(name, again.model_dump()).outputs() == stage.outputs()


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keys_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown key 'wdith'"):
        make(name, wdith=3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", ["offline", "paper"])
def test_profiles_are_valid_configurations(name: str, profile: str) -> None:
    module = loading.load_module("extractors", name)
    module.Config.model_validate(module.profile(profile))


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from affectflow.pipeline import loading\n"
        "for name in loading.names('extractors'):\n"
        "    module = loading.load_module('extractors', name)\n"
        "    stage = loading.make_stage(name, module.tiny())\n"
        "    stage.outputs(), stage.identity(), stage.warnings(), stage.reads()\n"
        "heavy = {'torch', 'torchvision', 'transformers', 'open_clip', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
