"""Reading the list of paraphrases out of a reply.

Tried in this order: JSON array, object that holds one array, numbered lines, plain lines. Code
fences are taken off first. Text that looks like JSON but is not is never read as plain lines.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_FENCE_LINE = re.compile(r"^[ \t]*```[\w-]*[ \t]*$", re.MULTILINE)
_FENCES_IN_LINE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL)
_NUMBERED = re.compile(r"^\s*\d{1,2}\s*[.)]\s+(\S.*?)\s*$")
_JSON_START = re.compile(r"[\[{]")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a reply says.

    Attributes:
        items: The paraphrases in reply order; empty with no ``problem`` when the model answered
            with an empty list.
        form: ``json``, ``numbered``, ``lines`` or empty.
        problem: Why the reply cannot be used, empty when it can.
    """

    items: tuple[str, ...] = ()
    form: str = ""
    problem: str = ""


def parse_reply(text: str, n: int, strict: bool = False) -> Parsed:
    """Return the paraphrases in ``text``.

    Args:
        text: The reply as the model wrote it.
        n: Paraphrases asked for.
        strict: Accept exactly ``n``, as the published recipe does; otherwise 1 to ``n`` (of a
            longer JSON array, the first ``n``).
    """
    bare = _unfenced(text)
    if not bare:
        return Parsed(problem="empty reply")
    parsed = _from_json(bare) or _from_numbers(bare) or _from_lines(bare)
    if parsed.problem:
        return parsed
    if strict and len(parsed.items) != n:
        return Parsed(problem=f"{len(parsed.items)} items, expected exactly {n}")
    if len(parsed.items) > n and parsed.form != "json":
        return Parsed(problem=f"{len(parsed.items)} {parsed.form}, expected at most {n}")
    return Parsed(parsed.items[:n], parsed.form)


def _unfenced(text: str) -> str:
    # A fence may lack its end when the reply was cut off.
    text = _FENCE_LINE.sub("", text).strip()
    found = _FENCES_IN_LINE.match(text)
    return found.group(1) if found else text


def _from_json(text: str) -> Parsed | None:
    start = _JSON_START.search(text)
    if start is None:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start.start())
    except (json.JSONDecodeError, RecursionError):
        if start.start() == 0:
            return Parsed(problem="looks like JSON but is not")
        return None
    items = _strings(value)
    if items is None and start.start() > 0:
        # A bracket inside prose, such as "[laughs]", is not an answer in JSON.
        return None
    return Parsed(problem="JSON without one list of strings") if items is None else items


def _strings(value: Any) -> Parsed | None:
    if isinstance(value, dict):
        lists = [entry for entry in value.values() if isinstance(entry, list)]
        if len(lists) != 1:
            return None
        value = lists[0]
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        return None
    return Parsed(tuple(value), "json")


def _from_numbers(text: str) -> Parsed | None:
    found = [_NUMBERED.match(line) for line in text.splitlines()]
    items = tuple(match.group(1) for match in found if match)
    return Parsed(items, "numbered") if items else None


def _from_lines(text: str) -> Parsed:
    return Parsed(tuple(line.strip() for line in text.splitlines() if line.strip()), "lines")
