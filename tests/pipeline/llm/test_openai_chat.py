import asyncio
import json
import logging
from pathlib import Path

import pytest
from support.fake_openai import KEY, FakeOpenAI, Fault, good_versions
from support.paraphrase_stage import ask, captions, config, opened, outcomes

from affectflow.pipeline.errors import BudgetExceeded, ConfigError, ProviderError
from affectflow.pipeline.llm.ledger import Ledger
from affectflow.pipeline.records import Failure


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI() as fake:
        yield fake


def used(folder: Path):
    ledger = Ledger(folder / "llm")
    ledger.refresh()
    return ledger.used()


def test_every_caption_gets_its_paraphrase_and_a_second_run_sends_nothing(server, tmp_path):
    texts = captions(20)
    settings = config(tmp_path, server.url)
    values = ask(opened(settings), [*texts, texts[0]])
    assert outcomes(values) == ["paraphrased"] * 21
    assert values[0]["children"] == [{"index": 0, "text": good_versions(texts[0])[0]}]
    assert [entry["reason"] for entry in values[0]["dropped"]] == ["surplus"] * 4
    assert values[20] == values[0]
    assert set(server.bills.values()) == {1}
    assert len(server.bills) == 20
    before = server.calls.total()
    again = ask(opened(settings), texts)
    assert again == values[:20]
    replayed = ask(opened(config(tmp_path, server.url, provider="replay")), texts)
    assert replayed == values[:20]
    assert server.calls.total() == before


def test_ledger_holds_what_the_server_billed(server, tmp_path):
    ask(opened(config(tmp_path, server.url)), captions(15))
    total = used(tmp_path)
    assert total.requests == 15
    assert total.input_tokens == server.input_tokens
    assert total.output_tokens == server.output_tokens
    assert total.cost_usd == pytest.approx(server.cost_usd, rel=1e-9)


def test_only_the_caption_is_sent(server, tmp_path):
    stage = opened(config(tmp_path, server.url), [("secret_name.png", "test", "held out words")])
    ask(stage, ["what a day"])
    body = server.bodies[0]
    assert set(body) == {
        "model",
        "messages",
        "temperature",
        "max_completion_tokens",
        "response_format",
    }
    sent = json.dumps(body)
    for word in ("secret_name", "held out", "a.png", "train", "sentiment_label"):
        assert word not in sent
    assert body["messages"][-1]["content"] == "<<<CAPTION\nwhat a day\nCAPTION>>>"


def test_errors_that_pass_are_tried_again(server, tmp_path):
    texts = captions(6)
    server.faults[texts[0]] = [Fault("status", 429, "rate_limit", headers={"retry-after": "0.05"})]
    server.faults[texts[1]] = [Fault("status", 500)] * 5
    server.faults[texts[2]] = [Fault("status", 409), Fault("status", 408), Fault("status", 503)]
    server.faults[texts[3]] = [Fault("slow", seconds=1.2)]
    server.faults[texts[4]] = [Fault("drop")]
    values = ask(opened(config(tmp_path, server.url, timeout_s=0.6)), texts)
    assert outcomes(values) == ["paraphrased"] * 6
    assert [server.arrivals[text] for text in texts] == [2, 6, 4, 2, 2, 1]
    # A repeated request carries the same key, so the server bills it once.
    assert set(server.bills.values()) == {1}
    assert used(tmp_path).cost_usd >= server.cost_usd


def test_six_attempts_then_a_reason_and_a_later_run_asks_again(server, tmp_path):
    text = captions(1)[0]
    server.faults[text] = [Fault("status", 500, message="boom")] * 6
    settings = config(tmp_path, server.url)
    (value,) = ask(opened(settings), [text])
    assert isinstance(value, Failure)
    assert value.code == "server_error"
    assert "boom" in value.message
    assert server.arrivals[text] == 6
    assert outcomes(ask(opened(settings), [text])) == ["paraphrased"]


def test_retry_after_is_waited_for(server, tmp_path):
    server.faults["a b c"] = [Fault("status", 429, headers={"retry-after": "0.4"})]
    loop_time = asyncio.new_event_loop()
    started = loop_time.time()
    ask(opened(config(tmp_path, server.url)), ["a b c"])
    assert loop_time.time() - started >= 0.4
    loop_time.close()


def test_a_server_that_asks_for_hours_stops_the_run(server, tmp_path):
    server.faults["a b c"] = [Fault("status", 429, headers={"retry-after": "7200"})]
    with pytest.raises(ProviderError, match="7200"):
        ask(opened(config(tmp_path, server.url)), ["a b c"])


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("refusal"), "refused"),
        (Fault("finish", text="length"), "cut_off"),
        (Fault("finish", text="content_filter"), "content_filter"),
        (Fault("status", 400, "content_filter"), "content_filter"),
        (Fault("text", text="[]"), "declined"),
        (Fault("text", text="I'm sorry, but I can't help with that."), "all_dropped"),
    ],
)
def test_replies_without_paraphrases_are_final(server, tmp_path, fault, expected):
    server.faults["what a day"] = [fault]
    settings = config(tmp_path, server.url)
    (value,) = ask(opened(settings), ["what a day"])
    assert value["outcome"] == expected
    assert value["children"] == []
    assert outcomes(ask(opened(settings), ["what a day"])) == [expected]
    assert server.arrivals["what a day"] == 1


def test_unreadable_reply_is_repaired_once(server, tmp_path):
    server.faults["what a day"] = [Fault("text", text='["what a wonderf')]
    settings = config(tmp_path, server.url)
    (value,) = ask(opened(settings), ["what a day"])
    assert value["outcome"] == "paraphrased"
    repair = server.bodies[1]["messages"]
    assert [message["role"] for message in repair[-2:]] == ["assistant", "user"]
    assert repair[-2]["content"] == '["what a wonderf'
    assert ask(opened(settings), ["what a day"]) == [value]
    assert server.arrivals["what a day"] == 2


def test_parse_failed_after_one_repair(server, tmp_path):
    server.faults["what a day"] = [Fault("text", text="{broken"), Fault("text", text="{again")]
    settings = config(tmp_path, server.url)
    assert outcomes(ask(opened(settings), ["what a day"])) == ["parse_failed"]
    assert outcomes(ask(opened(settings), ["what a day"])) == ["parse_failed"]
    assert server.arrivals["what a day"] == 2


def test_a_body_that_is_no_completion_is_no_final_answer(server, tmp_path):
    server.faults["what a day"] = [Fault("body", text="<html>hello</html>")]
    assert outcomes(ask(opened(config(tmp_path, server.url)), ["what a day"])) == ["paraphrased"]
    assert used(tmp_path).requests == 2


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (Fault("status", 401, "invalid_api_key"), "authentication"),
        (Fault("status", 403), "permission_denied"),
        (Fault("status", 404, "model_not_found"), "model_not_found"),
        (Fault("status", 429, "insufficient_quota"), "quota_exhausted"),
    ],
)
def test_errors_that_stay_stop_the_run_without_a_second_try(server, tmp_path, fault, word):
    texts = captions(8)
    for text in texts:
        server.faults[text] = [fault] * 9
    with pytest.raises(ProviderError, match=word):
        ask(opened(config(tmp_path, server.url, concurrency=1)), texts)
    assert server.arrivals.total() == 1


def test_unsupported_parameter_gives_advice_and_is_never_dropped(server, tmp_path):
    server.faults["a b c"] = [
        Fault("status", 400, "unsupported_value", "no 'temperature' here", parameter="temperature")
    ]
    with pytest.raises(ProviderError, match="temperature=null"):
        ask(opened(config(tmp_path, server.url)), ["a b c"])
    assert all("temperature" in body for body in server.bodies)


def test_consecutive_failures_stop_the_run(server, tmp_path):
    texts = captions(10)
    for text in texts:
        server.faults[text] = [Fault("status", 400, "odd", "no idea")] * 9
    with pytest.raises(ProviderError, match=r"3 captions in a row failed.*no idea"):
        ask(opened(config(tmp_path, server.url, stop_after=3, concurrency=1)), texts)
    assert server.arrivals.total() == 3


def test_one_bad_request_costs_one_caption(server, tmp_path):
    texts = captions(5)
    server.faults[texts[2]] = [Fault("status", 400, "odd", "no idea")]
    values = ask(opened(config(tmp_path, server.url)), texts)
    assert outcomes(values) == ["paraphrased"] * 2 + ["request_rejected"] + ["paraphrased"] * 2


def test_concurrency_is_bounded(server, tmp_path):
    server.delay_s = 0.03
    ask(opened(config(tmp_path, server.url, concurrency=3)), captions(12))
    assert 2 <= server.most_in_flight <= 3


def test_budget_is_never_passed_and_what_was_paid_is_kept(server, tmp_path):
    texts = captions(40)
    server.delay_s = 0.01
    budget = 0.02
    settings = config(tmp_path, server.url, budget_usd=budget)
    with pytest.raises(BudgetExceeded, match="budget_usd"):
        ask(opened(settings), texts)
    assert 0.5 * budget < server.cost_usd <= budget
    assert used(tmp_path).cost_usd == pytest.approx(server.cost_usd)
    paid = set(server.bills)
    with pytest.raises(BudgetExceeded):
        ask(opened(settings), texts)
    assert set(server.bills) == paid
    values = ask(opened(config(tmp_path, server.url, budget_usd=1.0)), texts)
    assert outcomes(values) == ["paraphrased"] * 40
    assert set(server.bills.values()) == {1}


@pytest.mark.parametrize("cap", ["max_requests", "max_input_tokens", "max_output_tokens"])
def test_each_cap_holds(server, tmp_path, cap):
    limit = {"max_requests": 3, "max_input_tokens": 9000, "max_output_tokens": 1000}[cap]
    with pytest.raises(BudgetExceeded, match=cap):
        ask(opened(config(tmp_path, server.url, **{cap: limit})), captions(30))
    total = used(tmp_path)
    spent = {
        "max_requests": total.requests,
        "max_input_tokens": total.input_tokens,
        "max_output_tokens": total.output_tokens,
    }[cap]
    assert 0 < spent <= limit
    assert len(server.bills) == total.requests


def test_nothing_is_sent_without_confirmation_or_key_or_price(server, tmp_path, monkeypatch):
    with pytest.raises(ProviderError, match="not confirmed"):
        ask(opened(config(tmp_path, server.url, confirm_paid=False)), ["a b c"])
    with pytest.raises(ConfigError, match="no price"):
        opened(config(tmp_path, server.url, model="other"))
    with pytest.raises(ConfigError, match="no price"):
        opened(config(tmp_path, server.url, price_table=None, budget_usd=1.0))
    with pytest.raises(ConfigError, match="model is not set"):
        opened(config(tmp_path, server.url, model=None))
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ProviderError, match="OPENAI_API_KEY"):
        ask(opened(config(tmp_path, server.url)), ["a b c"])
    assert server.calls.total() == 0


def test_model_list_is_looked_at_first(server, tmp_path, caplog):
    server.models = [{"id": "other"}]
    with pytest.raises(ProviderError, match="not among"):
        ask(opened(config(tmp_path, server.url)), ["a b c"])
    server.models = [{"id": "tiny", "shutdown_date": "2020-01-01"}]
    with pytest.raises(ProviderError, match="shut down"):
        ask(opened(config(tmp_path, server.url)), ["a b c"])
    assert server.arrivals.total() == 0
    import datetime

    soon = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=9)
    server.models = [{"id": "tiny", "shutdown_date": soon.isoformat()}]
    with caplog.at_level(logging.WARNING):
        ask(opened(config(tmp_path, server.url)), ["a b c"])
    assert "will be shut down" in caplog.text
    server.models = None
    assert outcomes(ask(opened(config(tmp_path, server.url)), ["d e f"])) == ["paraphrased"]


def test_key_appears_nowhere(server, tmp_path, caplog, monkeypatch):
    echo = f"your key is {KEY}, Bearer {KEY}"
    texts = captions(3)
    server.faults[texts[0]] = [Fault("text", text=json.dumps([echo]))]
    server.faults[texts[1]] = [Fault("status", 400, "odd", echo)]
    with caplog.at_level(logging.INFO):
        values = ask(opened(config(tmp_path, server.url)), texts)
        monkeypatch.setenv("OPENAI_API_KEY", KEY + "-wrong")
        server.models = None
        with pytest.raises(ProviderError) as caught:
            ask(opened(config(tmp_path, server.url)), ["another one"])
    assert "-wrong" not in str(caught.value)
    assert KEY not in repr(values) + str(caught.value) + repr(caught.value) + caplog.text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert any(KEY in header["authorization"] for header in server.headers)


def test_address_with_secrets_is_refused(tmp_path):
    for url in ("https://user:word@host/v1", "https://host/v1?key=x", "ftp://host", "host/v1"):
        with pytest.raises(ConfigError):
            opened(config(tmp_path, url))


def test_works_inside_a_running_event_loop(server, tmp_path):
    stage = opened(config(tmp_path, server.url))

    async def notebook():
        return ask(stage, ["a b c"])

    assert outcomes(asyncio.run(notebook())) == ["paraphrased"]
    assert outcomes(ask(stage, ["d e f"])) == ["paraphrased"]


def test_full_disk_stops_before_anything_is_sent(server, tmp_path, monkeypatch):
    from affectflow.pipeline.errors import StoreError
    from affectflow.pipeline.llm import journal

    stage = opened(config(tmp_path, server.url))

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "_write_all", full)
    with pytest.raises(StoreError, match="No space left"):
        ask(stage, captions(10))
    assert not server.bills
