"""How fast requests may go out: backoff, token buckets, the server's quota headers."""

from __future__ import annotations

import asyncio
import email.utils
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: random, growing, bounded.

    Attributes:
        attempts: How often a request is sent at most.
        first_s: Shortest wait.
        longest_s: Longest wait that we choose ourselves.
        patience_s: Longest wait that a server may ask for; beyond it the run stops.
    """

    attempts: int = 6
    first_s: float = 1.0
    longest_s: float = 60.0
    patience_s: float = 300.0

    def wait_s(self, attempt: int, asked_s: float | None, source: random.Random) -> float:
        """Return the wait after failed attempt number ``attempt`` (from 1).

        Args:
            attempt: Number of the attempt that failed.
            asked_s: What the server asked for (``Retry-After``), never undercut.
            source: Random numbers.
        """
        ceiling = min(self.longest_s, self.first_s * 2.0**attempt)
        own = source.uniform(min(self.first_s, ceiling), ceiling)
        return max(own, asked_s or 0.0)


class Bucket:
    """A token bucket: ``per_minute`` on average, a twelfth of it at once.

    The burst is short because servers enforce their limits over windows shorter than a minute.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._rate = (per_minute or 0.0) / 60.0
        self._size = max(1.0, self._rate * 5.0)
        self._level = self._size
        self._at = time.monotonic()

    def take(self, amount: float) -> float:
        """Take ``amount`` and return the seconds to wait before using it."""
        if self._rate <= 0:
            return 0.0
        moment = time.monotonic()
        self._level = min(self._size, self._level + (moment - self._at) * self._rate)
        self._at = moment
        # The level may go below zero: who comes later waits longer.
        self._level -= amount
        return max(0.0, -self._level / self._rate)


class Limiter:
    """Requests and tokens per minute, and pauses that the server's headers ask for.

    Args:
        requests_per_minute: None for no limit of our own.
        tokens_per_minute: Counted as expected input tokens plus the output limit.
        longest_pause_s: Longest pause taken from a header.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        longest_pause_s: float = 300.0,
    ) -> None:
        self._requests = Bucket(requests_per_minute)
        self._tokens = Bucket(tokens_per_minute)
        self._longest_pause_s = longest_pause_s
        self._not_before = 0.0

    async def wait(self, tokens: int) -> None:
        """Wait until a request of ``tokens`` may be sent."""
        pause = max(self._requests.take(1), self._tokens.take(tokens))
        if pause:
            await asyncio.sleep(pause)
        while (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def observe(self, headers: Mapping[str, str], tokens: int) -> None:
        """Pause when the server says that its quota is used up.

        Args:
            headers: Of any response; ``x-ratelimit-remaining-*`` and ``x-ratelimit-reset-*``.
            tokens: What the next request may need.
        """
        for kind, needed in (("requests", 1), ("tokens", tokens)):
            remaining = headers.get(f"x-ratelimit-remaining-{kind}", "")
            reset_s = parse_duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
            if remaining.isdigit() and int(remaining) < needed and reset_s is not None:
                self.pause(reset_s)

    def pause(self, seconds: float) -> None:
        """Send nothing for some seconds, at most the longest pause."""
        until = time.monotonic() + min(seconds, self._longest_pause_s)
        self._not_before = max(self._not_before, until)


def parse_duration_s(text: str) -> float | None:
    """Return the seconds in ``"6m0s"``, ``"20ms"`` or ``"1.5"``; None when it is neither."""
    text = text.strip()
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    try:
        return max(0.0, float(text))
    except ValueError:
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, given in seconds or as a date."""
    milliseconds = parse_duration_s(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000.0
    text = headers.get("retry-after", "")
    seconds = parse_duration_s(text)
    if seconds is not None or not text:
        return seconds
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - time.time())
