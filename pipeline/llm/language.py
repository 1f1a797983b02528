"""Rough measures of a text: its tokens, its scripts, its language.

No vocabulary or language model is needed. The language is told from frequent function words, so it
is unknown for short texts and for languages without a list here; unknown never counts as different.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

# Words, single characters of scripts written without spaces, single other signs.
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]|[^\W_]+(?:'\w+)?|[^\w\s]"
)

_FUNCTION_WORDS = {
    "english": (
        "the a an of to in is are was and or but not you i it that this with for when my "
        "your he she they we do does have has be on at if what"
    ),
    "spanish": (
        "el la los las un una de del que y en es no por con para como mi tu su pero cuando se lo te"
    ),
    "french": (
        "le la les un une des du de et en est pas pour avec que qui je tu il elle nous "
        "vous mais quand ce mon ton"
    ),
    "german": (
        "der die das ein eine und ist nicht ich du er sie wir ihr mit auf für wenn aber "
        "dass zu von den dem mein dein"
    ),
    "portuguese": (
        "o a os as um uma de do da que e em não por com para como meu seu mas quando você "
        "eu ele ela se"
    ),
    "italian": (
        "il lo la gli le un una di del che e in non per con come mio tuo ma quando io tu "
        "lui lei si sono"
    ),
    "hindi": (
        "hai ka ki ke ko se mein nahi aur kya ho tha thi main tum hum yeh woh jab toh bhi "
        "kar raha rahi mera tera"
    ),
}
_WORDS = {name: frozenset(words.split()) for name, words in _FUNCTION_WORDS.items()}

_JAPANESE = {"HIRAGANA", "KATAKANA", "CJK"}


def count_tokens(text: str) -> int:
    """Return the number of words, unspaced characters and signs in ``text``."""
    return len(_TOKEN.findall(text))


def count_words(text: str) -> int:
    """Return the number of words in ``text``; a character of an unspaced script is a word."""
    return sum(any(mark.isalnum() for mark in token) for token in _TOKEN.findall(text))


def scripts(text: str) -> Counter[str]:
    """Return how many letters of each script ``text`` has, for example ``{"LATIN": 12}``."""
    if text.isascii():
        # Most captions; naming every letter is slow.
        letters = sum(map(str.isalpha, text))
        return Counter({"LATIN": letters} if letters else {})
    return Counter(
        unicodedata.name(mark, "UNKNOWN").partition(" ")[0]
        for mark in unicodedata.normalize("NFKC", text)
        if mark.isalpha()
    )


def script_differs(source: str, text: str) -> bool:
    """Return whether more than a fifth of the letters of ``text`` are of scripts new to it."""
    before, after = scripts(source), scripts(text)
    if not before or not after:
        return bool(before) != bool(after)
    known = set(before) | (_JAPANESE if _JAPANESE & set(before) - {"CJK"} else set())
    foreign = sum(count for script, count in after.items() if script not in known)
    most = before.most_common(1)[0][0]
    lost = before[most] >= 0.8 * before.total() and most not in after
    return foreign > 0.2 * after.total() or lost


def language(text: str) -> str | None:
    """Return the language of a Latin-script text, or None when it cannot be told."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    hits = {name: sum(word in known for word in words) for name, known in _WORDS.items()}
    ranked = sorted(hits.items(), key=lambda entry: -entry[1])
    (best, most), (_, second) = ranked[0], ranked[1]
    return best if most >= 3 and most >= second + 2 else None


def language_differs(source: str, text: str) -> bool:
    """Return whether both languages can be told and are not the same."""
    before, after = language(source), language(text)
    return before is not None and after is not None and before != after
