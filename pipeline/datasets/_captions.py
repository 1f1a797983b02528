"""Which caption a row has, out of a corrected and a recognised one, and what is odd about it."""

from __future__ import annotations

import re

_SPREADSHEET_ERRORS = frozenset(
    {"#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#N/A", "#NULL!", "#NUM!"}
)
_HTML = re.compile(
    r"<!doctype\b|</[a-z][a-z0-9]*\s*>"
    r"|<(?:html|head|meta|style|body|div|span|script|table|font|img|br|p|a|b|i|u)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)


def choose_text(corrected: str, ocr: str) -> tuple[str, tuple[str, ...]]:
    """Return the caption to use and what was found: the corrected text, else the recognised one.

    Flags: ``spreadsheet_error`` (the corrected cell holds ``#NAME?`` or the like and counts as
    empty), ``text_from_ocr``, ``no_text``, ``html`` (markup is kept here and cleaned later).
    """
    flags: list[str] = []
    if corrected.strip() in _SPREADSHEET_ERRORS:
        flags.append("spreadsheet_error")
    text = _meaningful(corrected)
    if not text and (text := _meaningful(ocr)):
        flags.append("text_from_ocr")
    return text, (*flags, *text_flags(text))


def text_flags(text: str) -> tuple[str, ...]:
    """Return ``no_text`` for a blank text, ``html`` for one with markup."""
    if not text.strip():
        return ("no_text",)
    return ("html",) if "<" in text and _HTML.search(text) else ()


def _meaningful(text: str) -> str:
    stripped = text.strip()
    return "" if not stripped or stripped in _SPREADSHEET_ERRORS else text
