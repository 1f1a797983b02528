"""Terms under which a request may be paid, and what is written about it afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import Config
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
    caps: Caps = field(default_factory=Caps)
    price: Price | None = None
    resend_lost: int = 0
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


class Asked(Config):
    """What is remembered of a request until its reply is recorded.

    Attributes:
        n: Versions asked for.
        caption_bytes: Length of the caption in UTF-8, to learn how tokens grow with it.
        recipe: Digest of everything but the caption.
        repair: Whether an unreadable reply was repaired.
    """

    n: int
    caption_bytes: int
    recipe: str
    repair: bool = False

    @staticmethod
    def of(request: Request) -> Asked:
        """Return what is remembered of ``request``."""
        size = len(request.caption.encode("utf-8", "replace"))
        return Asked(
            n=request.n,
            caption_bytes=size,
            recipe=request.recipe,
            repair=request.previous is not None,
        )


def facts_of(verdict: Verdict, link: Link) -> dict[str, Any]:
    """Return the settlement of a request that brought no reply."""
    cause = link.scrub(f"{verdict.code}: {verdict.message}")
    if verdict.kind == "filtered":
        return {"status": "rejected", "cause": cause, "finish_reason": "content_filter"}
    return {"status": "unknown" if verdict.charged else "released", "cause": cause}


def completion_facts(
    text: str, asked: Asked, most: Usage, terms: Terms, batch: bool = False
) -> dict[str, Any]:
    """Return the settlement of a chat completion.

    Args:
        text: Body of the response.
        asked: What was asked.
        most: What was reserved; taken when the server counts nothing.
        terms: For the cost.
        batch: Whether the batch price applies.
    """
    try:
        value = json.loads(text)
        choice = value["choices"][0]
        message = choice["message"]
        raw = message.get("content")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {"status": "unknown", "cause": "bad_response: it is not a chat completion"}
    raw = raw if isinstance(raw, str) else ""
    usage = _usage(value.get("usage"), terms, batch)
    return {
        "status": "answered",
        "raw": raw,
        "parsed": list(parse_reply(raw, asked.n).items),
        "finish_reason": choice.get("finish_reason") or "stop",
        "refusal": message.get("refusal") or "",
        "model_returned": value.get("model") or "",
        "usage_estimated": usage is None,
        "caption_bytes": asked.caption_bytes,
        "recipe": asked.recipe,
        "repair": asked.repair,
        "charge": usage or most,
    }


def _usage(value: Any, terms: Terms, batch: bool) -> Usage | None:
    counts: Mapping[str, Any] = value if isinstance(value, dict) else {}
    got, made = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if isinstance(got, int) and isinstance(made, int) and got >= 0 and made >= 0:
        return terms.usage(got, made, batch)
    return None
