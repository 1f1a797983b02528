"""What an error of the API means: try again, give up on this caption, or stop the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .limits import retry_after_s

# A gateway's error says nothing about what the server behind it did and charged.
_MAYBE_CHARGED = frozenset({408, 502, 504, 520, 522, 524})
_RETRIED = frozenset({408, 409, 429})
_STOPS = {
    401: ("authentication", "check the API key and the base URL"),
    403: ("permission_denied", "the key may not use this model or this server"),
    404: ("model_not_found", "check the model name and the base URL; models retire"),
}
_NO_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_FILTERED = frozenset(
    {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
)
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_ADVICE = {
    "temperature": "set paraphrase.temperature=null to use the model's own",
    "max_tokens": "set paraphrase.limit_field=max_completion_tokens",
    "max_completion_tokens": "set paraphrase.limit_field=max_tokens",
    "response_format": "set paraphrase.structured=false for servers without JSON schemas",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do after an error.

    Attributes:
        kind: ``retry``; ``row``: this caption fails; ``filtered``: this caption is refused for
            good; ``stop``: every further request would fail.
        code: Stable word for tables and reports.
        message: The cause, one line, without secrets once scrubbed by the caller.
        hint: What to do.
        charged: Whether the server may have charged for it.
        wait_s: What the server asked to wait.
    """

    kind: Literal["retry", "row", "filtered", "stop"]
    code: str
    message: str
    hint: str = ""
    charged: bool = False
    wait_s: float | None = None


def of_status(status: int, body: Any, headers: Mapping[str, str]) -> Verdict:
    """Judge a response whose status is not 200.

    Args:
        status: HTTP status; 0 and other odd numbers occur in batch files.
        body: Decoded JSON or text.
        headers: For ``Retry-After``.
    """
    error = _error(body)
    code, text = str(error.get("code") or ""), str(error.get("message") or body or "")[:500]
    kind = str(error.get("type") or "")
    message = f"the server answered {status}: {text or 'nothing'}"
    if _NO_QUOTA & {code, kind}:
        return Verdict("stop", "quota_exhausted", message, "add credit, then run again")
    if _FILTERED & {code, kind, str(_inner(error).get("code") or "")}:
        return Verdict("filtered", "content_filter", message)
    if status in _STOPS:
        name, hint = _STOPS[status]
        return Verdict("stop", name, message, hint)
    if status in {400, 422}:
        return _of_bad_request(error, message)
    if status in _RETRIED or status >= 500:
        name = "rate_limited" if status == 429 else "server_error"
        wait_s = retry_after_s(headers)
        charged = status in _MAYBE_CHARGED
        return Verdict("retry", name, message, "run again later", charged, wait_s)
    return Verdict("row", "request_rejected", message, "see the server's message")


def _of_bad_request(error: Mapping[str, Any], message: str) -> Verdict:
    parameter, text = str(error.get("param") or ""), str(error.get("message") or "").casefold()
    named = next((name for name in _ADVICE if name == parameter or f"'{name}'" in text), "")
    doubtful = error.get("code") in _UNSUPPORTED or "unsupported" in text or "not support" in text
    if doubtful:
        advice = _ADVICE.get(named, "remove or change the parameter that the server names")
        return Verdict("stop", "unsupported_parameter", message, advice)
    return Verdict("row", "request_rejected", message, "see the server's message")


def of_lost_reply(error: BaseException, sent: bool) -> Verdict:
    """Judge a request without a response: a timeout or a broken connection.

    Args:
        error: What was raised.
        sent: Whether the request may have reached the server.
    """
    cause = error.__cause__ or error
    message = f"no reply: {type(cause).__name__}: {cause}".rstrip(": ")[:500]
    code = "timeout" if "timeout" in type(error).__name__.casefold() else "connection"
    return Verdict("retry", code, message, "check the network and timeout_s", charged=sent)


def _error(body: Any) -> dict[str, Any]:
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(body, dict):
        return {}
    inner = body.get("error", body)
    if isinstance(inner, str):
        return {"message": inner}
    return inner if isinstance(inner, dict) else {}


def _inner(error: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = error.get("innererror")
    return inner if isinstance(inner, dict) else {}
