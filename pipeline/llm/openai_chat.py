"""The provider ``openai``: one call per caption, several at a time.

For each attempt: wait for the rate limits, reserve the most it can cost in the ledger, send,
settle. A reply is in the ledger before anything else happens to it. The ledger key travels as
``Idempotency-Key``: a server that honours it answers a repeated request without charging again; at
a server that does not, only a request whose reply was lost (timeout, broken connection, killed
sender) can be charged twice, and the ledger counts it at the most it can have cost.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import AffectflowError, BudgetExceeded, ProviderError
from ..records import Failure
from .ledger import BATCH_OWNER, Claim, Doubtful, Held, Ledger, Reservation
from .limits import Backoff, Limiter
from .link import Link, judge, preflight
from .provider import Reply
from .request import Request
from .settlement import Asked, Terms, completion_facts, facts_of
from .verdicts import Verdict

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_POLL_S = 0.05


@dataclass(slots=True)
class ChatProvider:
    """Direct calls; see the module."""

    link: Link
    model: str
    ledger: Ledger
    terms: Terms
    backoff: Backoff = field(default_factory=Backoff)
    limiter: Limiter = field(default_factory=Limiter)
    concurrency: int = 4
    random_source: random.Random = field(default_factory=random.Random)
    _checked: bool = False
    _stop: AffectflowError | None = None
    _failed_in_a_row: int = 0

    async def answer(self, requests: Sequence[Request]) -> dict[str, Reply | Failure]:
        """Answer every request; see `Provider`."""
        self.terms.require_confirmation(self.link.base_url)
        self._stop, self._failed_in_a_row = None, 0
        gate = asyncio.Semaphore(self.concurrency)
        async with self.link.client() as client:
            if not self._checked:
                await preflight(client, self.model)
                self._checked = True
            calls = (self._one(client, gate, request) for request in requests)
            # What is in flight is paid: it is waited for and recorded even when the run stops.
            results = await asyncio.gather(*calls, return_exceptions=True)
        if self._stop is not None:
            raise self._stop
        return {
            request.key: _raised(found) for request, found in zip(requests, results, strict=True)
        }

    async def _one(
        self, client: AsyncOpenAI, gate: asyncio.Semaphore, request: Request
    ) -> Reply | Failure:
        async with gate:
            try:
                result = await self._with_attempts(client, request)
            except AffectflowError as error:
                self._stop = self._stop or error
                raise
        return result

    async def _with_attempts(self, client: AsyncOpenAI, request: Request) -> Reply | Failure:
        verdict = Verdict("retry", "not_sent", "the request was not sent")
        for attempt in range(1, self.backoff.attempts + 1):
            await self.limiter.wait(request.likely_tokens)
            claim = await self._claim(request, attempt)
            if not isinstance(claim, Reservation):
                return claim
            found = await self._send(client, request, claim)
            if isinstance(found, Reply):
                self._failed_in_a_row = 0
                return found
            verdict = found
            if verdict.kind != "retry":
                break
            if attempt < self.backoff.attempts:
                await self._wait(verdict, attempt)
        return self._give_up(verdict)

    async def _claim(self, request: Request, attempt: int) -> Reservation | Reply | Failure:
        wanted = Reservation(
            id=uuid.uuid4().hex,
            key=request.key,
            owner=self.ledger.client,
            most=self.terms.most(request),
            provider="openai",
            model=self.model,
            attempt=attempt,
        )
        while True:
            if self._stop is not None:
                raise self._stop
            claim = self._try_claim(wanted)
            if claim is None:
                await asyncio.sleep(_POLL_S)
                continue
            if isinstance(claim, Reservation):
                return claim
            if isinstance(claim, dict):
                return Reply.of(claim)
            if isinstance(claim, Doubtful):
                return _doubtful(claim)
            if claim.owner.startswith(BATCH_OWNER):
                return _in_batch(claim)
            await asyncio.sleep(_POLL_S)

    def _try_claim(self, wanted: Reservation) -> Claim | None:
        """Claim; None when the budget may suffice once our requests in flight are settled."""
        try:
            return self.ledger.claim(wanted, self.terms.caps, self.terms.resend_lost)
        except BudgetExceeded:
            if self.ledger.open_reservations(self.ledger.client):
                return None
            raise

    async def _send(
        self, client: AsyncOpenAI, request: Request, held: Reservation
    ) -> Reply | Verdict:
        started = time.monotonic()
        try:
            response = await asyncio.wait_for(
                client.chat.completions.with_raw_response.create(
                    **request.body, extra_headers={"Idempotency-Key": request.key}
                ),
                self.link.timeout_s,
            )
            text, headers = self.link.scrub(response.text), response.headers
        except asyncio.CancelledError:
            self.ledger.settle([(held, {"status": "unknown", "cause": "interrupted"})])
            raise
        except Exception as error:  # judged: everything that is not the API's is raised again
            return self._refused(request, held, error)
        self.limiter.observe(headers, request.likely_tokens)
        facts = completion_facts(text, Asked.of(request), held.most, self.terms)
        facts["seconds"] = round(time.monotonic() - started, 3)
        return self._record(request, held, facts)

    def _refused(self, request: Request, held: Reservation, error: Exception) -> Reply | Verdict:
        try:
            verdict = judge(error)
        except BaseException:
            self.ledger.settle([(held, {"status": "unknown", "cause": type(error).__name__})])
            raise
        response = getattr(error, "response", None)
        if response is not None:
            self.limiter.observe(response.headers, request.likely_tokens)
        return self._record(request, held, facts_of(verdict, self.link), verdict)

    def _record(
        self,
        request: Request,
        held: Reservation,
        facts: dict[str, Any],
        verdict: Verdict | None = None,
    ) -> Reply | Verdict:
        self.ledger.settle([(held, facts)])
        if facts["status"] in {"answered", "rejected"}:
            return Reply.of(facts)
        return verdict or Verdict(
            "retry", "bad_response", facts["cause"], "check the base URL", charged=True
        )

    async def _wait(self, verdict: Verdict, attempt: int) -> None:
        asked = verdict.wait_s
        if asked is not None and asked > self.backoff.patience_s:
            raise ProviderError(
                f"the server asked to wait {asked:.0f} s, at most "
                f"{self.backoff.patience_s:.0f} s are waited",
                "run again later; what was answered is in the ledger",
            )
        if asked:
            self.limiter.pause(asked)
        await asyncio.sleep(self.backoff.wait_s(attempt, asked, self.random_source))

    def _give_up(self, verdict: Verdict) -> Failure:
        if verdict.kind == "stop":
            raise self.link.error(verdict)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= self.terms.stop_after:
            raise ProviderError(
                self.link.scrub(
                    f"{self._failed_in_a_row} captions in a row failed; last: {verdict.message}"
                ),
                verdict.hint,
            )
        return Failure(verdict.code, self.link.scrub(verdict.message), verdict.hint)


def _raised(result: Reply | Failure | BaseException) -> Reply | Failure:
    if isinstance(result, BaseException):
        raise result
    return result


def _doubtful(claim: Doubtful) -> Failure:
    return Failure(
        "unknown_charge",
        f"the request was lost in flight {claim.times} times and may have been paid each time",
        "raise paraphrase.resend_lost to send it again",
    )


def _in_batch(claim: Held) -> Failure:
    return Failure(
        "batch_pending",
        f"the request is part of {claim.owner.replace(':', ' ')}",
        "collect it with paraphrase.provider=openai-batch",
    )
