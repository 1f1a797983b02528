from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memotion_files import csv_text, save

from affectflow.pipeline.datasets._csv import (
    detect_encoding,
    open_table,
    read_text,
    records,
    sniff_delimiter,
)
from affectflow.pipeline.errors import DatasetError


def parsed(text: str, delimiter: str = ",", num_fields: int | None = None) -> list[tuple]:
    stream = io.StringIO(text, newline="")
    found = records(stream, delimiter, num_fields)
    return [(record.line, record.fields, bool(record.problem)) for record in found]


def test_multi_line_cells_are_one_record_with_its_first_line() -> None:
    text = 'a,b\r\n1,"x\r\ny"\r\n2,z\r\n'
    assert parsed(text) == [
        (1, ["a", "b"], False),
        (2, ["1", "x\r\ny"], False),
        (4, ["2", "z"], False),
    ]


def test_a_stray_quote_costs_one_row_and_swallows_none() -> None:
    text = 'a,b\n1,"never closed\n2,fine\n3,also "fine"\n4,end\n'
    assert [(line, bad) for line, _, bad in parsed(text)] == [
        (1, False),
        (2, True),
        (3, False),
        (4, False),
        (5, False),
    ]


def test_a_quote_closed_in_the_middle_does_not_join_lines() -> None:
    text = 'a,b\n1,"x\n2,y" z\n3,w\n'
    assert [(line, bad) for line, _, bad in parsed(text)] == [
        (1, False),
        (2, True),
        (3, False),
        (4, False),
    ]


def test_wrong_field_counts_say_what_was_got() -> None:
    stream = io.StringIO("a,b\n1,2,3\n1\n\n4,5\n", newline="")
    found = list(records(stream, ","))
    assert [record.problem for record in found] == [
        "",
        "got 3 fields, expected 2",
        "got 1 fields, expected 2",
        "",
    ]
    assert found[-1].line == 5


def test_a_cell_beyond_the_reader_s_limit_is_a_bad_row() -> None:
    text = 'a,b\n1,"' + "x" * 200_000 + '"\n2,y\n'
    assert [(line, bad) for line, _, bad in parsed(text)] == [(1, False), (2, True), (3, False)]


def test_an_early_open_quote_in_a_long_file_loses_nothing() -> None:
    lines = ["a,b", '0,"open'] + [f"{number},some words to fill" for number in range(20_000)]
    found = parsed("\n".join(lines))
    assert len(found) == 20_002
    assert sum(bad for _, _, bad in found) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.text(alphabet='ab ,"\n\té', min_size=1, max_size=8), min_size=2, max_size=2),
        max_size=8,
    )
)
def test_what_a_csv_writer_saves_comes_back(rows: list[list[str]]) -> None:
    text = csv_text([["a", "b"], *rows])
    assert [fields for _, fields, bad in parsed(text) if not bad] == [["a", "b"], *rows]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_found(tmp_path: Path, encoding: str, expected: str) -> None:
    path = save(tmp_path / "t.csv", "naïve,b\n1,2\n", encoding)
    assert detect_encoding(path) == expected
    assert read_text(path) == "naïve,b\n1,2\n"
    with open_table(path) as table:
        assert table.header == ["naïve", "b"]


def test_a_wrong_byte_in_utf8_costs_one_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("a,b\n1,é\n2,ü\n3,X\n4,ß\n".encode().replace(b"X", b"\xff"))
    assert detect_encoding(path) == "utf-8"
    with open_table(path) as table:
        found = list(table.records)
    assert [record.problem for record in found] == ["", "", "holds bytes that are not UTF-8", ""]
    assert found[3].fields == ["4", "ß"]


def test_undecodable_text_says_where(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,\x81\x8d\n")
    with pytest.raises(DatasetError, match=r"t\.csv cannot be decoded as cp1252"), open_table(path):
        pass


def test_an_empty_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    empty = save(tmp_path / "e.csv", "")
    with pytest.raises(DatasetError, match=r"e\.csv is empty"), open_table(empty):
        pass
    with pytest.raises(DatasetError, match="cannot be read"), open_table(tmp_path):
        pass


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_found_among_texts_with_others(delimiter: str) -> None:
    rows = [["id", "text", "label"]] + [
        [str(number), "one, two; three | four" * (number % 3), "x"] for number in range(9)
    ]
    text = csv_text(rows, delimiter=delimiter)
    assert sniff_delimiter(text) == delimiter
    assert sniff_delimiter(text, wanted=("text", "label")) == delimiter
    assert sniff_delimiter(text, num_fields=3) == delimiter
