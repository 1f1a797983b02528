from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.report_run import (
    CLASSES,
    SCRIPT,
    UNICODE_KEY,
    clean_row,
    image_size,
    inpaint_row,
    paraphrase_row,
    regions_row,
    run_fake,
    with_table,
)

from affectflow.pipeline.engine.plan import Cell, Plan
from affectflow.pipeline.engine.session import Session
from affectflow.pipeline.report.census import output_label, take_census
from affectflow.pipeline.report.page import make_context, render, write_report
from affectflow.pipeline.report.pictures import Gallery
from affectflow.pipeline.report.sections import errors, inpainting, throughput
from affectflow.pipeline.report.sections.duplicates import collect
from affectflow.pipeline.report.sections.text import take_cleaning
from affectflow.pipeline.store.reader import OutputFolder

Run = tuple[Session, dict[str, Any]]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_fake(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run(bare: Run) -> Run:
    session, record = bare
    session = with_table(session, "text_regions", regions_row)
    session = with_table(session, "inpaint", inpaint_row)
    session = with_table(session, "clean_text", clean_row)
    session = with_table(session, "paraphrase", paraphrase_row)
    return with_table(session, "clean_text", clean_row, reads="paraphrase"), record


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "deep" / "report.html"
    assert write_report(*run, out) == out
    return out.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects tags and text of a page, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"br", "hr", "img", "input", "meta", "rect"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_every_element_is_closed_and_nothing_runs(page: str) -> None:
    reader = read(page)
    assert reader.open == []
    names = {tag for tag, _ in reader.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]


def test_strange_titles_keys_captions_and_errors_are_shown_as_text(page: str) -> None:
    assert "<script" not in page
    text = "".join(read(page).text)
    # Title, warning, key, cause from the quarantine, class name and caption.
    assert text.count(SCRIPT) >= 4
    assert "made up <i>entirely</i>" in text
    assert CLASSES[1] in text
    assert UNICODE_KEY in text


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    addresses = [
        value
        for _, attrs in read(page).tags
        for name, value in attrs.items()
        if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
    ]
    assert addresses
    assert all(value and value.startswith(("data:image/jpeg;base64,", "#")) for value in addresses)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src &#x27;none&#x27;" in page


def test_links_lead_to_sections_that_are_there(page: str) -> None:
    tags = read(page).tags
    names = {attrs["id"] for _, attrs in tags if "id" in attrs}
    targets = {str(attrs["href"])[1:] for tag, attrs in tags if tag == "a"}
    expected = "ran coverage labels errors throughput inpainting duplicates text files"
    assert targets == set(expected.split())
    assert targets <= names


def cells(page: str, first: str) -> list[str]:
    """Return the cells of the first table row that starts with ``first``."""
    for row in re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL):
        found = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]
        if found and found[0] == first:
            return found
    raise AssertionError(f"no row '{first}'")


def test_counts_are_those_of_the_store(page: str, run: Run) -> None:
    session = run[0]
    for planned in session.plan.nodes.values():
        for (spec, path), folder in zip(planned.outputs, planned.folders, strict=True):
            counts = OutputFolder(path, folder.room).counts()
            shown = cells(page, output_label(planned, spec.name))
            assert [int(text) for text in shown[2:5]] == [
                counts["ok"],
                counts["absent"],
                counts["failed"],
            ]


def test_the_census_agrees_with_the_rows_themselves(run: Run) -> None:
    session = run[0]
    census = take_census(session.plan)
    samples = session.samples.all_rows().to_pylist()
    by_key = {row["key"]: row for row in samples}
    assert census.sizes["all", "all"] == len(samples) == 18
    assert census.sizes["modality", "audio"] == 0
    assert census.sizes["modality", "image"] == 17
    assert census.readable["image"] == 15
    folder = session.plan.nodes["seen"].folders[0]
    rows = [row for shard in folder.commits for row in folder.table(shard).to_pylist()]
    for code, name in [*enumerate(CLASSES), (None, "(no label)")]:
        group = ("task:mood", name)
        members = [row for row in rows if by_key[row["key"]]["label.mood"] == code]
        wanted = [sum(r["status"] == s for r in members) for s in ("ok", "absent", "failed")]
        assert census.coverage["seen"][group].tolist() == wanted
        assert census.sizes[group] == sum(row["label.mood"] == code for row in samples)
    assert census.absent["heard", "no_audio"] == 18


def test_children_are_counted_with_their_sources_class(run: Run) -> None:
    census = take_census(run[0].plan)
    train = [row for row in run[0].samples.all_rows().to_pylist() if row["split"] == "train"]
    assert census.children == {"clean_text.augmented"}
    for code, name in enumerate(CLASSES):
        counts = census.coverage["clean_text.augmented"]["task:mood", name]
        assert counts.tolist() == [sum(row["label.mood"] == code for row in train), 0, 0]


def test_failures_are_shown_with_cause_hint_and_picture(page: str, run: Run) -> None:
    context = make_context(*run)
    classes = {found.name: found for found in errors.collect(context)}
    assert {name: len(found.keys) for name, found in classes.items()} == {
        "asked_to_fail": 3,
        "decode_error": 1,
        "missing_file": 1,
        "upstream_decode_error": 2,
    }
    assert list(classes)[-1] == "upstream_decode_error"
    body = page[page.index('id="errors"') : page.index('id="throughput"')]
    assert body.count("<img") == 3
    assert body.count("frame empty") == 2
    assert "obtain it again" in body
    assert "image file is truncated" in body


def test_pictures_are_small_and_covered(page: str) -> None:
    reader = read(page)
    pictures = [attrs for tag, attrs in reader.tags if tag == "img"]
    sizes = [image_size(base64.b64decode(str(a["src"]).partition(",")[2])) for a in pictures]
    assert sizes
    assert max(max(size) for size in sizes) <= 320
    masks = sum(str(attrs["alt"]).endswith(" mask") for attrs in pictures)
    covered = sum(attrs.get("class") == "frame blur" for _, attrs in reader.tags)
    assert covered == len(pictures) - masks
    assert any(attrs.get("id") == "reveal" and "checked" not in attrs for _, attrs in reader.tags)
    assert len(page.encode()) < 6_000_000


def test_a_gallery_stops_at_its_limit(run: Run) -> None:
    gallery = Gallery(run[0].root, left_bytes=9_000)
    figures = [gallery.sample("img/3.png", "x") for _ in range(20)]
    assert "<img" in figures[0]
    assert "left out" in figures[-1]
    assert sum(len(figure) for figure in figures if "<img" in figure) < 9_000 + 20 * 300


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (None, "no image"),
        ("https://example.org/a.png", "remote"),
        ("../secret.png", "path outside root"),
        ("img/none.png", "missing file"),
        ("img", "not a file"),
    ],
)
def test_where_there_is_no_picture_the_reason_stands(run: Run, name: str | None, word: str) -> None:
    figure = Gallery(run[0].root).sample(name, "x")
    assert "<img" not in figure
    assert word in figure


def test_throughput_adds_up_the_commit_records(run: Run) -> None:
    times = {time.node: time for time in throughput.node_times(make_context(*run))}
    inpaint = times["inpaint"]
    assert (inpaint.shards, inpaint.rows) == (3, 18)
    wanted = {"read": 1.5, "compute": 3.75, "write": 0.75, "total": 7.5, "other": 1.5}
    assert inpaint.seconds == pytest.approx(wanted)


def test_inpainting_numbers_are_those_of_the_table(page: str, run: Run) -> None:
    folder = run[0].plan.nodes["inpaint"].folders[0]
    rows = [row for shard in folder.commits for row in folder.table(shard).to_pylist()]
    painted = [row for row in rows if row["outcome"] == "painted"]
    tally = inpainting.take_tally(folder)
    assert tally.outcomes == {"painted": len(painted), "no_text": 1, "absent": 1, "failed": 2}
    assert np.concatenate(tally.residual) == pytest.approx([row["residual"] for row in painted])
    assert tally.after == pytest.approx(sum(row["text_area_after"] for row in painted))
    chosen = inpainting.chosen_pictures(tally)
    assert len(chosen) == len({item.key for _, item in chosen}) == 12
    worst = max(painted, key=lambda row: (row["residual"], row["key"]))
    assert chosen[0][1].residual == pytest.approx(worst["residual"])
    widest = max(painted, key=lambda row: row["cover"])
    assert widest["key"] in {item.key for _, item in chosen}
    assert page.count('class="triptych"') == 12
    assert page.count(" mask") >= 12


def test_text_tables_are_counted(page: str, run: Run) -> None:
    cleaning = take_cleaning(run[0].plan.nodes["clean_text"].folders[0])
    assert (cleaning.rows, cleaning.changed, cleaning.empty) == (18, 1, 0)
    assert cleaning.touched == {"html_tags": 1}
    assert cleaning.times == {"html_tags": 2}
    train = run[0].samples.info["splits"]["train"]
    assert f"{train} paraphrases were kept, {train} dropped." in page


def test_duplicates_show_where_labels_disagree(page: str, run: Run) -> None:
    samples = run[0].samples
    groups = collect(samples, {"mood": {"kind": "single", "classes": list(CLASSES)}})
    assert len(groups) == samples.info["duplicates"]["groups"]
    assert sum(group.size for group in groups.values()) == samples.info["duplicates"]["rows"]
    twins = next(g for g in groups.values() if {"m0", "twin"} == {m["key"] for m in g.members})
    assert twins.conflicts == ["mood"]
    assert page.count('class="group"') == len(groups)


def test_a_run_that_did_not_finish_says_so(bare: Run) -> None:
    session, record = bare
    cells_ = {**session.plan.cells, ("seen", 1): Cell("seen", 1, "missing")}
    halted = replace(session, plan=Plan(session.samples, session.plan.nodes, cells_))
    unfinished = {name: value for name, value in record.items() if name != "summary"}
    shown = render(make_context(halted, {**unfinished, "state": "running"}))
    assert "not finished" in shown
    assert "5 / 6" in shown


def test_a_failed_shard_is_told_first(bare: Run) -> None:
    session, record = bare
    cells_ = {**session.plan.cells, ("seen", 1): Cell("seen", 1, "failed", f"lost {SCRIPT}")}
    broken = replace(session, plan=Plan(session.samples, session.plan.nodes, cells_))
    shown = render(make_context(broken, record))
    assert "shard 1 of seen failed: lost &lt;script" in shown
    assert "exit code 5" in shown


def test_a_store_without_any_shard_still_gives_a_page(bare: Run, tmp_path: Path) -> None:
    session, record = bare
    nodes = {
        name: replace(planned, layout=type(session.layout)(tmp_path / "empty"))
        for name, planned in session.plan.nodes.items()
    }
    cells_ = {key: Cell(*key, "missing") for key in session.plan.cells}
    empty = replace(session, plan=Plan(session.samples, nodes, cells_))
    shown = render(make_context(empty, record))
    assert "No shard is committed." in shown
    assert cells(shown, "seen")[2:5] == ["0", "0", "0"]


def test_pictures_without_text_divide_nothing_by_zero(bare: Run) -> None:
    def no_text(sample: Mapping[str, Any]) -> Any:
        return {"quads": [], "scores": [], "texts": [], "width": 1, "height": 1}

    def unpainted(sample: Mapping[str, Any]) -> Any:
        return {"cover": 0.0, "outcome": "no_text"}

    session = with_table(with_table(bare[0], "text_regions", no_text), "inpaint", unpainted)
    shown = render(make_context(session, bare[1]))
    assert "Text was found in 0 of 18 pictures" in shown
    assert "No picture was painted." in shown


def test_the_recorded_configuration_is_in_the_page(page: str, run: Run) -> None:
    text = "".join(read(page).text)
    assert json.dumps(run[1]["config"], indent=2, ensure_ascii=False) in text


def test_a_path_that_is_not_unicode_does_not_cost_the_page(bare: Run, tmp_path: Path) -> None:
    session, record = bare
    odd = replace(session, root=Path("/data/\udcff"))
    assert b"Media: " in write_report(odd, record, tmp_path / "r.html").read_bytes()


def test_reports_of_one_store_are_equal_but_for_the_time(run: Run) -> None:
    def stable(page: str) -> Iterator[str]:
        return iter(re.sub(r"Made [\d-]+ [\d:]+ UTC", "", page).splitlines())

    one, other = (render(make_context(*run)) for _ in range(2))
    assert list(stable(one)) == list(stable(other))
