from __future__ import annotations

import pytest

from affectflow.pipeline.report.figures import histogram, stacked_bar
from affectflow.pipeline.report.html import Markup, element, escape, join
from affectflow.pipeline.report.numbers import (
    counted,
    decimal_text,
    seconds_text,
    share_text,
    shortened,
    size_text,
)
from affectflow.pipeline.report.tables import MAX_ROWS, facts, table

HOSTILE = "</td><script>x</script>\"'&"


def test_strings_are_escaped_and_markup_is_not() -> None:
    inner = element("b", HOSTILE)
    assert "<script" not in inner
    assert element("p", inner) == f"<p>{inner}</p>"


def test_markup_joined_with_a_string_is_escaped_again() -> None:
    mixed = Markup("<b>") + HOSTILE
    assert "<script" not in escape(mixed)
    assert "<script" not in escape(f"{Markup('<b>')}{HOSTILE}")


def test_attributes_are_quoted() -> None:
    made = element("img", alt='" onerror="x', src="data:,")
    assert made.count('"') == 4
    assert element("input", checked=True, disabled=False) == "<input checked>"


def test_join_leaves_none_out_and_escapes_the_separator() -> None:
    assert join(["a", None, ["b", 3]], "<") == "a&lt;b&lt;3"


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 10, "0 %"),
        (10, 10, "100 %"),
        (99_999, 100_000, "> 99.9 %"),
        (1, 100_000, "< 0.1 %"),
        (1, 8, "12.5 %"),
        (0, 0, "–"),
    ],
)
def test_shares_say_all_and_none_only_when_exact(part: int, whole: int, shown: str) -> None:
    assert share_text(part, whole).replace("\u00a0", " ") == shown


def test_numbers_carry_their_units() -> None:
    assert [size_text(n) for n in (0, 1023, 1024, 5 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 TiB",
    ]
    assert [seconds_text(s) for s in (0.004, 1.25, 99.9, 119.9, 7200)] == [
        "4 ms",
        "1.2 s",
        "99.9 s",
        "2 min 00 s",
        "2 h 00 min",
    ]
    assert [decimal_text(x) for x in (None, float("nan"), 0.12345, 12345.6)] == [
        "–",
        "–",
        "0.123",
        "12,346",
    ]
    assert (counted(1, "row"), counted(2000, "row")) == ("1 row", "2,000 rows")
    assert len(shortened("x" * 500, 100)) == 100


def test_bars_fill_their_share_and_name_what_they_show() -> None:
    bar = stacked_bar({"ok": 3, "failed": 1}, whole=8)
    assert 'class="fill-ok" x="0" width="37.5"' in bar
    assert 'class="fill-failed" x="37.5" width="12.5"' in bar
    assert 'aria-label="ok 3, failed 1"' in bar
    assert "fill-ok" not in stacked_bar({"ok": 0})
    assert 'height="40"' in histogram([0, 4, 2], "0", "1", HOSTILE)


def test_long_tables_say_what_they_leave_out() -> None:
    made = table(("a", "b"), [[HOSTILE, index] for index in range(MAX_ROWS + 7)], rest="things")
    assert made.count("<tr>") == MAX_ROWS + 1
    assert "7 more things" in made
    assert "<script" not in made
    assert "nothing" not in facts([("nothing", None), ("zero", 0)])
