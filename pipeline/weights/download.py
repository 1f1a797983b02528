"""One file over HTTP: resumed where it stopped, retried, and checked before it is used.

Bytes go to `<name>.part`; the server's version tag lies beside it, so that two versions of a file
are never joined. The part becomes the file only when its size and digest are right.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from ..errors import WeightsError
from .catalogue import WeightsFile

Progress = Callable[[str, int, int | None], None]

ATTEMPTS = 5
TIMEOUT_S = 60.0
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class _Interrupted(Exception):
    """The transfer stopped for a reason that may pass."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file to get.

    Attributes:
        url: Address, http or https.
        target: Where the file goes.
        file: What is known of it.
        backoff_s: Pause before the second attempt; doubles with each.
    """

    url: str
    target: Path
    file: WeightsFile
    backoff_s: float = 1.0

    @property
    def part(self) -> Path:
        """The bytes so far."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def tag(self) -> Path:
        """The server's version tag of those bytes."""
        return self.target.with_name(self.target.name + ".part.etag")


def download(job: Download, client: httpx.Client, progress: Progress | None = None) -> str:
    """Get one file and return its sha256.

    Raises:
        WeightsError: The server refuses, attempts are used up, or the bytes are not the published
            ones; the partial file is kept only when going on later makes sense.
    """
    if not job.url.startswith(("https://", "http://")):
        raise WeightsError(f"'{job.url}' is no http address")
    job.target.parent.mkdir(parents=True, exist_ok=True)
    cause = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(job.backoff_s * 2 ** (attempt - 1))
        try:
            _transfer(job, client, progress)
            return _accept(job)
        except (_Interrupted, httpx.TransportError) as error:
            cause = str(error) or type(error).__name__
        except OSError as error:
            raise WeightsError(f"'{job.part}' cannot be written: {error.strerror}") from None
    message = f"'{job.url}' could not be fetched in {ATTEMPTS} attempts: {cause}"
    raise WeightsError(message, "run the same command again: it goes on where it stopped")


def _transfer(job: Download, client: httpx.Client, progress: Progress | None) -> None:
    offset = _usable_bytes(job)
    if job.file.size is not None and offset == job.file.size:
        return
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if job.tag.is_file():
            headers["If-Range"] = job.tag.read_text()
    with client.stream("GET", job.url, headers=headers, follow_redirects=True) as response:
        _check_status(job, response)
        resumed = response.status_code == 206 and _starts_at(response, offset)
        if response.status_code == 206 and not resumed:
            job.part.unlink(missing_ok=True)
            raise _Interrupted("the server resumed at another byte than asked")
        _save_tag(job, response)
        _write(job, response, offset if resumed else 0, progress)


def _usable_bytes(job: Download) -> int:
    """Return the length of the part, after dropping one that cannot be continued."""
    offset = job.part.stat().st_size if job.part.is_file() else 0
    complete = job.file.size is not None and offset == job.file.size
    too_long = job.file.size is not None and offset > job.file.size
    # Without a tag only the digest can tell that two versions were joined.
    blind = not complete and not job.tag.is_file() and job.file.sha256 is None
    if offset and (too_long or blind):
        job.part.unlink()
        return 0
    return offset


def _check_status(job: Download, response: httpx.Response) -> None:
    status = response.status_code
    if status in {200, 206}:
        return
    if status == 416:
        job.part.unlink(missing_ok=True)
        raise _Interrupted("the partial file did not fit; starting over")
    if status in _TRANSIENT:
        raise _Interrupted(f"the server answered {status}")
    hint = "the address may have moved; get the file by hand, then: pipeline weights import"
    raise WeightsError(f"'{job.url}' answered {status}", hint)


def _starts_at(response: httpx.Response, offset: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _save_tag(job: Download, response: httpx.Response) -> None:
    tag = response.headers.get("ETag", "")
    # A weak tag does not promise equal bytes.
    if tag and not tag.startswith("W/"):
        job.tag.write_text(tag)
    else:
        job.tag.unlink(missing_ok=True)


def _write(job: Download, response: httpx.Response, offset: int, progress: Progress | None) -> None:
    remaining = response.headers.get("Content-Length")
    total = job.file.size or (offset + int(remaining) if remaining else None)
    done = offset
    with job.part.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        # Chunks as they come: collecting them to a size would lose the last when the line breaks.
        for chunk in response.iter_raw():
            file.write(chunk)
            done += len(chunk)
            if job.file.size is not None and done > job.file.size:
                break
            if progress is not None:
                progress(job.file.name, done, total)
        file.flush()
        os.fsync(file.fileno())


def _accept(job: Download) -> str:
    """Move the complete, right bytes to their place and return their sha256."""
    size = job.part.stat().st_size
    if job.file.size is not None and size < job.file.size:
        raise _Interrupted(f"got {size} of {job.file.size} bytes")
    with job.part.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    wrong_size = job.file.size is not None and size != job.file.size
    if wrong_size or not job.file.matches(sha256):
        job.part.unlink()
        job.tag.unlink(missing_ok=True)
        expected = job.file.published or f"{job.file.size} bytes"
        raise WeightsError(
            f"'{job.url}' has sha256 {sha256} ({size} bytes), expected {expected}",
            "nothing was kept; the source changed or was tampered with",
        )
    os.replace(job.part, job.target)
    job.tag.unlink(missing_ok=True)
    return sha256
