"""Deciding which raw paraphrases may become training rows.

The guards see the paraphrases as the model wrote them, before any cleaning: a cleaner deletes the
dots, capitals, bullets and signs that they look for. Each dropped item carries one reason:

`empty` · `equals_source` · `equals_sibling` · `equals_held_out` · `equals_other_row` ·
`foreign_link` · `refusal` · `length` · `too_long` · `script` · `language` · `label_word` ·
`similarity` · `surplus`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .folding import Corpus, fold_caption, fold_case
from .language import count_tokens, count_words, language_differs, script_differs

# Raised whenever the same reply gives another decision.
GUARDS_VERSION = 2

LABEL_WORDS = (
    "sarcastic", "sarcasm", "offensive", "motivational", "humorous", "humourous", "hateful",
    "hate speech", "propaganda", "harmful", "misogynistic", "racist", "sexist",
)  # fmt: skip

Similarity = Callable[[str, Sequence[str]], Sequence[float]]

_LEADING = re.compile(r"^\s*(?:\d{1,2}\s*[.)]\s+|[-•*–]\s+)+")
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“", "'": "'", "‘": "’"}
_LINK = re.compile(
    r"https?://\S+|www\.\S+|\b[\w-]+\.(?:com|net|org|io|me|co|tv|ru|info)\b|(?<!\w)@\w+",
    re.IGNORECASE,
)
_MARKS = (re.compile(r"www\."), re.compile(r"\.com\b"), re.compile("website"))
_REFUSALS = (
    re.compile(r"\bas an? (?:ai|artificial|language model|assistant)\b"),
    re.compile(r"\b(?:language model|paraphras\w+|rephras\w+|reworded version)\b"),
    re.compile(r"^(?:sure|certainly|of course)?[,!. ]*here(?:'s| is| are)\b"),
    re.compile(r"^(?:i'?m sorry|i am sorry|sorry,|i apologi[sz]e|unfortunately, i)\b"),
    re.compile(
        r"^i (?:can'?t|cannot|can not|won'?t|am unable|am not able)\b|^i'm (?:unable|not able)\b"
    ),
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one item of a reply.

    Attributes:
        index: Place in the reply, from 0.
        text: The item without leading numbering, bullet and quotes.
        reason: Why it was dropped; empty when it is kept.
    """

    index: int
    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Guards:
    """The checks and their bounds.

    Attributes:
        corpus: All captions of the dataset.
        max_kept: Paraphrases kept per caption, in reply order.
        word_ratio: Smallest and largest number of words, as a share of the source's.
        max_tokens: Largest number of tokens.
        label_words: Words that would tell the label when the source does not hold them.
        similarity: Optional measure of a source against its paraphrases, -1 to 1.
        similarity_bounds: Smallest and largest similarity.
    """

    corpus: Corpus
    max_kept: int = 1
    word_ratio: tuple[float, float] = (0.3, 3.0)
    max_tokens: int = 128
    label_words: tuple[str, ...] = LABEL_WORDS
    similarity: Similarity | None = None
    similarity_bounds: tuple[float, float] = (0.6, 0.99)

    def decide(self, source: str, items: Sequence[str]) -> list[Decision]:
        """Return one decision per item, in reply order."""
        texts = [tidy(item) for item in items]
        close = self.similarity(source, texts) if self.similarity and texts else None
        decisions: list[Decision] = []
        passed: list[str] = []
        for index, text in enumerate(texts):
            reason = self._reason(source, text, passed)
            if not reason and close is not None:
                low, high = self.similarity_bounds
                reason = "" if low <= close[index] <= high else "similarity"
            if not reason and len(passed) >= self.max_kept:
                reason = "surplus"
            # A surplus item still counts as a sibling, so its repetition is called one.
            if reason in {"", "surplus"}:
                passed.append(text)
            decisions.append(Decision(index, text, reason))
        return decisions

    def _reason(self, source: str, text: str, passed: Sequence[str]) -> str:
        if reason := repeats(source, text, passed) or self._leak(text):
            return reason
        if has_foreign_link(source, text):
            return "foreign_link"
        if is_refusal(source, text):
            return "refusal"
        if reason := self._length(source, text):
            return reason
        if script_differs(source, text):
            return "script"
        if language_differs(source, text):
            return "language"
        return "label_word" if self._has_label_word(source, text) else ""

    def _leak(self, text: str) -> str:
        owner = self.corpus.owner(text)
        return {"held_out": "equals_held_out", "train": "equals_other_row"}.get(owner or "", "")

    def _length(self, source: str, text: str) -> str:
        low, high = self.word_ratio
        ratio = count_words(text) / max(1, count_words(source))
        if not low <= ratio <= high:
            return "length"
        return "too_long" if count_tokens(text) > self.max_tokens else ""

    def _has_label_word(self, source: str, text: str) -> bool:
        before, after = fold_case(source), fold_case(text)
        return any(
            re.search(rf"\b{re.escape(word)}\b", after) and word not in before
            for word in self.label_words
        )


def tidy(item: str) -> str:
    """Return an item without leading numbering and bullets and without quotes around it."""
    text = _LEADING.sub("", item).strip()
    closing = _QUOTES.get(text[:1])
    if closing and len(text) > 2 and text.endswith(closing) and closing not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def repeats(source: str, text: str, siblings: Sequence[str]) -> str:
    """Return why ``text`` says nothing new, or an empty string.

    Case and space are folded first; then everything that a cleaner removes.
    """
    for fold in (fold_case, fold_caption):
        folded = fold(text)
        if not folded:
            return "empty"
        if folded == fold(source):
            return "equals_source"
        if any(folded == fold(sibling) for sibling in siblings):
            return "equals_sibling"
    return ""


def has_foreign_link(source: str, text: str) -> bool:
    """Return whether ``text`` names a site, a link or a user that the source does not."""
    before, after = source.casefold(), text.casefold()
    if any(mark.search(after) and not mark.search(before) for mark in _MARKS):
        return True
    if "Sentence" in text and "Sentence" not in source:
        return True
    return any(link.casefold() not in before for link in _LINK.findall(text))


def is_refusal(source: str, text: str) -> bool:
    """Return whether ``text`` talks about the task instead of doing it."""
    before, after = (fold_case(value).replace("’", "'") for value in (source, text))
    return any(pattern.search(after) and not pattern.search(before) for pattern in _REFUSALS)
