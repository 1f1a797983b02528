"""The provider ``openai-batch``: batch files at half the price, answered within a day.

A run submits what is missing, waits for a while and leaves the rest pending; the next run collects
it. Each request is reserved in the ledger under its plan before the file goes out, and settled when
its line came back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import AffectflowError, BudgetExceeded, ProviderError
from ..records import Failure
from .batch_state import AT_SERVER, ENDPOINT, ID_DIGITS, BatchFolder, BatchLimits, BatchState, split
from .budget import Usage
from .ledger import BATCH_OWNER, Doubtful, Held, Ledger, Reservation
from .limits import Backoff
from .link import Link, judge, preflight
from .provider import Reply
from .request import Request
from .settlement import Terms, completion_facts, facts_of
from .verdicts import Verdict, of_status

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_LOG = logging.getLogger(__name__)
_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
_ENDED = frozenset({"completed", "expired", "cancelled", "failed"})
_MERGE_ROWS = 1000
# Files may take this many times longer than other calls.
_FILE_PATIENCE = 20.0

Result = TypeVar("Result")


@dataclass(slots=True)
class BatchProvider:
    """Batch files; see the module."""

    link: Link
    model: str
    ledger: Ledger
    terms: Terms
    folder: BatchFolder
    limits: BatchLimits = field(default_factory=BatchLimits)
    backoff: Backoff = field(default_factory=Backoff)
    random_source: random.Random = field(default_factory=random.Random)
    _problems: dict[str, Failure] = field(default_factory=dict)
    _entry: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stop: AffectflowError | None = None

    async def answer(self, requests: Sequence[Request]) -> dict[str, Reply | Failure]:
        """Answer every request; see `Provider`. What is not back in time fails as pending."""
        self.terms.require_confirmation(self.link.base_url)
        # A lock belongs to one event loop, and each call may have its own.
        self._problems, self._stop, self._entry = {}, None, asyncio.Lock()
        async with self.link.client() as client:
            plans = await self._plans(client, requests)
            until = time.monotonic() + self.limits.wait_s
            drives = (self._drive(client, plan, until) for plan in plans)
            results = await asyncio.gather(*drives, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if self._stop is not None:
            raise self._stop
        self.ledger.refresh()
        return {request.key: self._found(request) for request in requests}

    def _found(self, request: Request) -> Reply | Failure:
        record = self.ledger.answer(request.key)
        if record is not None:
            return Reply.of(record)
        return self._problems.get(request.key) or Failure(
            "batch_pending",
            "the batch with this request is not finished",
            "collect it later: pipeline retry --only batch_pending",
        )

    async def _plans(self, client: AsyncOpenAI, requests: Sequence[Request]) -> list[str]:
        """Return the plans that hold the requests, new ones included."""
        with self.ledger.writing():
            plans, fresh = self._sort(requests)
        if fresh:
            await preflight(client, self.model)
            with self.ledger.writing():
                # Another process may have planned some of them meanwhile.
                more, fresh = self._sort(fresh)
                plans |= more
                for part in split(self._affordable(fresh), self.limits):
                    plans.add(self._reserve(part))
        return sorted(plans)

    def _sort(self, requests: Sequence[Request]) -> tuple[set[str], list[Request]]:
        self._drop_half_planned()
        plans: set[str] = set()
        fresh = []
        for request in requests:
            standing = self.ledger.standing(request.key, self.terms.resend_lost)
            if standing is None:
                fresh.append(request)
            elif isinstance(standing, Held) and standing.owner.startswith(BATCH_OWNER):
                plans.add(standing.owner.removeprefix(BATCH_OWNER))
            elif isinstance(standing, Held):
                self._problems[request.key] = Failure(
                    "in_flight_elsewhere", "another process is asking this", "run again"
                )
            elif isinstance(standing, Doubtful):
                self._problems[request.key] = Failure(
                    "unknown_charge",
                    f"the request was lost in flight {standing.times} times",
                    "raise paraphrase.resend_lost to send it again",
                )
        return plans, fresh

    def _drop_half_planned(self) -> None:
        """Forget plans whose process died before all of their requests were reserved."""
        for state in self.folder.active():
            held = self.ledger.open_reservations(state.owner)
            if state.step == "planned" and len(held) < len(state.requests):
                facts = {"status": "released", "cause": "the batch was never submitted"}
                self.ledger.settle([(entry, facts) for entry in held])
                self.folder.forget(state.plan)

    def _affordable(self, requests: Sequence[Request]) -> list[Request]:
        """Return the requests from the front that surely fit the budget."""
        wanted = Usage()
        for count, request in enumerate(requests):
            wanted += self.terms.most(request, batch=True)
            try:
                self.terms.caps.check(self.ledger.used(), wanted)
            except BudgetExceeded as error:
                self._stop = error
                return list(requests[:count])
        return list(requests)

    def _reserve(self, part: Sequence[Request]) -> str:
        state = self.folder.plan(part, self.link.base_url, self.model)
        reservations = [
            Reservation(
                id=f"{state.plan}:{request.key[:ID_DIGITS]}",
                key=request.key,
                owner=state.owner,
                most=self.terms.most(request, batch=True),
                provider="openai-batch",
                model=self.model,
            )
            for request in part
        ]
        try:
            self.ledger.reserve(reservations, self.terms.caps)
        except AffectflowError:
            self.folder.forget(state.plan)
            raise
        return state.plan

    async def _drive(self, client: AsyncOpenAI, plan: str, until: float) -> None:
        """Move one plan forward until it is merged or the time is up."""
        pause_s = self.limits.first_poll_s
        while True:
            with self.folder.driving(plan) as alone:
                if alone and await self._steps(client, plan):
                    return
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, self.limits.longest_poll_s)

    async def _steps(self, client: AsyncOpenAI, plan: str) -> bool:
        """Take every step that needs no waiting; return whether nothing is left to do."""
        state = self.folder.load(plan)
        if state is None:
            raise ProviderError(
                f"the ledger names batch {plan}, whose state file is gone",
                "restore <store>/llm/batches from a copy",
            )
        if state.step == "planned":
            async with self._entry:
                if not self._room_for(state):
                    return False
                state = await self._upload(client, state)
        if state.step == "uploaded":
            state = await self._submit(client, state)
        if state.step in {"submitted", "polling"}:
            state = await self._look(client, state)
        if state.step == "downloaded":
            state = self._merge(state)
        return state.step == "merged"

    def _room_for(self, state: BatchState) -> bool:
        limit = self.limits.max_enqueued_tokens
        if limit is None:
            return True
        others = [other for other in self.folder.active() if other.step in AT_SERVER]
        enqueued = sum(other.likely_tokens for other in others)
        # A part that is larger than the limit by itself goes alone.
        return not others or enqueued + state.likely_tokens <= limit

    async def _upload(self, client: AsyncOpenAI, state: BatchState) -> BatchState:
        lines = self.folder.request_file(state.plan).read_bytes()
        name = f"{state.plan}.jsonl"
        made = await self._call(
            lambda: client.files.create(file=(name, lines), purpose="batch"), _FILE_PATIENCE
        )
        update = {"step": "uploaded", "file_id": made.id}
        return self.folder.save(state.model_copy(update=update))

    async def _submit(self, client: AsyncOpenAI, state: BatchState) -> BatchState:
        async def find_or_create() -> str:
            # The reply to an earlier submission may have been lost; never submit a plan twice.
            async for batch in client.batches.list(limit=100):
                if (batch.metadata or {}).get("plan") == state.plan:
                    return str(batch.id)
            made = await client.batches.create(
                input_file_id=state.file_id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={"plan": state.plan},
            )
            return str(made.id)

        batch_id = await self._call(find_or_create)
        update = {"step": "submitted", "batch_id": batch_id, "submitted_s": time.time()}
        return self.folder.save(state.model_copy(update=update))

    async def _look(self, client: AsyncOpenAI, state: BatchState) -> BatchState:
        batch = await self._call(lambda: client.batches.retrieve(state.batch_id))
        status = str(batch.status)
        if status not in _RUNNING | _ENDED and status != state.last_status:
            _LOG.warning("batch %s has the unknown status '%s'", state.batch_id, status)
        if status != state.last_status or state.step == "submitted":
            update = {"step": "polling", "last_status": status, "problem": _complaint(batch)}
            state = self.folder.save(state.model_copy(update=update))
        late = time.time() - state.submitted_s > self.limits.deadline_s
        if status not in _ENDED and not late:
            return state
        if status not in _ENDED:
            state = state.model_copy(update={"last_status": "overdue"})
        parts = [
            await self._download(client, file_id)
            for file_id in (batch.output_file_id, batch.error_file_id)
            if file_id
        ]
        self.folder.save_results(state.plan, parts)
        return self.folder.save(state.model_copy(update={"step": "downloaded"}))

    async def _download(self, client: AsyncOpenAI, file_id: str) -> bytes:
        response = await self._call(lambda: client.files.content(file_id), _FILE_PATIENCE)
        text = bytes(response.content).decode("utf-8", "replace")
        return self.link.scrub(text).encode()

    def _merge(self, state: BatchState) -> BatchState:
        """Settle every request of the plan; doing it twice changes nothing."""
        self.ledger.refresh()
        held = {entry.key: entry for entry in self.ledger.open_reservations(state.owner)}
        keys = {key[:ID_DIGITS]: key for key in held}
        settled: list[tuple[Reservation, Mapping[str, Any]]] = []
        for line in self.folder.results(state.plan):
            key = keys.pop(str(line.get("custom_id")), None)
            if key is not None:
                settled.append((held[key], self._line_facts(line, state, held[key])))
        for key in keys.values():
            settled.append((held[key], self._missing_facts(state, key)))
        for start in range(0, len(settled), _MERGE_ROWS):
            self.ledger.settle(settled[start : start + _MERGE_ROWS])
        return self.folder.save(state.model_copy(update={"step": "merged"}))

    def _line_facts(
        self, line: Mapping[str, Any], state: BatchState, held: Reservation
    ) -> dict[str, Any]:
        response = line.get("response")
        response = response if isinstance(response, dict) else {}
        status, body = response.get("status_code"), response.get("body")
        if status == 200:
            asked = state.requests[held.key]
            facts = completion_facts(json.dumps(body), asked, held.most, self.terms, batch=True)
            if facts["status"] == "answered":
                return facts
            verdict = Verdict("row", "bad_response", facts["cause"], charged=True)
        else:
            number = status if isinstance(status, int) else 0
            verdict = of_status(number, body or line.get("error") or {}, {})
        if verdict.kind == "stop":
            self._stop = self._stop or self.link.error(verdict)
        if verdict.kind != "filtered":
            message = self.link.scrub(verdict.message)
            self._problems[held.key] = Failure("batch_line_failed", message, "run again")
        return facts_of(verdict, self.link)

    def _missing_facts(self, state: BatchState, key: str) -> dict[str, Any]:
        ended = state.last_status
        code = {"completed": "batch_line_missing"}.get(ended, f"batch_{ended}")
        message = f"the batch ended as '{ended}' without this request {state.problem}".strip()
        self._problems[key] = Failure(code, message, "run again: only what is missing is sent")
        # Work that a batch did not finish is free; for these two nobody can say.
        status = "unknown" if ended in {"overdue", "completed"} else "released"
        return {"status": status, "cause": f"{code}: {message}"}

    async def _call(
        self, function: Callable[[], Awaitable[Result]], patience: float = 1.0
    ) -> Result:
        """Call the server, again after errors that pass."""
        for attempt in range(1, self.backoff.attempts + 1):
            try:
                return await asyncio.wait_for(function(), patience * self.link.timeout_s)
            except Exception as error:  # judged: everything that is not the API's is raised again
                verdict = judge(error)
            if verdict.kind != "retry" or attempt == self.backoff.attempts:
                break
            asked_s = min(verdict.wait_s or 0.0, self.backoff.patience_s)
            await asyncio.sleep(self.backoff.wait_s(attempt, asked_s, self.random_source))
        raise self.link.error(verdict)


def _complaint(batch: Any) -> str:
    """Return the first error of a batch that the server did not accept."""
    entries = getattr(getattr(batch, "errors", None), "data", None) or []
    return str(entries[0].message or "")[:300] if entries else ""
