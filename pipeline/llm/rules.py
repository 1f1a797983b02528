"""Paraphrases by rule: offline, free, the same for the same key; of low quality.

They serve demonstrations and tests. Contractions are swapped, a few words replaced by synonyms,
two clauses exchanged, a polite opening put in front.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from ..config import canonical_json
from .language import language, scripts
from .provider import Reply
from .request import Request

_CONTRACTIONS = {
    "don't": "do not", "can't": "can not", "won't": "will not", "isn't": "is not",
    "aren't": "are not", "didn't": "did not", "doesn't": "does not", "i'm": "i am",
    "you're": "you are", "it's": "it is", "that's": "that is", "we're": "we are",
    "they're": "they are", "i've": "i have", "i'll": "i will", "what's": "what is",
}  # fmt: skip
_SYNONYMS = {
    "big": ("large", "huge"), "small": ("little", "tiny"), "happy": ("glad", "cheerful"),
    "sad": ("unhappy", "down"), "friend": ("mate", "buddy"), "friends": ("mates", "buddies"),
    "see": ("spot", "notice"), "look": ("glance", "gaze"), "start": ("begin",),
    "want": ("wish", "would like"), "need": ("require",), "think": ("believe", "feel"),
    "good": ("fine", "nice"), "great": ("terrific", "superb"), "bad": ("poor", "awful"),
    "fast": ("quick", "rapid"), "begin": ("start",), "always": ("every time", "constantly"),
    "never": ("not once", "at no time"), "people": ("folks", "persons"), "get": ("receive",),
    "buy": ("purchase",), "job": ("work",), "home": ("house",), "says": ("states", "remarks"),
    "everyone": ("everybody",), "nobody": ("no one",), "love": ("adore",), "kids": ("children",),
    "tired": ("worn out", "sleepy"), "funny": ("amusing",), "finally": ("at last",),
}  # fmt: skip
_JOINTS = (" because ", " when ", " while ", " after ", " before ", " if ")
_OPENINGS = ("honestly", "you know", "well", "to be fair", "so", "just saying")


class RulesProvider:
    """Answers from tables; see the module."""

    async def answer(self, requests: Sequence[Request]) -> dict[str, Reply]:
        """Return a reply for every request, by key."""
        return {request.key: _reply(request) for request in requests}


def _reply(request: Request) -> Reply:
    return Reply(raw=canonical_json(paraphrase(request.caption, request.key, request.n)))


def paraphrase(caption: str, key: str, n: int) -> list[str]:
    """Return up to ``n`` different versions of an English caption; none for other languages."""
    found = language(caption)
    if found not in (None, "english") or set(scripts(caption)) - {"LATIN"}:
        return []
    random_source = random.Random(int(key[:16], 16))
    versions = dict.fromkeys(_candidates(caption.strip(), random_source))
    versions.pop(caption.strip(), None)
    return list(versions)[:n]


def _candidates(caption: str, random_source: random.Random) -> Iterator[str]:
    if not caption:
        return
    swapped = _swap_words(caption, random_source)
    openings = random_source.sample(_OPENINGS, k=len(_OPENINGS))
    yield swapped
    yield _swap_contractions(swapped)
    yield _exchange_clauses(swapped)
    for opening in openings:
        yield f"{opening} {_swap_words(caption, random_source)}"


def _swap_words(text: str, random_source: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        choices = _SYNONYMS.get(match.group(0).casefold())
        return random_source.choice(choices) if choices else match.group(0)

    return re.sub(r"[A-Za-z]+", other, text)


def _swap_contractions(text: str) -> str:
    for short, long in _CONTRACTIONS.items():
        pattern, other = (short, long) if short in text.casefold() else (long, short)
        text = re.sub(rf"\b{re.escape(pattern)}\b", other, text, flags=re.IGNORECASE)
    return text


def _exchange_clauses(text: str) -> str:
    for joint in _JOINTS:
        first, found, second = text.partition(joint)
        if found and first.strip() and second.strip():
            return f"{joint.strip()} {second.strip()} {first.strip()}"
    return text
