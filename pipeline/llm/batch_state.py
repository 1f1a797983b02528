"""What is on disk about batches: one state file, one request file, one result file per plan.

```
planned ─► uploaded ─► submitted ─► polling ─► downloaded ─► merged
```

Every step is written before the next one starts, so a killed process goes on where it stopped. A
plan's hash travels as metadata of the batch: when the reply to the submission was lost, the batch
is found by it instead of being paid again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from ..config import Config, canonical_json, digest
from ..errors import StoreError
from ..store.layout import written_whole
from .ledger import BATCH_OWNER
from .request import Request
from .settlement import Asked

ENDPOINT: Final = "/v1/chat/completions"
# The ledger key's first 32 digits name a line; results come back in any order.
ID_DIGITS = 32

Step = Literal["planned", "uploaded", "submitted", "polling", "downloaded", "merged"]
AT_SERVER = frozenset({"uploaded", "submitted", "polling"})


class BatchState(Config):
    """One batch.

    Attributes:
        plan: Hash of the keys, the server and the time of planning; 32 hex digits.
        step: What is done.
        created_s, submitted_s: Seconds since 1970.
        likely_tokens: Prompt tokens, for the server's limit on enqueued ones.
        requests: Key to what is remembered of the request.
        file_id, batch_id: Names at the server.
        last_status: What the server said last.
        problem: Why the server did not accept the batch.
    """

    plan: str
    step: Step
    base_url: str
    model: str
    created_s: float
    likely_tokens: int
    requests: Mapping[str, Asked]
    submitted_s: float = 0.0
    file_id: str = ""
    batch_id: str = ""
    last_status: str = ""
    problem: str = ""

    @property
    def owner(self) -> str:
        """The owner of this plan's reservations."""
        return f"{BATCH_OWNER}{self.plan}"


class BatchLimits(Config):
    """Bounds of one file and of waiting.

    Attributes:
        max_requests, max_bytes: Of one file.
        max_enqueued_tokens: Prompt tokens at the server at a time; None for no limit.
        wait_s: Seconds to wait for results in one run before rows are left as pending.
        first_poll_s, longest_poll_s: Growing pause between looks.
        deadline_s: Seconds after submission at which a batch is given up.
    """

    max_requests: int = Field(default=50_000, ge=1)
    max_bytes: int = Field(default=200_000_000, ge=1)
    max_enqueued_tokens: int | None = Field(default=None, ge=1)
    wait_s: float = Field(default=3000.0, ge=0)
    first_poll_s: float = Field(default=30.0, gt=0)
    longest_poll_s: float = Field(default=600.0, gt=0)
    deadline_s: float = Field(default=26 * 3600.0, gt=0)


class BatchFolder:
    """State, request and result files below ``<ledger>/batches``."""

    def __init__(self, ledger_folder: Path) -> None:
        self.folder = ledger_folder / "batches"

    def plan(self, requests: Sequence[Request], base_url: str, model: str) -> BatchState:
        """Write the request file and the state ``planned``."""
        created_s = time.time()
        keys = [request.key for request in requests]
        state = BatchState(
            plan=digest([sorted(keys), base_url, created_s], ID_DIGITS),
            step="planned",
            base_url=base_url,
            model=model,
            created_s=created_s,
            likely_tokens=sum(request.most_input // 3 for request in requests),
            requests={request.key: Asked.of(request) for request in requests},
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.request_file(state.plan), b"".join(request_line(entry) for entry in requests))
        self.save(state)
        return state

    def save(self, state: BatchState) -> BatchState:
        """Write a state whole, and return it."""
        _write(self._file(state.plan), canonical_json(state.model_dump(mode="json")).encode())
        return state

    def load(self, plan: str) -> BatchState | None:
        """Return the state of a plan, None when there is none.

        Raises:
            StoreError: The file is damaged.
        """
        try:
            return BatchState.model_validate_json(self._file(plan).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise StoreError(f"batch state '{plan}.json' cannot be read: {error}") from None

    def forget(self, plan: str) -> None:
        """Remove a plan that was never reserved."""
        self._file(plan).unlink(missing_ok=True)
        self.request_file(plan).unlink(missing_ok=True)

    def active(self) -> list[BatchState]:
        """Return all states that are not merged, oldest first."""
        plans = sorted(path.stem for path in self.folder.glob("*.json"))
        states = [state for plan in plans if (state := self.load(plan)) is not None]
        open_ones = [state for state in states if state.step != "merged"]
        return sorted(open_ones, key=lambda state: (state.created_s, state.plan))

    def request_file(self, plan: str) -> Path:
        """Return the path of the lines to upload."""
        return self.folder / f"{plan}.requests.jsonl"

    def save_results(self, plan: str, parts: Sequence[bytes]) -> None:
        """Write the downloaded lines whole."""
        _write(self.folder / f"{plan}.results.jsonl", b"\n".join(parts))

    def results(self, plan: str) -> Iterator[dict[str, Any]]:
        """Yield the downloaded lines; a line that is no JSON object is left out."""
        with open(self.folder / f"{plan}.results.jsonl", "rb") as handle:
            for line in handle:
                with contextlib.suppress(ValueError):
                    value = json.loads(line)
                    if isinstance(value, dict):
                        yield value

    @contextlib.contextmanager
    def driving(self, plan: str) -> Iterator[bool]:
        """Try to be the only process that moves a plan forward; yields whether it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{plan}.lock", "ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _file(self, plan: str) -> Path:
        return self.folder / f"{plan}.json"


def request_line(request: Request) -> bytes:
    """Return the line of a batch file that asks ``request``."""
    line = {
        "custom_id": request.key[:ID_DIGITS],
        "method": "POST",
        "url": ENDPOINT,
        "body": dict(request.body),
    }
    return canonical_json(line).encode() + b"\n"


def split(requests: Sequence[Request], limits: BatchLimits) -> list[list[Request]]:
    """Return the requests in parts that fit one file and the enqueued-token limit each."""
    parts: list[list[Request]] = []
    size = tokens = 0
    for request in requests:
        length, likely = len(request_line(request)), request.most_input // 3
        full = (
            not parts
            or len(parts[-1]) >= limits.max_requests
            or size + length > limits.max_bytes
            or tokens + likely > (limits.max_enqueued_tokens or tokens + likely)
        )
        if full:
            parts.append([])
            size = tokens = 0
        parts[-1].append(request)
        size, tokens = size + length, tokens + likely
    return parts


def _write(path: Path, data: bytes) -> None:
    with written_whole(path) as temporary:
        temporary.write_bytes(data)
