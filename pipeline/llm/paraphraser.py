"""From captions to kept and dropped paraphrases: ledger, provider, parsing, repair, guards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import digest
from ..records import Failure
from .guards import GUARDS_VERSION, Decision, Guards
from .ledger import Ledger
from .parsing import Parsed, parse_reply
from .provider import Provider, Reply
from .request import Recipe, Request

Found = Reply | Failure


@dataclass(frozen=True, slots=True)
class Paraphraser:
    """Maps captions to table rows.

    A caption ends as one of these outcomes, or as a `Failure` that may be tried again:

    ``paraphrased`` · ``low_quality`` (made by rules) · ``all_dropped`` · ``declined`` (the model
    answered with an empty list) · ``refused`` · ``content_filter`` · ``cut_off`` · ``parse_failed``

    Attributes:
        recipe: What is asked.
        provider: Who is asked.
        ledger: Where replies are kept; None for the rules, which are free and repeatable.
        guards: What is kept.
        strict: Accept exactly ``n`` items only.
        writes_reviews: Whether decisions are written to the ledger; a replay only reads.
    """

    recipe: Recipe
    provider: Provider
    ledger: Ledger | None
    guards: Guards
    strict: bool = False
    writes_reviews: bool = True

    async def run(self, captions: Sequence[str]) -> list[Mapping[str, Any] | Failure]:
        """Return one row or failure per caption, in order.

        Raises:
            ProviderError: Going on makes no sense; what was answered is in the ledger.
        """
        unique = {caption: self.recipe.request(caption) for caption in dict.fromkeys(captions)}
        found = await self._answers(unique.values())
        repairs = {
            caption: self.recipe.request(caption, reply.raw)
            for caption, request in unique.items()
            if isinstance(reply := found[request.key], Reply) and self._needs_repair(reply)
        }
        found |= await self._answers(repairs.values())
        rows = {
            caption: self._row(caption, repairs.get(caption, request), found)
            for caption, request in unique.items()
        }
        if self.ledger is not None and self.writes_reviews:
            self.ledger.review(
                _review(row) for row in rows.values() if not isinstance(row, Failure)
            )
        return [rows[caption] for caption in captions]

    async def _answers(self, requests: Iterable[Request]) -> dict[str, Found]:
        wanted = {request.key: request for request in requests}
        found: dict[str, Found] = {}
        if self.ledger is not None and wanted:
            self.ledger.refresh()
            records = {key: self.ledger.answer(key) for key in wanted}
            found = {key: Reply.of(record) for key, record in records.items() if record}
        misses = [request for key, request in wanted.items() if key not in found]
        return found | dict(await self.provider.answer(misses)) if misses else found

    def _needs_repair(self, reply: Reply) -> bool:
        return not self._ended_early(reply) and bool(self._parse(reply).problem)

    def _parse(self, reply: Reply) -> Parsed:
        return parse_reply(reply.raw, self.recipe.n, self.strict)

    def _ended_early(self, reply: Reply) -> str:
        if reply.refusal:
            return "refused"
        early = {"length": "cut_off", "content_filter": "content_filter"}
        return early.get(reply.finish_reason, "")

    def _row(
        self, caption: str, request: Request, found: Mapping[str, Found]
    ) -> Mapping[str, Any] | Failure:
        reply = found[request.key]
        if isinstance(reply, Failure):
            return reply
        decisions: list[Decision] = []
        outcome = self._ended_early(reply)
        if not outcome:
            parsed = self._parse(reply)
            decisions = self.guards.decide(caption, parsed.items)
            outcome = self._outcome(parsed, decisions)
        return {
            "children": [
                {"index": entry.index, "text": entry.text}
                for entry in decisions
                if not entry.reason
            ],
            "dropped": [
                {"index": entry.index, "text": entry.text, "reason": entry.reason}
                for entry in decisions
                if entry.reason
            ],
            "outcome": outcome,
            "ledger_key": request.key,
        }

    def _outcome(self, parsed: Parsed, decisions: Sequence[Decision]) -> str:
        if parsed.problem:
            return "parse_failed"
        if not decisions:
            return "declined"
        if all(entry.reason for entry in decisions):
            return "all_dropped"
        return "low_quality" if self.recipe.service == "rules" else "paraphrased"


def _review(row: Mapping[str, Any]) -> dict[str, Any]:
    decisions = [{"index": entry["index"], "reason": ""} for entry in row["children"]]
    decisions += [{"index": entry["index"], "reason": entry["reason"]} for entry in row["dropped"]]
    return {
        "key": row["ledger_key"],
        "version": f"{GUARDS_VERSION}@{digest([row['outcome'], decisions], 8)}",
        "outcome": row["outcome"],
        "decisions": decisions,
    }
