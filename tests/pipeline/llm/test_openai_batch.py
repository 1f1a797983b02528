import json
from pathlib import Path

import pytest
from support.fake_openai import KEY, FakeOpenAI
from support.paraphrase_stage import ask, captions, config, opened, outcomes

from affectflow.pipeline.errors import BudgetExceeded
from affectflow.pipeline.llm.batch_state import BatchFolder
from affectflow.pipeline.llm.ledger import Ledger


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI() as fake:
        yield fake


def batch_config(folder: Path, server: FakeOpenAI, **values):
    limits = {"first_poll_s": 0.02, "longest_poll_s": 0.05, "wait_s": 20.0}
    limits |= values.pop("batch", {})
    return config(folder, server.url, provider="openai-batch", batch=limits, **values)


def used(folder: Path):
    ledger = Ledger(folder / "llm")
    ledger.refresh()
    return ledger.used()


def states(folder: Path):
    batches = BatchFolder(folder / "llm")
    return [batches.load(path.stem) for path in sorted(batches.folder.glob("*.json"))]


def test_batch_answers_every_caption_at_half_the_price(server, tmp_path):
    texts = captions(30)
    settings = batch_config(tmp_path, server)
    values = ask(opened(settings), texts)
    assert outcomes(values) == ["paraphrased"] * 30
    # The lines came back in reverse order.
    assert all(
        text in value["children"][0]["text"] for text, value in zip(texts, values, strict=True)
    )
    assert used(tmp_path).cost_usd == pytest.approx(server.cost_usd)
    assert len(server.batches) == 1
    before = server.calls.total()
    assert ask(opened(settings), texts) == values
    # The direct provider asks the same questions, so it finds the same answers.
    assert ask(opened(config(tmp_path, server.url)), texts) == values
    assert server.calls.total() == before
    assert [state.step for state in states(tmp_path)] == ["merged"]


def test_lines_of_a_batch_file(server, tmp_path):
    ask(opened(batch_config(tmp_path, server)), captions(3))
    lines = [json.loads(line) for line in server.files["file_0"].splitlines()]
    assert {line["method"] for line in lines} == {"POST"}
    assert {line["url"] for line in lines} == {"/v1/chat/completions"}
    assert all(len(line["custom_id"]) == 32 for line in lines)
    assert len({line["custom_id"] for line in lines}) == 3


def test_what_is_not_back_in_time_is_pending_and_collected_later(server, tmp_path):
    server.polls_until_done = 2
    texts = captions(5)
    settings = batch_config(tmp_path, server, batch={"wait_s": 0.0})
    assert outcomes(ask(opened(settings), texts)) == ["batch_pending"] * 5
    assert outcomes(ask(opened(settings), texts)) == ["batch_pending"] * 5
    assert outcomes(ask(opened(settings), texts)) == ["paraphrased"] * 5
    assert len(server.batches) == 1
    assert len(server.files) == 2


def test_files_are_split_and_queued_below_the_servers_limits(server, tmp_path):
    texts = captions(10)
    most: list[int] = []
    running = {"validating", "in_progress"}
    server.on_call = lambda moment, name: most.append(
        sum(batch["status"] in running for batch in server.batches.values())
    )
    tokens = 1500
    limits = {"max_requests": 4, "max_enqueued_tokens": tokens}
    values = ask(opened(batch_config(tmp_path, server, batch=limits)), texts)
    assert outcomes(values) == ["paraphrased"] * 10
    assert len(server.batches) >= 3
    assert max(most) == 1
    assert all(state.likely_tokens <= tokens for state in states(tmp_path))
    limits = {"max_bytes": 6000}
    ask(opened(batch_config(tmp_path, server, batch=limits)), [f"more {text}" for text in texts])
    uploads = [data for name, data in server.files.items() if re_input(name)]
    assert all(len(data) <= 6000 for data in uploads[-3:])


def re_input(name: str) -> bool:
    return "output" not in name and "error" not in name


def test_status_zero_lines_and_failed_lines_are_told_apart(server, tmp_path):
    texts = captions(6)

    def line(caption, result):
        if caption == texts[0]:
            result["response"]["status_code"] = 0
            result["response"]["body"] = None
        if caption == texts[1]:
            result["response"] = {"status_code": 500, "body": {"error": {"message": "boom"}}}
        if caption == texts[2]:
            body = {"error": {"code": "content_filter", "message": "no"}}
            result["response"] = {"status_code": 400, "body": body}
        return None if caption == texts[3] else result

    server.batch_line = line
    settings = batch_config(tmp_path, server)
    values = ask(opened(settings), texts)
    assert outcomes(values) == [
        "batch_line_failed",
        "batch_line_failed",
        "content_filter",
        "batch_line_missing",
        "paraphrased",
        "paraphrased",
    ]
    server.batch_line = lambda _, result: result
    again = ask(opened(settings), texts)
    assert outcomes(again) == ["paraphrased"] * 2 + ["content_filter"] + ["paraphrased"] * 3
    second = [json.loads(line) for line in server.files["file_1"].splitlines()]
    assert len(second) == 3
    assert set(server.bills.values()) == {1}


def test_expired_batch_keeps_what_was_finished_and_asks_the_rest_again(server, tmp_path):
    texts = captions(8)
    server.batch_end = "expired"
    server.batch_line = lambda caption, line: line if caption in texts[:3] else None
    settings = batch_config(tmp_path, server)
    values = ask(opened(settings), texts)
    assert outcomes(values) == ["paraphrased"] * 3 + ["batch_expired"] * 5
    assert used(tmp_path).requests == 3
    server.batch_end, server.batch_line = "completed", lambda _, line: line
    assert outcomes(ask(opened(settings), texts)) == ["paraphrased"] * 8
    assert set(server.bills.values()) == {1}


def test_failed_batch_charges_nothing(server, tmp_path):
    server.batch_end = "failed"
    values = ask(opened(batch_config(tmp_path, server)), captions(3))
    assert outcomes(values) == ["batch_failed"] * 3
    assert used(tmp_path).cost_usd == 0


def test_unknown_status_counts_as_running_until_the_deadline(server, tmp_path):
    server.batch_end = "pondering"
    settings = batch_config(tmp_path, server, batch={"deadline_s": 0.3})
    assert outcomes(ask(opened(settings), captions(2))) == ["batch_overdue"] * 2
    # Nobody knows whether it is still worked on, so it counts as paid.
    assert used(tmp_path).requests == 2


def test_budget_cuts_a_batch(server, tmp_path):
    texts = captions(40)
    settings = batch_config(tmp_path, server, budget_usd=0.02)
    with pytest.raises(BudgetExceeded, match="budget_usd"):
        ask(opened(settings), texts)
    assert 0 < server.cost_usd <= 0.02
    assert len(server.bills) < 40
    values = ask(opened(batch_config(tmp_path, server, budget_usd=1.0)), texts)
    assert outcomes(values) == ["paraphrased"] * 40
    assert set(server.bills.values()) == {1}


def test_unreadable_replies_are_repaired_in_a_second_batch(server, tmp_path):
    replies = iter(["{broken"] * 2)
    good = server.reply
    server.reply = lambda caption: next(replies, None) or good(caption)
    values = ask(opened(batch_config(tmp_path, server)), captions(4))
    assert outcomes(values) == ["paraphrased"] * 4
    assert len(server.batches) == 2


class Crash(BaseException):
    """Stands for a process that dies."""


STEPS = ["planned", "uploaded", "submitted", "polling", "downloaded", "merged"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_crash_around_every_state_is_resumed_without_a_second_charge(
    server, tmp_path, monkeypatch, step, moment
):
    texts = captions(6)
    settings = batch_config(tmp_path, server)
    save = BatchFolder.save

    def crashing(self, state):
        if state.step == step and moment == "before":
            raise Crash
        saved = save(self, state)
        if state.step == step:
            raise Crash
        return saved

    monkeypatch.setattr(BatchFolder, "save", crashing)
    stage = opened(settings)
    with pytest.raises(Crash):
        ask(stage, texts)
    monkeypatch.setattr(BatchFolder, "save", save)
    values = ask(opened(settings), texts)
    assert outcomes(values) == ["paraphrased"] * 6
    assert len(server.batches) == 1
    assert set(server.bills.values()) == {1}
    assert used(tmp_path).cost_usd == pytest.approx(server.cost_usd)


def test_plan_that_was_reserved_in_part_is_planned_again(server, tmp_path, monkeypatch):
    texts = captions(6)
    settings = batch_config(tmp_path, server)
    reserve = Ledger.reserve

    def half(self, wanted, caps):
        reserve(self, wanted[:3], caps)
        raise Crash

    monkeypatch.setattr(Ledger, "reserve", half)
    with pytest.raises(Crash):
        ask(opened(settings), texts)
    monkeypatch.setattr(Ledger, "reserve", reserve)
    assert outcomes(ask(opened(settings), texts)) == ["paraphrased"] * 6
    assert set(server.bills.values()) == {1}
    assert used(tmp_path).requests == 6


def test_server_errors_around_a_batch_are_tried_again(server, tmp_path, monkeypatch):
    seen: dict[str, int] = {}
    route = FakeOpenAI.create_batch

    def flaky(self, body):
        made = route(self, body)
        seen["creates"] = seen.get("creates", 0) + 1
        if seen["creates"] == 1:
            # The batch exists, but its maker never hears of it.
            raise BrokenPipeError
        return made

    monkeypatch.setattr(FakeOpenAI, "create_batch", flaky)
    values = ask(opened(batch_config(tmp_path, server)), captions(4))
    assert outcomes(values) == ["paraphrased"] * 4
    assert len(server.batches) == 1
    assert seen["creates"] == 1
