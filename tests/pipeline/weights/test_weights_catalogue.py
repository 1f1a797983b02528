"""The catalogue, where files lie, and digests that are computed once."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from affectflow.pipeline import weights
from affectflow.pipeline.errors import ManifestError, MissingDependency, UsageError, WeightsError
from affectflow.pipeline.weights import Weights, digests
from affectflow.pipeline.weights.catalogue import read_catalogue
from affectflow.pipeline.weights.folder import home_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def entry(content: bytes = b"abc", **changes: object) -> Weights:
    values = {
        "name": "thing",
        "kind": "torchvision",
        "source": {"kind": "url", "base": "http://127.0.0.1:9/"},
        "files": [
            {
                "name": "a.bin",
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "licence": "MIT",
    }
    return Weights.model_validate(values | changes)


def test_every_entry_says_where_from_and_under_which_licence() -> None:
    found = read_catalogue()
    assert {"bert-base-uncased", "all-MiniLM-L6-v2", "clip-vit-b-32-openai", "rapidocr"} <= set(
        found
    )
    for one in found.values():
        assert one.licence
        assert bool(one.used_by) != one.note.startswith("Not read by anything here")
        assert one.origin


def test_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean bert-base-uncased"):
        weights.locate("bert-base-uncasd")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "", "a\\b"])
def test_file_names_stay_below_the_folder(name: str) -> None:
    with pytest.raises(ValueError, match="below the folder"):
        entry(files=[{"name": name}])


def test_source_must_be_complete() -> None:
    with pytest.raises(ValueError, match="needs repository"):
        entry(source={"kind": "hub"})


def test_a_damaged_catalogue_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    for text in ("- a\n- b\n", "x: {kind: nothing}\n", "a: [\n"):
        path.write_text(text)
        with pytest.raises(ManifestError, match=r"weights\.yaml"):
            read_catalogue(path)


def test_hub_addresses_follow_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    known = read_catalogue()["bert-base-uncased"]
    assert known.url_of(known.files[0]).startswith("https://huggingface.co/google-bert/")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert known.url_of(known.files[0]) == (
        "https://mirror.example/google-bert/bert-base-uncased/resolve/"
        "86b5e0934494bd15c9632b12f734a8a67f723594/config.json"
    )


def test_missing_and_incomplete_files_name_the_command(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing a\.bin.*pipeline weights fetch thing"):
        weights.locate(entry())
    (folder / "thing").mkdir(parents=True)
    (folder / "thing" / "a.bin").write_bytes(b"ab")
    with pytest.raises(WeightsError, match="has 2 bytes, not 3"):
        weights.locate(entry())


def test_wheel_that_is_not_installed() -> None:
    source = {
        "kind": "wheel",
        "distribution": "no-such",
        "package": "no_such_package",
        "extra": "ocr",
    }
    with pytest.raises(MissingDependency, match=r"pip install 'affectflow\[ocr\]'"):
        weights.locate(entry(source=source))


def test_wheel_files_are_found_without_importing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packed_model"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model" / "one_det.onnx").write_bytes(b"1")
    monkeypatch.syspath_prepend(tmp_path)
    source = {
        "kind": "wheel",
        "distribution": "packed",
        "package": "packed_model",
        "folder": "model",
    }
    wheel = entry(source=source, files=[{"name": "*det*.onnx"}])
    assert weights.locate(wheel) == package / "model"
    assert list(weights.identity_of(wheel)["files"]) == ["one_det.onnx"]
    with pytest.raises(WeightsError, match="pip install"):
        weights.locate(entry(source=source, files=[{"name": "*rec*.onnx"}]))


def test_identity_holds_digests_and_refuses_other_bytes(folder: Path) -> None:
    (folder / "thing").mkdir(parents=True)
    (folder / "thing" / "a.bin").write_bytes(b"abc")
    identity = weights.identity_of(entry())
    assert identity["files"] == {"a.bin": hashlib.sha256(b"abc").hexdigest()}
    assert json.loads(json.dumps(identity)) == identity
    (folder / "thing" / "a.bin").write_bytes(b"abd")
    with pytest.raises(WeightsError, match="has sha256"):
        weights.identity_of(entry())


def test_the_folder_is_no_part_of_the_identity(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("one", "two"):
        monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path / name))
        home = home_of(entry())
        home.mkdir(parents=True)
        (home / "a.bin").write_bytes(b"abc")
        found.append(weights.identity_of(entry()))
    assert found[0] == found[1]


def test_several_files_have_no_single_path(folder: Path) -> None:
    with pytest.raises(WeightsError, match="several files"):
        weights.locate_file("bert-base-uncased")


def test_digest_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "a.bin", tmp_path / "cache"
    path.write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert weights.digest_of(path, cache) == expected
    monkeypatch.setattr(digests, "_hash", lambda _: pytest.fail("hashed again"))
    assert weights.digest_of(path, cache) == expected


def test_digest_follows_the_content(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.bin", tmp_path / "cache"
    path.write_bytes(b"abc")
    before = path.stat()
    weights.digest_of(path, cache)
    path.write_bytes(b"abd")
    # Same size and the old modification time: what is left is the change time.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.digest_of(path, cache) == hashlib.sha256(b"abd").hexdigest()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": "short"}', "null"])
def test_a_damaged_cache_is_ignored(tmp_path: Path, text: str) -> None:
    path, cache = tmp_path / "a.bin", tmp_path / "cache"
    path.write_bytes(b"abc")
    weights.digest_of(path, cache)
    record = next(cache.glob("*.json"))
    record.write_text(text)
    assert weights.digest_of(path, cache) == hashlib.sha256(b"abc").hexdigest()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    (tmp_path / "file").write_text("in the way")
    found = weights.digest_of(path, tmp_path / "file" / "cache")
    assert found == hashlib.sha256(b"abc").hexdigest()


def test_many_threads_share_one_cache(tmp_path: Path) -> None:
    cache, found = tmp_path / "cache", []
    paths = [tmp_path / f"{i}.bin" for i in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 1000)

    def work() -> None:
        for _ in range(5):
            found.append(tuple(weights.digest_of(path, cache) for path in paths))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    assert len(found) == 40
    assert set(found) == {expected}
    assert len(list(cache.iterdir())) == len(paths)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.digest_of(tmp_path / "none")


@pytest.mark.parametrize("as_folder", [True, False])
def test_import_checks_and_copies(folder: Path, tmp_path: Path, as_folder: bool) -> None:
    got = tmp_path / "got"
    got.mkdir()
    (got / "a.bin").write_bytes(b"abc")
    source = got if as_folder else got / "a.bin"
    assert weights.import_file(entry(), source) == folder / "thing"
    assert (folder / "thing" / "a.bin").read_bytes() == b"abc"
    assert [one.state for one in weights.verify(entry())] == ["ok"]


def test_import_refuses_other_bytes_and_missing_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abd")
    with pytest.raises(WeightsError, match="nothing was imported"):
        weights.import_file(entry(), tmp_path / "a.bin")
    assert not (folder / "thing").exists()
    with pytest.raises(WeightsError, match=r"has no a\.bin"):
        weights.import_file(entry(), folder)


def test_verify_tells_missing_mismatch_and_changed(folder: Path, tmp_path: Path) -> None:
    assert [one.state for one in weights.verify(entry())] == ["missing"]
    home = folder / "thing"
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(b"abd")
    assert [one.state for one in weights.verify(entry())] == ["mismatch"]
    unpublished = entry(files=[{"name": "a.bin"}])
    assert [one.state for one in weights.verify(unpublished)] == ["unpublished"]
    (tmp_path / "a.bin").write_bytes(b"first")
    weights.import_file(unpublished, tmp_path / "a.bin")
    assert [one.state for one in weights.verify(unpublished)] == ["ok"]
    (home / "a.bin").write_bytes(b"later")
    assert [one.state for one in weights.verify(unpublished)] == ["changed"]


def test_a_short_file_without_digest_is_neither_imported_nor_right(
    folder: Path, tmp_path: Path
) -> None:
    sized = entry(files=[{"name": "a.bin", "size": 3}])
    (tmp_path / "a.bin").write_bytes(b"ab")
    with pytest.raises(WeightsError, match=r"has 2 bytes, expected 3 .*nothing was imported"):
        weights.import_file(sized, tmp_path / "a.bin")
    assert not (folder / "thing").exists()
    (folder / "thing").mkdir(parents=True)
    (folder / "thing" / "a.bin").write_bytes(b"ab")
    assert [one.state for one in weights.verify(sized)] == ["mismatch"]


def test_prefix_of_a_digest_is_checked(folder: Path) -> None:
    home = folder / "thing"
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(b"abc")
    right = hashlib.sha256(b"abc").hexdigest()[:8]
    assert weights.identity_of(entry(files=[{"name": "a.bin", "sha256_prefix": right}]))
    with pytest.raises(WeightsError, match="not 00000000"):
        weights.identity_of(entry(files=[{"name": "a.bin", "sha256_prefix": "0" * 8}]))


def test_status_of_everything_needs_no_file(folder: Path) -> None:
    found = {one.weights.name: one.to_json() for one in weights.statuses()}
    assert found["bert-base-uncased"]["present"] is False
    assert found["bert-base-uncased"]["hint"] == "pipeline weights fetch bert-base-uncased"
    assert not folder.exists()
