"""Downloads from a server that misbehaves: cut off, tampered with, resumed, gone, overloaded."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from affectflow.pipeline import weights
from affectflow.pipeline.errors import WeightsError
from affectflow.pipeline.weights import Weights

CONTENT = bytes(range(256)) * 4096
RIGHT = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does; every request is recorded as (path, range)."""

    content: bytes = CONTENT
    etag: str = '"v1"'
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lie_about_range: bool = False


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        plan = self.behaviour
        asked = self.headers.get("Range", "")
        plan.requests.append((self.path, asked))
        if plan.statuses:
            self.send_response(plan.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        fresh = self.headers.get("If-Range", plan.etag) == plan.etag
        if not plan.ranges or not fresh:
            start = 0
        body = plan.content[start:]
        self.send_response(206 if start else 200)
        if start:
            told = start + 5 if plan.lie_about_range else start
            size = len(plan.content)
            self.send_header("Content-Range", f"bytes {told}-{size - 1}/{size}")
        if plan.etag:
            self.send_header("ETag", plan.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        limit = plan.cut_after.pop(0) if plan.cut_after else len(body)
        self.wfile.write(body[:limit])
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()
    handler = type("BoundHandler", (Handler,), {"behaviour": behaviour})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}/files", behaviour
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path / "weights"))
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "weights"


def entry(base: str, **known: object) -> Weights:
    file = {"name": "model.bin", "size": len(CONTENT), "sha256": RIGHT} | known
    return Weights.model_validate(
        {
            "name": "thing",
            "kind": "torchvision",
            "source": {"kind": "url", "base": base},
            "files": [file],
            "licence": "MIT",
        }
    )


def fetch(wanted: Weights) -> Path:
    return weights.fetch(wanted, backoff_s=0.001) / "model.bin"


def test_fetch_and_progress(server: tuple[str, Behaviour], folder: Path) -> None:
    base, plan = server
    seen: list[tuple[str, int, int | None]] = []
    weights.fetch(entry(base), lambda *values: seen.append(values))
    assert (folder / "thing" / "model.bin").read_bytes() == CONTENT
    assert seen[-1] == ("model.bin", len(CONTENT), len(CONTENT))
    assert plan.requests == [("/files/model.bin", "")]
    assert [path.name for path in (folder / "thing").iterdir()] == ["model.bin"]


def test_what_is_there_is_not_fetched_again(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    fetch(entry(base))
    fetch(entry(base))
    assert len(plan.requests) == 1


def test_damaged_file_is_fetched_again(server: tuple[str, Behaviour], folder: Path) -> None:
    base, _ = server
    path = fetch(entry(base))
    path.write_bytes(b"x" * len(CONTENT))
    assert fetch(entry(base)).read_bytes() == CONTENT


def test_cut_off_transfers_go_on_where_they_stopped(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    plan.cut_after = [300_000, 100_000]
    assert fetch(entry(base)).read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for _, asked in plan.requests]
    assert starts == [0, 300_000, 400_000]


def test_a_later_run_goes_on_too(server: tuple[str, Behaviour], folder: Path) -> None:
    base, plan = server
    plan.cut_after = [200_000, 0, 0, 0, 0]
    with pytest.raises(WeightsError, match="goes on where it stopped"):
        fetch(entry(base))
    assert (folder / "thing" / "model.bin.part").stat().st_size == 200_000
    assert not (folder / "thing" / "model.bin").exists()
    assert fetch(entry(base)).read_bytes() == CONTENT
    assert plan.requests[-1][1] == "bytes=200000-"


def test_a_new_version_on_the_server_is_never_joined_with_the_old(
    server: tuple[str, Behaviour], folder: Path
) -> None:
    base, plan = server
    wanted = entry(base, sha256=None, size=None)
    plan.cut_after = [200_000, 0, 0, 0, 0]
    with pytest.raises(WeightsError):
        fetch(wanted)
    plan.content, plan.etag = CONTENT[::-1], '"v2"'
    assert fetch(wanted).read_bytes() == CONTENT[::-1]


def test_server_without_ranges_or_tags(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    plan.ranges, plan.etag = False, ""
    plan.cut_after = [300_000]
    assert fetch(entry(base, sha256=None)).read_bytes() == CONTENT
    assert [asked for _, asked in plan.requests] == ["", ""]


def test_server_that_resumes_elsewhere(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    plan.cut_after, plan.lie_about_range = [300_000], True
    assert fetch(entry(base)).read_bytes() == CONTENT
    assert [asked for _, asked in plan.requests] == ["", "bytes=300000-", ""]


@pytest.mark.parametrize(
    "known", [{}, {"size": None}, {"sha256": None, "sha256_prefix": RIGHT[:8]}]
)
def test_tampered_bytes_are_never_used(
    server: tuple[str, Behaviour], folder: Path, known: dict[str, object]
) -> None:
    base, plan = server
    plan.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightsError, match="nothing was kept"):
        fetch(entry(base, **known))
    assert list((folder / "thing").iterdir()) == []


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-7]])
def test_wrong_length_is_refused(
    server: tuple[str, Behaviour], folder: Path, content: bytes
) -> None:
    base, plan = server
    plan.content = content
    with pytest.raises(WeightsError):
        fetch(entry(base))
    assert not (folder / "thing" / "model.bin").exists()


def test_not_found_is_said_at_once(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    plan.statuses = [404]
    with pytest.raises(WeightsError, match="answered 404"):
        fetch(entry(base))
    assert len(plan.requests) == 1


def test_overload_is_waited_for(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    plan.statuses = [503, 429, 500]
    assert fetch(entry(base)).read_bytes() == CONTENT
    assert len(plan.requests) == 4


def test_overload_that_does_not_end(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    plan.statuses = [503] * 9
    with pytest.raises(WeightsError, match="5 attempts: the server answered 503"):
        fetch(entry(base))
    assert len(plan.requests) == 5


def test_partial_file_that_does_not_fit(server: tuple[str, Behaviour], folder: Path) -> None:
    base, plan = server
    (folder / "thing").mkdir(parents=True)
    (folder / "thing" / "model.bin.part").write_bytes(b"x" * 10)
    plan.statuses = [416]
    assert fetch(entry(base)).read_bytes() == CONTENT


def test_nobody_there() -> None:
    with pytest.raises(WeightsError, match="could not be fetched"):
        fetch(entry("http://127.0.0.1:9/"))


@pytest.mark.parametrize("base", ["ftp://host/x", "file:///etc", "/local"])
def test_other_schemes_are_refused(base: str) -> None:
    with pytest.raises(WeightsError, match="no http address"):
        fetch(entry(base))


def test_unpublished_digest_is_recorded_at_first_sight(
    server: tuple[str, Behaviour], folder: Path
) -> None:
    base, _ = server
    wanted = entry(base, sha256=None, size=None)
    path = fetch(wanted)
    assert [one.state for one in weights.verify(wanted)] == ["ok"]
    path.write_bytes(b"other")
    assert [one.state for one in weights.verify(wanted)] == ["changed"]
    assert fetch(wanted).read_bytes() == CONTENT


def test_a_source_that_changed_is_not_taken_for_the_first_seen(
    server: tuple[str, Behaviour], folder: Path
) -> None:
    base, plan = server
    wanted = entry(base, sha256=None, size=None)
    fetch(wanted).unlink()
    plan.content, plan.etag = b"another file", '"v2"'
    with pytest.raises(WeightsError, match="when it was first fetched"):
        fetch(wanted)
    assert [one.state for one in weights.verify(wanted)] == ["missing"]


def test_two_fetches_at_once_download_once(server: tuple[str, Behaviour]) -> None:
    base, plan = server
    threads = [threading.Thread(target=fetch, args=(entry(base),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plan.requests) == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="AFFECTFLOW_WEIGHTS"):
        fetch(entry("http://127.0.0.1:9/"))
