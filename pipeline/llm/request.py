"""One request: its key, its body and the most it can cost.

The key is the sha256 of the canonical JSON of everything that decides the reply, so an equal
question is never paid twice, whichever run, shard or row asks it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..config import canonical_json, digest
from .wording import Message, Prompt, Shape

# Tokens around a message and around a conversation; chat formats use three or four.
_PER_MESSAGE = 8
_PER_REQUEST = 16

_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "paraphrases",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"paraphrases": {"type": "array", "items": {"type": "string"}}},
            "required": ["paraphrases"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a language model.

    Attributes:
        key: 64 hex digits.
        caption: The caption asked about.
        body: Body of a chat-completion call.
        most_input: Upper bound of the input tokens, see `most_input_tokens`.
        most_output: Upper bound of the output tokens, sent as the limit.
        n: Versions asked for.
        recipe: Digest of everything but the caption.
        previous: The unreadable answer that this request repairs, None otherwise.
    """

    key: str
    caption: str
    body: Mapping[str, Any]
    most_input: int
    most_output: int
    n: int
    recipe: str
    previous: str | None = None

    @property
    def likely_tokens(self) -> int:
        """Tokens counted against a rate limit: about three bytes each, plus the output limit."""
        return self.most_input // 3 + self.most_output


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything but the caption that decides a reply.

    Attributes:
        service: ``openai`` (for both the direct and the batch provider, whose replies are
            interchangeable) or ``rules``.
        model: Name as the server knows it.
        base_url: Server; another server's model of the same name is another model.
        n: Versions asked for.
        temperature: Not sent when None.
        reply_tokens: Output limit of one reply.
        limit_field: What the server calls that limit.
        structured: Whether the server is told the JSON schema of the answer.
        prompt: Wording.
    """

    service: str
    model: str
    base_url: str
    n: int
    temperature: float | None
    reply_tokens: int
    limit_field: Literal["max_completion_tokens", "max_tokens"]
    structured: bool
    prompt: Prompt

    @property
    def shape(self) -> Shape:
        """Structured answers must be objects; free ones are a bare array."""
        return "object" if self.structured else "array"

    def parameters(self) -> dict[str, Any]:
        """Return what is sent beside model and messages, and the server."""
        values: dict[str, Any] = {self.limit_field: self.reply_tokens}
        if self.temperature is not None:
            values["temperature"] = self.temperature
        if self.structured:
            values["response_format"] = _SCHEMA
        return values

    def identity(self) -> dict[str, Any]:
        """Return the part of the key that is the same for every caption."""
        return {
            "provider": self.service,
            "model": self.model,
            "params": {**self.parameters(), "base_url": self.base_url},
            "prompt_version": self.prompt.version,
            "n": self.n,
        }

    @property
    def digest(self) -> str:
        """16 hex digits of everything but the caption."""
        return digest(self.identity())

    def key(self, caption: str, previous: str | None = None) -> str:
        """Return the ledger key of ``caption``; a repair of ``previous`` has its own."""
        identity = {**self.identity(), "caption": caption}
        if previous is not None:
            identity["repairs"] = previous
        return hashlib.sha256(canonical_json(identity).encode("utf-8", "replace")).hexdigest()

    def request(self, caption: str, previous: str | None = None) -> Request:
        """Return the request for ``caption``, or the one that repairs ``previous``."""
        messages = (
            self.prompt.repair_messages(caption, self.n, self.shape, previous)
            if previous is not None
            else self.prompt.messages(caption, self.n, self.shape)
        )
        body = {"model": self.model, "messages": messages, **self.parameters()}
        bound = most_input_tokens(messages) + (_bytes(canonical_json(_SCHEMA)) * self.structured)
        key = self.key(caption, previous)
        return Request(key, caption, body, bound, self.reply_tokens, self.n, self.digest, previous)


def most_input_tokens(messages: list[Message]) -> int:
    """Return an upper bound of the tokens of ``messages``.

    Byte-level tokenisers, and those that fall back to bytes, never make more tokens than there are
    UTF-8 bytes; so the bound holds without the model's vocabulary.
    """
    return _PER_REQUEST + sum(_PER_MESSAGE + _bytes(message["content"]) for message in messages)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
