"""Terms under which a request may be paid, and what is written about it afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ProviderError
from .budget import Caps, Price, Usage
from .link import Link
from .parsing import parse_reply
from .request import Request
from .verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which conditions requests may be paid.

    Attributes:
        confirmed: Whether the user agreed to send captions and to pay.
        caps: Hard limits.
        price: None when unknown; costs are then recorded as zero.
        resend_lost: How often a request whose sender was killed is sent again.
        stop_after: Consecutive captions that failed at the server before the run stops.
    """

    confirmed: bool = False
    caps: Caps = Caps()
    price: Price | None = None
    resend_lost: int = 1
    stop_after: int = 5

    def most(self, request: Request, batch: bool = False) -> Usage:
        """Return the most that ``request`` can cost."""
        return self.usage(request.most_input, request.most_output, batch)

    def usage(self, input_tokens: int, output_tokens: int, batch: bool = False) -> Usage:
        """Return the usage of one request with these tokens."""
        cost = self.price.cost(input_tokens, output_tokens, batch) if self.price else 0.0
        return Usage(1, input_tokens, output_tokens, cost)

    def require_confirmation(self, base_url: str) -> None:
        """Refuse to pay before the user agreed.

        Raises:
            ProviderError: ``confirm_paid`` is not set.
        """
        if not self.confirmed:
            raise ProviderError(
                f"captions would be sent to {base_url} and may be charged, which was not confirmed",
                "look at `pipeline llm estimate`, then --set paraphrase.confirm_paid=true",
            )


def facts_of(verdict: Verdict, link: Link) -> dict[str, Any]:
    """Return the settlement of a request that brought no reply."""
    cause = link.scrub(f"{verdict.code}: {verdict.message}")
    if verdict.kind == "filtered":
        return {"status": "rejected", "cause": cause, "finish_reason": "content_filter"}
    return {"status": "unknown" if verdict.charged else "released", "cause": cause}


def completion_facts(
    text: str, request: Request, terms: Terms, batch: bool = False
) -> dict[str, Any]:
    """Return the settlement of a chat completion.

    Args:
        text: Body of the response.
        request: What was asked.
        terms: For the cost.
        batch: Whether the batch price applies.
    """
    try:
        value = json.loads(text)
        choice = value["choices"][0]
        message = choice["message"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return {"status": "unknown", "cause": "the response is not a chat completion"}
    raw = message.get("content")
    raw = raw if isinstance(raw, str) else ""
    parsed = parse_reply(raw, request.n)
    usage, estimated = _usage(value.get("usage"), request, terms, batch)
    return {
        "status": "answered",
        "raw": raw,
        "parsed": list(parsed.items),
        "finish_reason": choice.get("finish_reason") or "stop",
        "refusal": message.get("refusal") or "",
        "model_returned": value.get("model") or "",
        "usage_estimated": estimated,
        "caption_bytes": len(request.caption.encode("utf-8", "replace")),
        "charge": usage,
    }


def _usage(value: Any, request: Request, terms: Terms, batch: bool) -> tuple[Usage, bool]:
    """Return the server's own count, or the upper bound when it gave none."""
    counts: Mapping[str, Any] = value if isinstance(value, dict) else {}
    got, made = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if isinstance(got, int) and isinstance(made, int):
        return terms.usage(got, made, batch), False
    return terms.most(request, batch), True
