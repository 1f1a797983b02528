"""The connection to an OpenAI-compatible server; the only place that knows the API key."""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ConfigError, ProviderError
from ..loading import missing_dependency
from .verdicts import Verdict, of_lost_reply, of_status

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_LOG = logging.getLogger(__name__)
_WARN_DAYS = 30
_BEARER = re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{8,}")


@dataclass(frozen=True, slots=True)
class Link:
    """A server and the name of the variable that holds its key.

    Attributes:
        base_url: For example ``https://api.openai.com/v1``.
        key_variable: Environment variable with the API key; the key itself is never kept.
        timeout_s: Seconds one call may take in all.
    """

    base_url: str
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 60.0

    def client(self) -> AsyncOpenAI:
        """Return a client that never retries by itself.

        Raises:
            ProviderError: The key is not set.
            MissingDependency: The client package is not installed.
        """
        try:
            from openai import AsyncOpenAI
        except ModuleNotFoundError as error:
            raise missing_dependency(error) from error
        return AsyncOpenAI(
            api_key=self._key(),
            base_url=self.base_url,
            timeout=self.timeout_s,
            max_retries=0,
        )

    def _key(self) -> str:
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise ProviderError(
                f"the environment variable {self.key_variable} holds no API key",
                f"export {self.key_variable}=…; a server without keys takes any word",
            )
        return key

    def scrub(self, text: str) -> str:
        """Return ``text`` without the API key; servers echo it in their messages."""
        key = os.environ.get(self.key_variable, "").strip()
        if len(key) >= 8:
            text = text.replace(key, "[api key]")
        return _BEARER.sub(r"\1[api key]", text)

    def error(self, verdict: Verdict) -> ProviderError:
        """Return the error that stops a run for this verdict."""
        return ProviderError(self.scrub(f"{verdict.code}: {verdict.message}"), verdict.hint)


def check_base_url(url: str) -> str:
    """Return ``url`` without a trailing slash.

    Raises:
        ConfigError: It is no http(s) address, or carries a user name, password or query, which
            would end up in artefacts.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"base_url '{url}' is not an http(s) address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "base_url carries a user name, password or query",
            "put secrets into the environment variable of the API key",
        )
    return url.rstrip("/")


def judge(error: BaseException) -> Verdict:
    """Return what an exception of the client means."""
    import openai

    if isinstance(error, openai.APIStatusError):
        body = error.body if error.body is not None else error.response.text
        return of_status(error.status_code, body, error.response.headers)
    if isinstance(error, openai.APIConnectionError):
        cause = type(error.__cause__).__name__
        return of_lost_reply(error, sent=cause not in {"ConnectError", "ConnectTimeout"})
    if isinstance(error, TimeoutError):
        return of_lost_reply(error, sent=True)
    raise error


async def preflight(client: AsyncOpenAI, model: str) -> None:
    """Look the model up before the first request is paid.

    Servers without a list of models are taken at their word.

    Raises:
        ProviderError: The model is not in the list, or its last day has passed.
    """
    import openai

    try:
        response = await client.models.with_raw_response.list()
        entries = json.loads(response.text).get("data", [])
    except openai.AuthenticationError as error:
        verdict = judge(error)
        raise ProviderError("the server refused the API key", verdict.hint) from None
    except (openai.APIError, ValueError, AttributeError):
        _LOG.info("the server has no list of models; the model name is not checked")
        return
    known = {entry["id"]: entry for entry in entries if isinstance(entry, dict) and "id" in entry}
    if not known:
        return
    if model not in known:
        raise ProviderError(
            f"model '{model}' is not among the {len(known)} models of this server",
            "check the name; models retire",
        )
    _check_last_day(model, known[model])


def _check_last_day(model: str, entry: Mapping[str, Any]) -> None:
    try:
        last = datetime.date.fromisoformat(str(entry.get("shutdown_date") or ""))
    except ValueError:
        return
    left = (last - datetime.datetime.now(datetime.UTC).date()).days
    if left < 0:
        raise ProviderError(f"model '{model}' was shut down on {last}", "choose another model")
    if left <= _WARN_DAYS:
        _LOG.warning("model '%s' will be shut down on %s", model, last)
