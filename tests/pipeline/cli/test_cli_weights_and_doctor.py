"""`pipeline weights` and `pipeline doctor` as a user calls them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from affectflow.pipeline.cli import doctor, weights
from affectflow.pipeline.errors import UsageError, WeightsError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def invoke(app: typer.Typer, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_list_as_table_and_as_json(folder: Path) -> None:
    assert "bert-base-uncased" in invoke(weights.app, "list")
    values = json.loads(invoke(weights.app, "list", "--json"))
    assert values["folder"] == str(folder)
    names = {one["name"]: one for one in values["weights"]}
    assert names["clip-vit-b-32-openai"]["present"] is False
    assert names["clip-vit-b-32-openai"]["bytes"] == 605143284


def test_import_refuses_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"not it")
    with pytest.raises(WeightsError, match="not the published file"):
        invoke(weights.app, "import", "clip-vit-b-32-openai", str(tmp_path))


def test_import_and_verify_a_file_without_published_digest(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affectflow.pipeline.weights import catalogue as module

    text = (
        "mine:\n  kind: torchvision\n  source: {kind: url, base: 'http://127.0.0.1:9/'}\n"
        "  files: [{name: m.pth}]\n  licence: MIT\n"
    )
    (tmp_path / "weights.yaml").write_text(text)
    monkeypatch.setattr(module, "CATALOGUE_FILE", tmp_path / "weights.yaml")
    (tmp_path / "m.pth").write_bytes(b"abc")
    invoke(weights.app, "import", "mine", str(tmp_path / "m.pth"))
    found = json.loads(invoke(weights.app, "verify", "mine", "--json"))
    assert [one["state"] for one in found["mine"]] == ["ok"]
    (folder / "mine" / "m.pth").write_bytes(b"abd")
    assert "changed" in invoke(weights.app, "verify", code=3)


def states(name: str) -> tuple[str, bool]:
    values = json.loads(invoke(weights.app, "list", "--json"))["weights"]
    return next((one["state"], one["present"]) for one in values if one["name"] == name)


def test_list_and_verify_tell_missing_short_and_wrong(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affectflow.pipeline.weights import catalogue as module

    text = (
        "mine:\n  kind: torchvision\n  source: {kind: url, base: 'http://127.0.0.1:9/'}\n"
        f"  files: [{{name: m.pth, size: 3, sha256: {hashlib.sha256(b'abc').hexdigest()}}}]\n"
        "  licence: MIT\n"
    )
    (tmp_path / "weights.yaml").write_text(text)
    monkeypatch.setattr(module, "CATALOGUE_FILE", tmp_path / "weights.yaml")
    assert states("mine") == ("missing", False)
    assert json.loads(invoke(weights.app, "verify", "--json")) == {}
    (folder / "mine").mkdir(parents=True)
    file = folder / "mine" / "m.pth"
    for content, state in ((b"ab", "wrong size"), (b"abd", "wrong digest")):
        file.write_bytes(content)
        assert states("mine") == (state, False)
        assert state in " ".join(invoke(weights.app, "list").split())
        # Without a name everything that is there is checked, above all what cannot be used.
        found = json.loads(invoke(weights.app, "verify", "--json", code=3))
        assert [one["state"] for one in found["mine"]] == ["mismatch"]
    file.write_bytes(b"abc")
    assert states("mine") == ("present", True)
    assert json.loads(invoke(weights.app, "verify", "--json"))["mine"][0]["state"] == "ok"


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        invoke(weights.app, "verify", "bert-base")


def test_doctor_as_table_and_as_json(tmp_path: Path) -> None:
    table = invoke(doctor.app, "--store", str(tmp_path / "store"))
    assert "Python".lower() in table.lower()
    found = json.loads(invoke(doctor.app, "--store", str(tmp_path / "store"), "--json"))
    assert set(found) == {"machine", "extras", "weights", "store"}
    assert found["store"]["writable"] is True
    assert found["store"]["exists"] is False
    assert not (tmp_path / "store").exists()
    core = next(one for one in found["extras"] if one["extra"] == "core")
    assert core["usable"] is True
    assert {"numpy", "pyarrow"} <= {one["name"] for one in core["packages"]}


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "required_packages", lambda: {"clip": {"no-such-package": ">=1", "numpy": ">=99"}}
    )
    (clip,) = doctor._extras()
    assert clip["usable"] is False
    assert clip["hint"] == "pip install 'affectflow[clip]'"
    assert [one["usable"] for one in clip["packages"]] == [False, False]


def test_extras_of_our_own_are_resolved() -> None:
    found = doctor.required_packages()
    assert "torch" in found["bert"]
    assert "transformers" in found["offline"]
    assert "affectflow" not in found["offline"]


def test_a_store_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = doctor._store(tmp_path / "file" / "store")
    assert found["writable"] is False
    assert "not a folder" in found["problem"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom affectflow.pipeline.cli import doctor, weights\n"
        "heavy = {'torch', 'httpx', 'yaml', 'numpy'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
