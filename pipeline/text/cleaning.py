"""Cleaning captions: an ordered list of named rules per mode, with a count per rule.

Two modes. ``unicode`` keeps letters of every script. ``author`` repeats the published MM-ORIENT
preprocessing, which keeps ASCII letters only and so deletes every other script.

Cleaning is pure and idempotent: the rules run until the text no longer changes, because one rule
can uncover work for an earlier one (an escaped tag, a host split by a line break).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..config import Config
from . import rules

CLEANING_VERSION = 1
"""Raised whenever a rule, or the order of rules, gives other text."""

_MOST_ROUNDS = 8


class CleaningOptions(Config):
    """What cleaning keeps.

    Attributes:
        mode: ``unicode`` or ``author`` (replication; ignores the other options).
        emoji: Of ``unicode``: ``keep`` them, put their English ``name``, or ``drop`` them.
        digits: Of ``unicode``: keep digits.
    """

    mode: Literal["unicode", "author"] = "unicode"
    emoji: Literal["keep", "name", "drop"] = "name"
    digits: bool = True


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The result of cleaning.

    Attributes:
        text: The clean text, possibly empty.
        counts: Rule name to how often it applied; rules that did not apply are left out.
        flags: Findings: ``html``, ``spreadsheet_error``, ``mojibake``, ``watermark``, and
            ``emptied`` where cleaning left nothing of a text.
    """

    text: str
    counts: Mapping[str, int]
    flags: tuple[str, ...]


Rule = Callable[[str, CleaningOptions], tuple[str, int]]

UNICODE_RULES: Mapping[str, Rule] = {
    "mojibake": lambda text, options: rules.mojibake(text),
    "html": lambda text, options: rules.html_markup(text),
    "emoji": lambda text, options: rules.emoji_policy(text, options.emoji),
    "normalise": lambda text, options: rules.normalise(text, options.emoji == "keep"),
    "invisible": lambda text, options: rules.invisible(text, options.emoji == "keep"),
    "spreadsheet_error": lambda text, options: rules.spreadsheet_errors(text),
    "url": lambda text, options: rules.urls(text),
    "email": lambda text, options: rules.emails(text),
    "watermark": lambda text, options: rules.watermarks(text),
    "domain": lambda text, options: rules.domains(text),
    "handle": lambda text, options: rules.handles(text),
    "case": lambda text, options: rules.lower(text, options.emoji == "keep"),
    "digits": lambda text, options: (text, 0) if options.digits else rules.digits(text),
    "characters": lambda text, options: rules.characters(text, options.emoji == "keep"),
    "whitespace": lambda text, options: rules.whitespace(text),
}

AUTHOR_RULES: Mapping[str, Rule] = {
    "case": lambda text, options: rules.lower(text, False),
    "characters": lambda text, options: rules.ascii_only(text),
    "digits": lambda text, options: rules.ascii_digits(text),
    "whitespace": lambda text, options: rules.whitespace(text),
}

_FINDINGS = ("html", "spreadsheet_error", "mojibake", "watermark")


def rule_names(mode: Literal["unicode", "author"]) -> tuple[str, ...]:
    """Return the rules of a mode in the order they apply."""
    return tuple(_rules_of(mode))


def clean(text: str, options: CleaningOptions | None = None) -> Cleaned:
    """Return the clean text, what was done to it and what was found in it."""
    options = options or CleaningOptions()
    counts: Counter[str] = Counter()
    current = text
    for _ in range(_MOST_ROUNDS):
        previous = current
        for name, rule in _rules_of(options.mode).items():
            current, count = rule(current, options)
            if count:
                counts[name] += count
        if current == previous:
            break
    flags = [name for name in _FINDINGS if counts[name]]
    if text.strip() and not current:
        flags.append("emptied")
    return Cleaned(current, dict(counts), tuple(flags))


def _rules_of(mode: str) -> Mapping[str, Rule]:
    return UNICODE_RULES if mode == "unicode" else AUTHOR_RULES
