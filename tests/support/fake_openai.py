"""A local server that speaks the part of the OpenAI API that paraphrasing uses, faults included.

It counts tokens by a rule of its own and bills what it answers. A repeated ``Idempotency-Key`` is
answered again without a new bill. Faults are given per arrival of a caption: the first entry is
used for its first arrival, and so on; afterwards it is answered properly.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-test-3f9a7c51d2e84b60"
PRICE_IN, PRICE_OUT = 1.0, 3.0

_CAPTION = re.compile(r"<<<CAPTION\n(.*)\nCAPTION>>>\s*$", re.DOTALL)
_PIECE = re.compile(r"\w{1,4}|[^\w\s]")


def tokens(text: str) -> int:
    return len(_PIECE.findall(text))


def good_versions(caption: str, n: int = 5) -> list[str]:
    openings = ["well then", "so now", "look here", "once again", "as ever", "still", "yet again"]
    return [f"{opening} {caption}" for opening in openings[:n]]


@dataclass
class Fault:
    """What happens to one arrival of a caption.

    ``kind``: ``status`` (with ``status``, ``code``, ``headers``), ``slow`` (answer after
    ``seconds``), ``drop`` (bill, then cut the connection), ``text`` (a reply with this content),
    ``finish`` (finish reason), ``refusal``, ``body`` (200 with this raw body).
    """

    kind: str
    status: int = 200
    code: str = ""
    message: str = "injected"
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    text: str = ""
    parameter: str = ""


class FakeOpenAI:
    """The server; use as a context manager."""

    def __init__(self) -> None:
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.reply: Callable[[str], str] = lambda caption: json.dumps(
            {"paraphrases": good_versions(caption)}
        )
        self.models: list[dict[str, Any]] | None = [{"id": "tiny"}]
        self.delay_s = 0.0
        self.arrivals: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.calls: Counter[str] = Counter()
        self.billed: dict[str, int] = {}
        self.bills: Counter[str] = Counter()
        self.cost_usd = 0.0
        self.input_tokens = self.output_tokens = 0
        self.on_call: Callable[[str, str], None] = lambda moment, name: None
        self.in_flight = self.most_in_flight = 0
        self.honours_keys = True
        # batches
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls_until_done = 1
        self.batch_end = "completed"
        self.batch_line: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda _, line: (
            line
        )
        self.lock = threading.RLock()
        self._answers: dict[str, dict[str, Any]] = {}
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def complete(self, body: dict[str, Any], caption: str, fault: Fault | None) -> dict[str, Any]:
        """Answer one request and bill it."""
        text, finish, refusal = self.reply(caption), "stop", None
        if fault and fault.kind == "text":
            text = fault.text
        if fault and fault.kind == "finish":
            finish = fault.text
        if fault and fault.kind == "refusal":
            text, refusal = None, "I can't help with that."
        used = sum(3 + tokens(message["content"]) for message in body["messages"])
        made = min(tokens(text or refusal or ""), body.get("max_completion_tokens", 10**9))
        message = {"role": "assistant", "content": text, "refusal": refusal}
        return {
            "id": "x",
            "object": "chat.completion",
            "model": body["model"] + "-2026",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": used, "completion_tokens": made},
        }

    def bill(self, name: str, answer: dict[str, Any], factor: float = 1.0) -> None:
        usage = answer["usage"]
        got, made = usage["prompt_tokens"], usage["completion_tokens"]
        with self.lock:
            self.bills[name] += 1
            self.input_tokens += got
            self.output_tokens += made
            self.cost_usd += factor * (got * PRICE_IN + made * PRICE_OUT) / 1e6

    # -- batches -------------------------------------------------------------------------------

    def create_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            name = f"batch_{len(self.batches)}"
            self.batches[name] = {
                "id": name,
                "object": "batch",
                "status": "validating",
                "created_at": int(time.time()),
                "polls": 0,
                "completion_window": "24h",
                **body,
            }
        return self.batches[name]

    def poll_batch(self, name: str) -> dict[str, Any]:
        with self.lock:
            batch = self.batches[name]
            batch["polls"] += 1
            if batch["status"] in {"completed", "expired", "failed"}:
                return batch
            if batch["polls"] <= self.polls_until_done:
                batch["status"] = "in_progress"
                return batch
            batch["status"] = self.batch_end
            if self.batch_end in {"completed", "expired"}:
                self._finish_batch(batch)
            return batch

    def _finish_batch(self, batch: dict[str, Any]) -> None:
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            asked = json.loads(line)
            caption = caption_of(asked["body"])
            answer = self.complete(asked["body"], caption, None)
            result = {"id": "r", "custom_id": asked["custom_id"], "error": None}
            result["response"] = {"status_code": 200, "request_id": "q", "body": answer}
            result = self.batch_line(caption, result)
            if result is None:
                continue
            if result["response"]["status_code"] == 200:
                self.bill(asked["custom_id"], answer, 0.5)
                good.append(result)
            else:
                # The line is among the good ones although it failed, as some servers do.
                (good if result["response"]["status_code"] == 0 else bad).append(result)
        good.reverse()
        for kind, lines in (("output", good), ("error", bad)):
            name = f"file_{batch['id']}_{kind}"
            if lines:
                self.files[name] = "\n".join(json.dumps(line) for line in lines).encode()
                batch[f"{kind}_file_id"] = name


def caption_of(body: dict[str, Any]) -> str:
    """The last caption asked about; a repair asks about it too."""
    for message in reversed(body["messages"]):
        found = _CAPTION.search(message["content"]) if message["role"] == "user" else None
        if found:
            return found.group(1)
    raise AssertionError("no caption in the request")


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOpenAI
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self._guarded("GET", parts.path.removeprefix("/v1"), parse_qs(parts.query))

    def do_POST(self) -> None:
        self._guarded("POST", self.path.removeprefix("/v1"), {})

    def _guarded(self, method: str, path: str, query: dict[str, list[str]]) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            self._route(method, path, query, data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, method: str, path: str, query: dict[str, list[str]], data: bytes) -> None:
        fake, name = self.fake, f"{method} {re.sub(r'(file|batch)_[^/]+', ':id', path)}"
        fake.calls[name] += 1
        if self.headers.get("authorization") != f"Bearer {KEY}":
            got = self.headers.get("authorization", "")
            self._send(401, _error("invalid_api_key", f"Incorrect API key provided: {got}"))
            return
        fake.on_call("before", name)
        status, value = 200, None
        if path == "/chat/completions":
            self._chat(json.loads(data))
            return
        if path == "/models":
            status, value = (200, {"object": "list", "data": fake.models})
            if fake.models is None:
                status, value = 404, _error("not_found", "no such route")
        elif path == "/files":
            value = {"id": f"file_{fake.calls[name] - 1}", "object": "file", "purpose": "batch"}
            value |= {"bytes": 1, "created_at": 1, "filename": "f", "status": "processed"}
            fake.files[value["id"]] = _uploaded(self.headers["content-type"], data)
        elif path.endswith("/content"):
            self._send_bytes(200, fake.files[path.split("/")[2]], {})
            fake.on_call("after", name)
            return
        elif path == "/batches" and method == "POST":
            value = fake.create_batch(json.loads(data))
            fake.on_call("done", name)
        elif path == "/batches":
            value = {"object": "list", "data": list(fake.batches.values()), "has_more": False}
        else:
            value = fake.poll_batch(path.split("/")[2])
        self._send(status, value)
        fake.on_call("after", name)

    def _chat(self, body: dict[str, Any]) -> None:
        fake, caption = self.fake, caption_of(body)
        name = self.headers.get("idempotency-key", "")
        with fake.lock:
            fake.in_flight += 1
            fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
            fake.bodies.append(body)
            fake.headers.append({name.lower(): value for name, value in self.headers.items()})
            arrival = fake.arrivals[caption]
            fake.arrivals[caption] += 1
            planned = fake.faults.get(caption, [])
            fault = planned[arrival] if arrival < len(planned) else None
        try:
            self._answer(body, caption, name, fault)
        finally:
            with fake.lock:
                fake.in_flight -= 1

    def _answer(self, body: dict[str, Any], caption: str, name: str, fault: Fault | None) -> None:
        fake = self.fake
        if fault and fault.kind == "status":
            self._send(
                fault.status, _error(fault.code, fault.message, fault.parameter), fault.headers
            )
            return
        if fault and fault.kind == "body":
            self._send_bytes(200, fault.text.encode(), {})
            return
        with fake.lock:
            known = fake._answers.get(name) if fake.honours_keys else None
            answer = known or fake.complete(body, caption, fault)
            fake._answers[name] = answer
            if known is None:
                fake.bill(name, answer)
        fake.on_call("done", "POST /chat/completions")
        time.sleep(fault.seconds if fault and fault.kind == "slow" else fake.delay_s)
        if fault and fault.kind == "drop":
            self.close_connection = True
            return
        self._send(200, answer, fault.headers if fault else {})
        fake.on_call("after", "POST /chat/completions")

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(value).encode(), headers or {})

    def _send_bytes(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)


def _error(code: str, message: str, parameter: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": code, "param": parameter or None}}


def _uploaded(content_type: str, data: bytes) -> bytes:
    head = f"content-type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + data, policy=email.policy.HTTP)
    for part in message.iter_parts():
        if part.get_filename():
            return bytes(part.get_payload(decode=True))
    raise AssertionError("no file in the upload")
