import asyncio
import email.utils
import random
import time

import pytest

from affectflow.pipeline.llm.limits import (
    Backoff,
    Bucket,
    Limiter,
    parse_duration_s,
    retry_after_s,
)
from affectflow.pipeline.llm.verdicts import of_status


def test_backoff_is_random_bounded_and_honours_the_server():
    backoff, source = Backoff(), random.Random(1)
    for attempt in range(1, 7):
        waits = [backoff.wait_s(attempt, None, source) for _ in range(200)]
        assert all(1.0 <= wait <= min(60.0, 2.0**attempt) for wait in waits)
        assert len(set(waits)) > 100
    assert backoff.wait_s(1, 45.0, source) == 45.0
    assert max(backoff.wait_s(6, None, source) for _ in range(300)) > 30


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m", 3720.0), ("1.5", 1.5), ("soon", None)],
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == seconds


def test_retry_after_in_all_its_forms():
    assert retry_after_s({"retry-after": "7"}) == 7.0
    assert retry_after_s({"retry-after-ms": "250"}) == 0.25
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 25 < retry_after_s({"retry-after": soon}) <= 30
    assert retry_after_s({"retry-after": "whenever"}) is None
    assert retry_after_s({}) is None


def test_bucket_spreads_requests():
    bucket = Bucket(per_minute=600)
    waits = [bucket.take(1) for _ in range(60)]
    # Fifty at once, then ten per second.
    assert all(wait < 0.01 for wait in waits[:50])
    assert 0.8 < waits[-1] < 1.1
    assert Bucket(None).take(10**9) == 0.0


def test_used_up_quota_pauses_everybody():
    limiter = Limiter()
    limiter.observe(
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "150ms"}, 10
    )
    limiter.observe({"x-ratelimit-remaining-tokens": "5000", "x-ratelimit-reset-tokens": "9s"}, 10)
    started = time.monotonic()
    asyncio.run(limiter.wait(10))
    assert 0.14 <= time.monotonic() - started < 1.0
    limiter.observe({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "0.2s"}, 10)
    started = time.monotonic()
    asyncio.run(limiter.wait(10))
    assert time.monotonic() - started >= 0.19


@pytest.mark.parametrize(
    ("status", "kind", "charged"),
    [
        (408, "retry", True), (409, "retry", False), (429, "retry", False), (500, "retry", False),
        (502, "retry", True), (503, "retry", False), (504, "retry", True), (400, "row", False),
        (401, "stop", False), (403, "stop", False), (404, "stop", False), (422, "row", False),
        (0, "row", False), (413, "row", False),
    ],
)  # fmt: skip
def test_what_a_status_means(status, kind, charged):
    verdict = of_status(status, {"error": {"message": "x"}}, {})
    assert (verdict.kind, verdict.charged) == (kind, charged)


@pytest.mark.parametrize("body", [None, "", "plain", [], {"error": "text"}, {"error": None}])
def test_odd_bodies_are_no_crash(body):
    assert of_status(500, body, {}).kind == "retry"
