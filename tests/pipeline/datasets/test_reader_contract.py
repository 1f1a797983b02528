"""What every reader and every built-in manifest must do, over all that exist."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from affectflow.pipeline.errors import MissingFiles
from affectflow.pipeline.loading import load_module, names
from affectflow.pipeline.manifest import dataset_names, load_manifest

READERS = names("datasets")
MANIFESTS = dataset_names()
# These make their files themselves.
MADE_ON_THE_FLY = {"demo"}


def test_there_is_something_to_check() -> None:
    assert {"memotion", "memotion2", "memotion3", "table"} <= set(READERS)
    assert {"memotion", "memotion2", "memotion3"} <= set(MANIFESTS)


@pytest.mark.parametrize("name", READERS)
def test_readers_have_the_contract_s_members(name: str) -> None:
    module = load_module("datasets", name)
    assert isinstance(module.VERSION, int)
    assert module.VERSION >= 1
    for member in (module.label_files, module.read):
        assert list(inspect.signature(member).parameters) == ["root", "manifest"]
        assert member.__doc__
    assert module.__doc__


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_complete(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.name == name
    assert manifest.reader in READERS
    assert manifest.obtain.strip()
    assert manifest.licence.strip()
    assert manifest.tasks
    for task in manifest.tasks.values():
        assert len(set(task.classes)) == len(task.classes)


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name not in MADE_ON_THE_FLY])
def test_an_empty_root_says_what_is_missing(tmp_path: Path, name: str) -> None:
    manifest = load_manifest(name)
    reader = load_module("datasets", manifest.reader)
    with pytest.raises(MissingFiles) as caught:
        reader.label_files(tmp_path, manifest)
    assert manifest.obtain in str(caught.value)
    assert caught.value.missing
    with pytest.raises(MissingFiles):
        list(reader.read(tmp_path, manifest))
    with pytest.raises(MissingFiles):
        reader.label_files(tmp_path / "nowhere", manifest)
