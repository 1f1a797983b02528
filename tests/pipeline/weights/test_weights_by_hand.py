"""Weights that only a person can download, and checkpoints that keep several networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectflow.pipeline import weights
from affectflow.pipeline.errors import WeightsError
from affectflow.pipeline.weights import Weights
from affectflow.pipeline.weights.catalogue import read_catalogue


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def by_hand() -> Weights:
    return Weights.model_validate(
        {
            "name": "thing",
            "kind": "deepfillv2",
            "source": {"kind": "hand", "page": "https://example.org/thing"},
            "files": [{"name": "a.pth", "size": None, "sha256": None}],
            "licence": "none stated",
        }
    )


def test_fetching_says_what_a_person_has_to_do() -> None:
    wanted = by_hand()
    assert wanted.origin == "https://example.org/thing"
    with pytest.raises(WeightsError, match="no address") as caught:
        weights.fetch(wanted)
    hint = "get a.pth by way of https://example.org/thing, then: pipeline weights import thing FILE"
    assert caught.value.hint == hint
    with pytest.raises(WeightsError) as caught:
        weights.locate(wanted)
    assert caught.value.hint == hint


def test_importing_puts_it_in_its_place_and_remembers_it(tmp_path: Path, folder: Path) -> None:
    wanted = by_hand()
    source = tmp_path / "downloaded.pth"
    source.write_bytes(b"abc")
    assert weights.import_file(wanted, source) == folder / "thing"
    assert weights.locate_file(wanted) == folder / "thing" / "a.pth"
    assert weights.fetch(wanted) == folder / "thing"
    assert [one.state for one in weights.verify(wanted)] == ["ok"]
    (folder / "thing" / "a.pth").write_bytes(b"abd")
    assert [one.state for one in weights.verify(wanted)] == ["changed"]


def test_a_page_is_needed() -> None:
    with pytest.raises(ValueError, match="needs page"):
        Weights.model_validate({**by_hand().model_dump(), "source": {"kind": "hand"}})


def test_every_family_of_deepfillv2_is_in_the_catalogue() -> None:
    found = [one for one in read_catalogue().values() if one.kind == "deepfillv2"]
    assert {one.options["family"] for one in found} == set("ABCD")
    assert all(one.used_by == ("inpaint",) for one in found)


def test_the_wrapper_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    from affectflow.pipeline.weights.checkpoint import read_state_dict

    path = tmp_path / "both.pth"
    torch.save({"G": {"w": torch.ones(2)}, "D": {"v": torch.zeros(1)}, "n_iter": 3}, path)
    assert read_state_dict(path, ("state_dict", "G")).keys() == {"w"}
    with pytest.raises(WeightsError, match="no tensors: G, D, n_iter"):
        read_state_dict(path)
