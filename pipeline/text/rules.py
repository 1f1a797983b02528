"""The rules of caption cleaning, one function each: text in, text and how often it applied out.

Patterns are linear in the length of the text: no nested repetition over the same characters.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ftfy
    import regex

Counted = tuple[str, int]

_TAGS = (
    "a|abbr|b|blockquote|body|br|button|center|code|div|em|font|footer|form|h[1-6]|head|header|hr|"
    "html|i|iframe|img|input|label|li|link|meta|nav|object|ol|option|p|pre|s|script|section|select|"
    "small|span|strong|style|sub|sup|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|u|ul|video"
)
_TAG = rf"(?i)</?(?:{_TAGS})(?:\s[^<>]*|/)?>"
_COMMENT = r"<!(?:--[^<>]*--|doctype[^<>]*)>"
_ENTITY = r"(?i)&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,31}\d{0,2});"

_SPREADSHEET_ERROR = r"#(?:NAME\?|REF!|VALUE!|DIV/0!|NUM!|NULL!|N/A)"
_URL = r"(?i)(?<![\p{L}\p{N}])(?:(?:https?|ftp)://|www\.)\S+"
_EMAIL = r"(?i)(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,4}"

# Two-letter endings that are also words (is, me, in, it, so) count only with a path behind them.
_ENDINGS = "com|net|org|edu|gov|info|biz|mobi|io|tv|gg|xyz|app|co"
_DOMAIN = (
    r"(?i)(?<![\p{L}\p{N}@._-])(?:[a-z0-9-]{1,63}\.){1,4}"
    rf"(?:(?:{_ENDINGS})(?:\.[a-z]{{2}})?(?:[:/]\S*)?|[a-z]{{2,3}}/\S+)(?![\p{{L}}\p{{N}}-])"
)
# Sites that print their name into the picture; the first group means nothing else.
_MARKS = (
    "imgflip|quickmeme|memegenerator|memecenter|makeameme|weknowmemes|mematic|memecrunch|livememe|"
    "memeshappen|diylol|icanhascheezburger|themetapicture"
)
_HOSTS = "9gag|ifunny|memes|meme|memebase|memeful|frabz|starecat|imgur|cheezburger|boredpanda"
_MARK_ENDINGS = "com|net|org|co|mobi|es"
_WATERMARK = (
    r"(?i)(?<![\p{L}\p{N}@])(?:made (?:with|on|at) )?"
    rf"(?:(?:{_MARKS})(?:(?:\s?\.\s?|\s)(?:{_MARK_ENDINGS}))?|(?:{_HOSTS})\s?\.\s?(?:{_MARK_ENDINGS}))"
    r"(?:/\S*)?(?![\p{L}\p{N}])"
)
_HANDLE = r"(?<![\p{L}\p{N}_.])@[\p{L}\p{N}_]+(?:\.[\p{L}\p{N}_]+)*"

_APOSTROPHES = dict.fromkeys(map(ord, "’‘‛ʼʻ´`＇′"), "'")
_INVISIBLE = r"[\p{DI}\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]"
_LETTERS = r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*"
_WORD = rf"{_LETTERS}(?:'{_LETTERS})*"


@cache
def _pattern(text: str) -> regex.Pattern[str]:
    import regex

    return regex.compile(text)


def _replace(pattern: str, text: str, by: str = " ") -> Counted:
    result: Counted = _pattern(pattern).subn(by, text)
    return result


@cache
def _ftfy_settings() -> ftfy.TextFixerConfig:
    """Wrong decodings only: escapes, quotes, widths and control characters have their own rules."""
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        normalization=None,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        fix_line_breaks=False,
        remove_terminal_escapes=False,
        remove_control_chars=False,
        explain=False,
    )


def mojibake(text: str) -> Counted:
    """Undo wrong decodings (UTF-8 read as cp1252 and the like) with ftfy."""
    if text.isascii():
        return text, 0
    import ftfy

    fixed = ftfy.fix_text(text, _ftfy_settings())
    return fixed, int(fixed != text)


def html_markup(text: str) -> Counted:
    """Strip style and script blocks, comments and known tags; unescape entities."""
    if "<" not in text and "&" not in text:
        return text, 0
    # Entities first: an escaped tag is a tag.
    unescaped, entities = _pattern(_ENTITY).subn(lambda found: html.unescape(found[0]), text)
    entities = entities if unescaped != text else 0
    text, blocks = _drop_blocks(unescaped)
    text, comments = _replace(_COMMENT, text)
    text, tags = _replace(_TAG, text)
    return text, entities + blocks + comments + tags


def _drop_blocks(text: str) -> Counted:
    """Drop style and script with what they hold; an unclosed one runs to the end."""
    opening = _pattern(r"(?i)<(style|script)(?:\s[^<>]*)?>")
    count = 0
    while found := opening.search(text):
        closing = _pattern(rf"(?i)</{found[1]}\s*>").search(text, found.end())
        tail = text[closing.end() :] if closing else ""
        text, count = f"{text[: found.start()]} {tail}", count + 1
    return text, count


def emoji_policy(text: str, policy: Literal["keep", "name", "drop"]) -> Counted:
    """Keep emoji, put their English names, or drop them."""
    if text.isascii() or policy == "keep":
        return text, 0
    import emoji

    count = 0

    def replacement(_: str, data: dict[str, str]) -> str:
        nonlocal count
        count += 1
        return f" {data['en'].strip(':').replace('_', ' ')} " if policy == "name" else " "

    return emoji.replace_emoji(text, replace=replacement), count


def _outside_emoji(text: str, protect: bool, change: Callable[[str], str]) -> str:
    """Apply ``change`` to what lies between emoji, or to everything."""
    if not protect or text.isascii():
        return change(text)
    import emoji

    parts, end = [], 0
    for found in emoji.emoji_list(text):
        parts += [change(text[end : found["match_start"]]), found["emoji"]]
        end = found["match_end"]
    return "".join([*parts, change(text[end:])])


def normalise(text: str, protect_emoji: bool) -> Counted:
    """Make apostrophes straight, then NFKC: full-width, ligatures and styled letters to plain."""
    if text.isascii() and "`" not in text:
        return text, 0

    def plain(part: str) -> str:
        return unicodedata.normalize("NFKC", part.translate(_APOSTROPHES))

    result = _outside_emoji(text, protect_emoji, plain)
    return result, int(result != text)


def invisible(text: str, protect_emoji: bool) -> Counted:
    """Remove control, zero-width, private and unassigned characters; keep whitespace."""
    if text.isprintable() and text.isascii():
        return text, 0
    count = 0

    def visible(part: str) -> str:
        nonlocal count
        shown, found = _pattern(rf"(?!\s){_INVISIBLE}").subn("", part)
        count += found
        return str(shown)

    return _outside_emoji(text, protect_emoji, visible), count


def spreadsheet_errors(text: str) -> Counted:
    """Remove what a spreadsheet wrote in place of a caption: ``#NAME?``, ``#REF!``."""
    return _replace(_SPREADSHEET_ERROR, text)


def urls(text: str) -> Counted:
    """Remove addresses with a scheme or ``www.``."""
    return _replace(_URL, text)


def emails(text: str) -> Counted:
    """Remove e-mail addresses."""
    return _replace(_EMAIL, text)


def watermarks(text: str) -> Counted:
    """Remove names of meme sites that are printed into pictures."""
    return _replace(_WATERMARK, text)


def domains(text: str) -> Counted:
    """Remove bare host names."""
    return _replace(_DOMAIN, text)


def handles(text: str) -> Counted:
    """Remove ``@handles``."""
    return _replace(_HANDLE, text)


def lower(text: str, protect_emoji: bool) -> Counted:
    """Lower the case."""
    result = _outside_emoji(text, protect_emoji, str.lower)
    return result, int(result != text)


def digits(text: str) -> Counted:
    """Delete digits of every script."""
    return _replace(r"\p{N}", text, "")


def characters(text: str, protect_emoji: bool) -> Counted:
    """Keep words (letters, marks and digits of every script, inner apostrophes) and emoji.

    Everything else becomes a space; the count is of characters removed, whitespace aside.
    """
    before = sum(not character.isspace() for character in text)

    def words(part: str) -> str:
        return f" {' '.join(_pattern(_WORD).findall(part))} "

    result = " ".join(_outside_emoji(text, protect_emoji, words).split())
    after = sum(not character.isspace() for character in result)
    return result, before - after


def ascii_only(text: str) -> Counted:
    """Delete all but ASCII letters, digits and whitespace."""
    return _replace(r"[^a-zA-Z0-9\s]", text, "")


def ascii_digits(text: str) -> Counted:
    """Delete ASCII digits."""
    return _replace(r"[0-9]", text, "")


def whitespace(text: str) -> Counted:
    """Squeeze runs of whitespace to one space and trim."""
    squeezed = " ".join(text.split())
    return squeezed, int(squeezed != text)
