"""Folders that exist whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.fusion_data import toy_model
from support.toy_training import train

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.training.checkpoint import (
    load_model,
    recover,
    save_model,
    standing,
    written_folder,
)


def fill(path: Path, text: str) -> None:
    with written_folder(path) as new:
        (new / "file").write_text(text)


def fail(path: Path) -> None:
    with written_folder(path) as new:
        (new / "file").write_text("two")
        raise ZeroDivisionError


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "last"
    fill(path, "one")
    with pytest.raises(ZeroDivisionError):
        fail(path)
    assert (path / "file").read_text() == "one"
    fill(path, "three")
    assert (path / "file").read_text() == "three"
    assert [found.name for found in tmp_path.iterdir()] == ["last"]


def test_a_kill_between_the_renames_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "last"
    fill(path, "one")
    path.rename(tmp_path / ".last.old")
    (tmp_path / ".last.new").mkdir()
    recover(path)
    assert (path / "file").read_text() == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["last"]
    (tmp_path / ".last.old").mkdir()
    recover(path)
    assert (path / "file").read_text() == "one"


def test_a_reader_touches_nothing_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "best"
    fill(path, "one")
    path.rename(tmp_path / ".best.old")
    (tmp_path / ".best.new").mkdir()
    assert (standing(path) / "file").read_text() == "one"
    assert sorted(found.name for found in tmp_path.iterdir()) == [".best.new", ".best.old"]
    (tmp_path / ".best.new").rename(path)
    assert standing(path) == path


def test_weights_of_another_model_are_a_readable_error(tmp_path: Path) -> None:
    save_model(tmp_path, torch.nn.Linear(2, 3), {})
    with pytest.raises(InvalidInput, match="do not fit the model"):
        load_model(tmp_path, toy_model())


def test_a_damaged_file_is_a_readable_error(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    weights = tmp_path / "last" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(InvalidInput, match=r"model\.safetensors' cannot be read"):
        train(tmp_path, epochs=1)
    (tmp_path / "last" / "state.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"state\.json' is damaged"):
        train(tmp_path, epochs=1)
