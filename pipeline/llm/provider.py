"""What a provider is, and the reply it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..records import Failure
from .request import Request


@dataclass(frozen=True, slots=True)
class Reply:
    """The final answer to one request.

    Attributes:
        raw: The text as the model wrote it.
        finish_reason: ``stop``, ``length``, ``content_filter``, …
        refusal: The model's own words when it refused in the way the API provides for that.
    """

    raw: str
    finish_reason: str = "stop"
    refusal: str = ""

    @staticmethod
    def of(record: Mapping[str, Any]) -> Reply:
        """Return the reply in a ledger record."""
        return Reply(
            record.get("raw") or "",
            record.get("finish_reason") or "stop",
            record.get("refusal") or "",
        )


class Provider(Protocol):
    """Answers requests.

    ``answer`` returns a `Reply` or a `Failure` for every request, by key. It raises
    `ProviderError` or `BudgetExceeded` when going on makes no sense; what was answered until then
    is in the ledger.
    """

    async def answer(self, requests: Sequence[Request]) -> Mapping[str, Reply | Failure]:
        """Answer every request."""
        ...
