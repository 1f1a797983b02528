from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectflow.pipeline.text.cleaning import CleaningOptions, clean, rule_names

for package in ("ftfy", "emoji", "regex"):
    pytest.importorskip(package, reason="needs the extra 'text'")

STYLE = '<html><head><meta content="text/html; charset=UTF-8"><style type="text/css">'

UNICODE = [
    # Markup: what is inside style goes, closed or cut off.
    (STYLE + "ol{margin:0;padding:0}table td", "", {"html": 4}),
    (STYLE + "p{color:red}</style></head><body>HELLO <b>you</b></body>", "hello you", {"html": 9}),
    ("fish &amp; chips &lt;b&gt;now&lt;/b&gt;", "fish chips now", {"html": 7}),
    ("<script>alert('x')</script>after<br/>break<!-- note -->", "after break", {"html": 3}),
    ("I <3 you, a < b > c <BECAUSE WHY>", "i 3 you a b c because why", {}),
    # Spreadsheet errors.
    ("#NAME?", "", {"spreadsheet_error": 1}),
    ("#REF!", "", {"spreadsheet_error": 1}),
    ("#VALUE!", "", {"spreadsheet_error": 1}),
    ("#DIV/0! #N/A", "", {"spreadsheet_error": 2}),
    ("my #NAME? is Bob", "my is bob", {"spreadsheet_error": 1}),
    # Scripts.
    ("हिन्दी में मीम क्यों", "हिन्दी में मीम क्यों", {}),
    ("我爱你，世界！", "我爱你 世界", {}),
    ("ПРИВЕТ, мир", "привет мир", {}),
    ("مرحبا بالعالم", "مرحبا بالعالم", {}),
    ("வணக்கம் 한국어 ไทยดี", "வணக்கம் 한국어 ไทยดี", {}),
    ("Ｆｕｌｌ ﬁne", "full fine", {"normalise": 1}),
    # Addresses.
    ("see https://t.co/aB1?x=2 now", "see now", {"url": 1}),
    ("see www.example.in/now", "see", {"url": 1}),
    ("write a.b+c@mail.example.org !", "write", {"email": 1}),
    ("as seen on boredpanda.example.com", "as seen on", {"domain": 1}),
    ("theworks.co.uk and youtu.be/xyz", "and", {"domain": 2}),
    ("that is it.me too", "that is it me too", {}),
    ("hello @user_1.x and @you", "hello and", {"handle": 2}),
    ("LOOK imgflip.com", "look", {"watermark": 1}),
    ("LOOK quickmeme com", "look", {"watermark": 1}),
    ("made with mematic", "", {"watermark": 1}),
    ("me on 9gag all day 9GAG.COM", "me on 9gag all day", {"watermark": 1}),
    # Words.
    ("Don’t — “stop” 'now' dogs'", "don't stop now dogs", {"normalise": 1}),
    ("schÃ¶n", "schön", {"mojibake": 1}),
    ("zero\u200bwidth\u0000 and\ttab", "zerowidth and tab", {"invisible": 2}),
    ("x\u0301 \u0301 y", "x́ y", {}),
    ("wow 😂😂", "wow face with tears of joy face with tears of joy", {"emoji": 2}),
    ("", "", {}),
    ("  \n ", "", {}),
]


@pytest.mark.parametrize(("raw", "expected", "counts"), UNICODE)
def test_unicode_mode(raw, expected, counts):
    cleaned = clean(raw)
    assert cleaned.text == expected
    assert {name: cleaned.counts.get(name) for name in counts} == counts
    quiet = {"case", "characters", "whitespace", "normalise"}
    assert set(cleaned.counts) - quiet <= set(counts)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Hello, World 2024!", "hello world"),
        ("don't", "dont"),
        ("#NAME?", "name"),
        ("हिन्दी", ""),
        ("café 我", "caf"),
        ("LOOK imgflip.com", "look imgflipcom"),
        ("<b>x</b>", "bxb"),
        ("@me \n you", "me you"),
    ],
)
def test_author_mode(raw, expected):
    assert clean(raw, CleaningOptions(mode="author")).text == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("keep", "ok 👨‍👩‍👧 😂 🇫🇷 👍🏽 go ❤️"),
        (
            "name",
            "ok family man woman girl face with tears of joy france thumbs up medium skin tone go "
            "red heart",
        ),
        ("drop", "ok go"),
    ],
)
def test_emoji_policies(policy, expected):
    raw = "OK 👨‍👩‍👧😂 🇫🇷👍🏽 go ❤️"
    assert clean(raw, CleaningOptions(emoji=policy)).text == expected


def test_digits_option():
    raw = "b4by 2024 ٣ ok ½"
    assert clean(raw, CleaningOptions(digits=False)).text == "bby ok"
    assert clean(raw).text == "b4by 2024 ٣ ok 1 2"


def test_flags_name_what_was_found():
    assert clean("#NAME?").flags == ("spreadsheet_error", "emptied")
    assert clean("<b>x</b> imgflip.com").flags == ("html", "watermark")
    assert clean("").flags == ()
    assert clean("हिन्दी", CleaningOptions(mode="author")).flags == ("emptied",)


def test_rules_have_names_in_order():
    assert rule_names("unicode")[0] == "mojibake"
    assert rule_names("author") == ("case", "characters", "digits", "whitespace")


# Pieces that make rules meet: half-open tags, hosts in parts, marks, signs that NFKC changes.
MARKUP = ["<b>", "<", ">", "&lt;", "&amp;", "&#64;", "<style", "style>", "#NAME?", "/", "_", "-"]
HOSTS = ["@", ".", "com", "imgflip", "9gag", "a", "http", "://", "www.", "\n", " "]
SIGNS = ["’", "'", "´", "́", "\u200d", "\ufe0f", "\u3164", "😂", "Ⓜ️", "™", "1️⃣", "Ã", "©", "â€™"]
LETTERS = ["İ", "ẞ", "Σ", "ﬁ", "½", "ー", "क्"]
PIECES = st.sampled_from([*MARKUP, *HOSTS, *SIGNS, *LETTERS])
TEXTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=12).map("".join))
OPTIONS = st.builds(
    CleaningOptions,
    mode=st.sampled_from(["unicode", "unicode", "author"]),
    emoji=st.sampled_from(["keep", "name", "drop"]),
    digits=st.booleans(),
)


@settings(max_examples=600, deadline=None)
@given(raw=TEXTS, options=OPTIONS)
def test_cleaning_is_idempotent(raw, options):
    once = clean(raw, options)
    again = clean(once.text, options)
    assert again.text == once.text
    assert again.counts == {}
    assert once.text == once.text.strip()
    assert "  " not in once.text
    once.text.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["Ll", "Lo"], max_codepoint=0x2FFF), max_size=20))
def test_letters_of_every_script_survive(word):
    import unicodedata

    plain = unicodedata.normalize("NFKC", word)
    kept = clean(word).text.replace(" ", "")
    # Exceptions: fillers that show nothing, and a letter that stands for an apostrophe.
    ignored = "\u115f\u1160\u02bc"
    letters = [c for c in plain.lower() if c.isalpha() and c not in ignored]
    assert [c for c in kept if c.isalpha()] == letters


@pytest.mark.parametrize(
    "piece",
    ["<style><script>", "<style>", "a.", "<!--", "@a", "&lt;", "a@", "<a ", "http://", "'a"],
)
def test_long_hostile_texts_take_linear_time(piece):
    started = time.perf_counter()
    clean(piece * (40_000 // len(piece)))
    assert time.perf_counter() - started < 5
