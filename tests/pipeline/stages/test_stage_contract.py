"""What every stage promises, checked over all stages there are."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pytest

from affectflow.pipeline import loading
from affectflow.pipeline.config import StageConfig, canonical_json
from affectflow.pipeline.errors import ConfigError, MissingDependency
from affectflow.pipeline.records import FeatureSpec, TableSpec

NAMES = [name for name in loading.names("stages") if name != "extract"]
HEAVY = ("torch", "cv2", "transformers", "rapidocr", "onnxruntime", "openai", "dask")


def a_stage(name, values=None):
    """Return the stage as the offline profile configures it: some stages insist on a choice."""
    chosen = loading.load_module("stages", name).profile("offline")
    return loading.make_stage(name, {**chosen, **(values or {})})


def test_there_are_stages():
    assert {"text_regions", "inpaint", "clean_text", "augment_image"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_class_says_what_the_stage_is(name):
    stage = a_stage(name)
    assert name == stage.NAME
    assert isinstance(stage.VERSION, int)
    assert stage.VERSION >= 1
    assert set(stage.reads()) <= set(loading.names("stages")) - {name}
    assert stage.batch_size >= 1
    assert stage.resources().memory_gb > 0
    assert all(isinstance(line, str) and line for line in stage.warnings())


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_tables_or_features_with_their_names(name):
    outputs = a_stage(name).outputs()
    assert outputs
    for output in outputs:
        assert isinstance(output, TableSpec | FeatureSpec)
        if isinstance(output, TableSpec):
            assert output.name == name
            assert isinstance(output.schema, pa.Schema)
            assert len(output.schema) > 0
            assert not {"key", "status", "reason"} & set(output.schema.names)
    assert a_stage(name).outputs() == outputs


@pytest.mark.parametrize("name", NAMES)
def test_configuration_is_frozen_and_refuses_unknown_keys(name):
    config = a_stage(name).config
    assert isinstance(config, StageConfig)
    with pytest.raises(ConfigError, match="no_such_key"):
        a_stage(name, {"no_such_key": 1})
    with pytest.raises(Exception, match="frozen"):
        config.batch_size = 3


@pytest.mark.parametrize("name", NAMES)
def test_identity_is_stable_json_without_paths(name, tmp_path):
    try:
        first, second = a_stage(name).identity(), a_stage(name).identity()
    except MissingDependency as error:
        pytest.skip(str(error))
    text = canonical_json({**first, "config": a_stage(name).config.result_parameters()})
    assert json.loads(text)
    assert canonical_json(first) == canonical_json(second)
    assert sys.prefix not in text
    assert str(tmp_path.parent) not in text


@pytest.mark.parametrize("name", NAMES)
def test_batch_size_stays_out_of_the_fingerprint(name):
    small, large = a_stage(name, {"batch_size": 1}), a_stage(name, {"batch_size": 7})
    assert small.config.result_parameters() == large.config.result_parameters()
    assert canonical_json(small.identity()) == canonical_json(large.identity())


@pytest.mark.parametrize("name", NAMES)
def test_library_versions_are_text(name):
    versions = a_stage(name).libraries()
    assert all(isinstance(version, str) and version for version in versions.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", ["offline", "paper"])
def test_profiles_are_valid_configurations(name, profile):
    module = loading.load_module("stages", name)
    values = module.profile(profile)
    assert isinstance(values, dict)
    known = set(module.Config.model_fields)
    assert set(values) <= known


def test_constructing_stages_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from affectflow.pipeline import loading\n"
        f"for name in {NAMES!r}:\n"
        "    module = loading.load_module('stages', name)\n"
        "    try: loading.make_stage(name, module.profile('offline')).outputs()\n"
        "    except Exception as error: print(name, error)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert answer.stdout.strip() == ""
