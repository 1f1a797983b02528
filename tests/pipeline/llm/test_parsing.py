import json

import pytest

from affectflow.pipeline.llm.parsing import parse_reply

FIVE = ["one thing", "two things", "three things", "four things", "five things"]
ARRAY = json.dumps(FIVE)
NUMBERED = "\n".join(f"{place}. {item}" for place, item in enumerate(FIVE, 1))

READABLE = {
    "array": (ARRAY, FIVE, "json"),
    "fenced": (f"```json\n{ARRAY}\n```", FIVE, "json"),
    "fenced without name": (f"```\n{ARRAY}\n```\n", FIVE, "json"),
    "object": (json.dumps({"paraphrases": FIVE}), FIVE, "json"),
    "object with more keys": (json.dumps({"n": 5, "list": FIVE}), FIVE, "json"),
    "array after prose": (f"Here you are:\n{ARRAY}\nEnjoy!", FIVE, "json"),
    "numbered": (NUMBERED, FIVE, "numbered"),
    "numbered with brackets": (NUMBERED.replace(". ", ") "), FIVE, "numbered"),
    "numbered after prose": (f"Sure!\n\n{NUMBERED}\n\nAnything else?", FIVE, "numbered"),
    "lines": ("\n\n".join(FIVE), FIVE, "lines"),
    "four items": (json.dumps(FIVE[:4]), FIVE[:4], "json"),
    "six items": (json.dumps([*FIVE, "six"]), FIVE, "json"),
    "brackets inside prose": ("me [crying]: why\nyou: because", None, "lines"),
    "unicode": (json.dumps(["हम चले", "走吧"]), ["हम चले", "走吧"], "json"),
    "empty list": ("[]", [], "json"),
    "refusal": ("I can't help with that.", ["I can't help with that."], "lines"),
}

UNREADABLE = {
    "empty": "",
    "spaces": " \n\t ",
    "cut off array": '["one thing", "two thi',
    "cut off object": '{"paraphrases": ["one thing", "two',
    "cut off fence": '```json\n["one thing", "two',
    "numbers in array": "[1, 2, 3]",
    "nested array": '[["a", "b"]]',
    "two arrays": '{"a": ["x"], "b": ["y"]}',
    "object without array": '{"error": "no"}',
    "seven lines": "\n".join(f"line {index}" for index in range(7)),
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("name", READABLE)
def test_readable_replies(name):
    text, items, form = READABLE[name]
    parsed = parse_reply(text, 5)
    assert parsed.problem == ""
    assert parsed.form == form
    if items is not None:
        assert list(parsed.items) == items


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_replies(name):
    parsed = parse_reply(UNREADABLE[name], 5)
    assert parsed.problem
    assert parsed.items == ()


@pytest.mark.parametrize("count", [1, 4, 6])
def test_strict_count_accepts_exactly_n(count):
    text = json.dumps([f"item {index}" for index in range(count)])
    assert parse_reply(text, 5, strict=True).problem
    assert not parse_reply(text, count, strict=True).problem
    assert len(parse_reply(text, 5).items) == min(count, 5)
