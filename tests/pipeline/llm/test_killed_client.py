"""Clients that are killed with SIGKILL, and clients that run at the same time."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command import environment
from support.fake_openai import KEY, FakeOpenAI
from support.paraphrase_stage import config

from affectflow.pipeline.llm.ledger import Ledger

pytestmark = pytest.mark.slow

CLIENT = Path(__file__).resolve().parents[2] / "support" / "paraphrase_client.py"


@pytest.fixture
def server():
    with FakeOpenAI() as fake:
        yield fake


def start(settings, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(CLIENT), settings.model_dump_json(), str(count)],
        env={**environment(), "OPENAI_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def killed_at(server: FakeOpenAI, settings, count: int, moment: str, name: str, times: int) -> None:
    """Run a client that the server kills the ``times``-th time something happens."""
    process = start(settings, count)
    left = [times]

    def hook(at: str, call: str) -> None:
        if (at, call) == (moment, name):
            left[0] -= 1
            if left[0] == 0:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()

    server.on_call = hook
    process.communicate(timeout=120)
    server.on_call = lambda at, call: None
    assert process.returncode == -signal.SIGKILL


def used(folder: Path):
    ledger = Ledger(folder / "llm")
    ledger.refresh()
    return ledger.used()


def test_client_killed_with_requests_in_flight_pays_nothing_twice(server, tmp_path):
    settings = config(tmp_path, server.url, resend_lost=3, budget_usd=1.0)
    # Each request was answered and billed, but its reply never arrived.
    for times in (7, 3):
        killed_at(server, settings, 30, "done", "POST /chat/completions", times)
        assert server.cost_usd <= used(tmp_path).cost_usd <= 1.0
    assert json.loads(finish(start(settings, 30))) == ["paraphrased"] * 30
    assert set(server.bills.values()) == {1}
    assert len(server.bills) == 30
    assert server.cost_usd <= used(tmp_path).cost_usd <= 1.0
    calls = server.calls.total()
    assert json.loads(finish(start(settings, 30))) == ["paraphrased"] * 30
    assert server.calls.total() == calls


def test_by_default_nothing_is_billed_twice_even_without_idempotency(server, tmp_path):
    server.honours_keys = False
    settings = config(tmp_path, server.url)
    killed_at(server, settings, 30, "done", "POST /chat/completions", 10)
    found = json.loads(finish(start(settings, 30)))
    assert set(found) <= {"paraphrased", "unknown_charge"}
    assert found.count("paraphrased") >= 30 - settings.concurrency
    assert set(server.bills.values()) == {1}


def test_a_server_without_idempotency_can_bill_only_lost_requests_again(server, tmp_path):
    server.honours_keys = False
    settings = config(tmp_path, server.url, resend_lost=1)
    killed_at(server, settings, 30, "done", "POST /chat/completions", 10)
    assert json.loads(finish(start(settings, 30))) == ["paraphrased"] * 30
    again = sum(count - 1 for count in server.bills.values())
    assert again <= settings.concurrency
    # What may have been paid twice is in the ledger's total.
    assert used(tmp_path).cost_usd >= server.cost_usd


def test_lost_request_is_sent_again_as_often_as_allowed(server, tmp_path):
    settings = config(tmp_path, server.url, resend_lost=0)
    killed_at(server, settings, 4, "done", "POST /chat/completions", 1)
    found = json.loads(finish(start(settings, 4)))
    assert set(found) == {"paraphrased", "unknown_charge"} or set(found) == {"unknown_charge"}
    assert all(count == 1 for count in server.bills.values())


def test_random_kills_never_pass_the_budget(server, tmp_path):
    source = random.Random(11)
    budget = 0.05
    server.delay_s = 0.02
    settings = config(tmp_path, server.url, resend_lost=9, budget_usd=budget)
    for _ in range(6):
        process = start(settings, 60)
        seen = len(server.bills)
        deadline = time.monotonic() + 20
        while len(server.bills) == seen and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        time.sleep(source.uniform(0.0, 0.06))
        process.kill()
        process.communicate()
        assert server.cost_usd <= used(tmp_path).cost_usd <= budget
    out = finish(start(settings, 60))
    assert out.startswith("stopped: ") or json.loads(out) == ["paraphrased"] * 60
    assert server.cost_usd <= budget
    settings = config(tmp_path, server.url, resend_lost=9, budget_usd=1.0)
    assert json.loads(finish(start(settings, 60))) == ["paraphrased"] * 60
    assert set(server.bills.values()) == {1}
    assert len(server.bills) == 60


def test_two_clients_at_once_pay_each_request_once(server, tmp_path):
    server.delay_s = 0.01
    settings = config(tmp_path, server.url)
    pair = [start(settings, 40), start(settings, 40)]
    assert [json.loads(finish(process)) for process in pair] == [["paraphrased"] * 40] * 2
    assert set(server.bills.values()) == {1}
    assert len(server.bills) == 40
    assert server.arrivals.total() == 40


def test_two_clients_at_once_keep_one_budget(server, tmp_path):
    budget = 0.02
    settings = config(tmp_path, server.url, budget_usd=budget)
    pair = [start(settings, 60), start(settings, 60)]
    for process in pair:
        assert finish(process).startswith("stopped: ")
    assert 0.5 * budget < server.cost_usd <= budget
    assert used(tmp_path).cost_usd == pytest.approx(server.cost_usd)


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("after", "POST /files"),
        ("done", "POST /batches"),
        ("after", "GET /batches/:id"),
        ("after", "GET /files/:id/content"),
    ],
)
def test_batch_client_killed_at_every_call_is_resumed(server, tmp_path, moment, name):
    settings = config(tmp_path, server.url, provider="openai-batch", budget_usd=1.0)
    killed_at(server, settings, 12, moment, name, 1)
    assert json.loads(finish(start(settings, 12))) == ["paraphrased"] * 12
    assert len(server.batches) == 1
    assert set(server.bills.values()) == {1}
    assert used(tmp_path).cost_usd == pytest.approx(server.cost_usd)
