from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.training_run import SCRIPT, write_run

from affectflow.pipeline.errors import UsageError
from affectflow.pipeline.report.training import scores
from affectflow.pipeline.report.training.attention import (
    AttentionSample,
    full_weight,
    normalised_entropy,
)
from affectflow.pipeline.report.training.charts import Line, line_chart, ticks
from affectflow.pipeline.report.training.neighbours import ALONE, MAX_CAPTION, Neighbour
from affectflow.pipeline.report.training.page import Looks, render, write_training_report
from affectflow.pipeline.report.training.picture import Picture
from affectflow.pipeline.report.training.record import SeedRecord, TrainingRecord, read_run
from affectflow.pipeline.report.training.scores import Cell
from affectflow.pipeline.training.journal import Journal

VOID = {"meta", "img", "rect", "input", "br", "hr"}


class Reader(HTMLParser):
    """Collects what a browser would load or run, and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def run(tmp_path: Path) -> TrainingRecord:
    return read_run(write_run(tmp_path / "mm_orient-abc"))


def picture() -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 6, 3), 90, np.uint8)).save(buffer, "JPEG")
    return Picture(buffer.getvalue(), 60, 80)


def sample(**more: object) -> AttentionSample:
    words = [("[CLS]", 0.1), ("com", 0.5), ("##prehend", 0.2), (SCRIPT, 0.2)]
    boxes = [((5.0, 6.0, 20.0, 30.0), 0.9), ((0.0, 0.0, 60.0, 80.0), 0.1)]
    facts = {"key": SCRIPT, "truth": {"sentiment": "positive"}, "said": {"sentiment": "neutral"}}
    return AttentionSample(**{**facts, "words": words, "boxes": boxes, **more})  # type: ignore[arg-type]


def test_page_is_whole_and_loads_nothing(run: TrainingRecord) -> None:
    page = render(run, Looks([sample(picture=picture())], "chosen with seed 0"))
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    assert all(found.startswith(("#", "data:image/jpeg;base64,")) for found in reader.addresses)
    assert "url(" not in page
    assert "default-src &#x27;none&#x27;" in page


def test_nothing_that_came_from_data_is_markup(run: TrainingRecord) -> None:
    page = render(run, Looks([sample()], SCRIPT))
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert "not <sarcastic>" not in page


def test_neighbours_are_listed_by_graph_or_said_to_be_none(run: TrainingRecord) -> None:
    near = Neighbour("k1", 0.91234, f"{SCRIPT} {'x' * 200}", picture())
    graphs = {"ii": [near, Neighbour("k2", 0.5)], "tt": [], "ti": [near], SCRIPT: []}
    page = render(run, Looks([sample(neighbours=graphs), sample()], "chosen"))
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert SCRIPT not in page
    assert "<h2>Attention and neighbours</h2>" in page
    lists = re.findall(r'<dl class="neighbours">(.*?)</dl>', page)
    listed = re.findall(r"<dd>(.*?)</dd>", lists[0])
    assert len(lists) == 1
    assert [part.count("<li>") for part in listed] == [2, 0, 1]
    assert [ALONE in part for part in listed] == [False, True, False]
    # Two graphs that say the same stand above one list.
    assert re.sub("<dd>.*?</dd>", "|", lists[0]).count("</dt><dt>") == 1
    assert "cosine 0.912" in listed[0]
    assert listed[0].count("<img") == 1
    assert "x" * (MAX_CAPTION - len(SCRIPT) - 1) + " …" in listed[0]
    # Models without graphs have no such list.
    assert ALONE not in render(run, Looks([sample()], "chosen"))


def test_every_part_of_a_finished_run_is_there(run: TrainingRecord) -> None:
    page = render(run, Looks([sample()], "chosen"))
    found = re.findall(r'<section id="(\w+)">', page)
    parts = ["scores", "curves", "confusion", "attention", "graphs", "histories", "provenance"]
    assert found == parts
    for words in ("weights are random", "offensive by nature", "constant classifier"):
        assert words in page
    assert "1,000 bootstrap resamples" in page
    assert "running: batches of 120" in page


def test_published_numbers_stand_in_a_box_of_their_own(run: TrainingRecord) -> None:
    page = str(scores.section(run).body)
    ours, theirs = page.split("Published numbers")
    assert "49.94" not in ours
    assert 'class="published"' in theirs
    assert "49.94" in theirs
    assert "b421042" in theirs


def test_an_imported_run_has_the_published_numbers_of_its_dataset(run: TrainingRecord) -> None:
    settings = {**run.settings, "data": {"dataset": "mosi_unaligned_50"}}
    page = render(replace(run, record={**run.record, "settings": settings}), Looks())
    theirs = page.split("Published numbers")[1]
    assert "text encoder BERT" in theirs
    assert "Task: sentiment." in theirs
    row = ("MulT (unaligned)", "79.7", "81.0", "36.9", "0.880", "0.702")
    assert "".join(f"<td>{cell}</td>" for cell in row) in theirs


@pytest.mark.parametrize(("seeds", "words"), [((1,), "1 seed"), ((1, 2), "2 seeds")])
def test_what_is_finished_is_said_once(tmp_path: Path, seeds: tuple[int, ...], words: str) -> None:
    page = render(read_run(write_run(tmp_path / "run", seeds)), Looks())
    line = re.findall(r'<p class="verdict [a-z]+">(.*?)</p>', page)
    assert line == [f"<b>finished</b> {words}"]


def test_names_in_a_cell_are_not_broken(run: TrainingRecord) -> None:
    page = render(run, Looks())
    assert re.search(r'<td><code dir="auto">regions</code></td>', page)
    assert re.search(r"\btd code \{[^}]*overflow-wrap: normal", page)
    assert not re.search(r"table\.matrix th \{[^}]*overflow-wrap: anywhere", page)


def test_majority_stands_beside_every_score(run: TrainingRecord) -> None:
    page = str(scores.section(run).body)
    assert page.count("<th>metric</th><th>majority</th><th>guessing</th>") == 4
    assert "<td>24.90</td><td>33.30</td><td><b>41.20</b> ± 1.10</td><td>38.10 … 44.60</td>" in page
    # What is no share is printed as it is, and counts are no scores.
    assert "<td>ECE</td><td>–</td><td>–</td><td><b>0.7750</b>" in page
    assert "<td>n</td>" not in page


def test_gain_is_good_only_when_the_interval_excludes_the_majority() -> None:
    clear = Cell("macro_f1", 0.5, low=0.45, high=0.55, majority=0.4)
    unsure = Cell("macro_f1", 0.5, low=0.35, high=0.55, majority=0.4)
    worse = Cell("mae", 1.2, low=1.1, high=1.3, majority=1.0)
    better = Cell("mae", 0.8, low=0.7, high=0.9, majority=1.0)
    kinds = [
        re.findall(r"chip (\w+)", str(scores.gain(cell)))[0]
        for cell in (clear, unsure, worse, better)
    ]
    assert kinds == ["good", "fair", "bad", "good"]


def test_confusions_of_all_seeds_are_summed(run: TrainingRecord) -> None:
    page = render(run, Looks())
    assert ">460<small>" in page  # 230 in each of two seeds
    assert ">620<small>" in page


def test_heavier_words_are_darker_and_boxes_keep_their_place(run: TrainingRecord) -> None:
    page = render(run, Looks([sample(picture=picture())], "chosen"))
    weights = {
        word: int(share)
        for share, word in re.findall(r'style="--weight: (\d+)%" title="[\d.]+">(\w+)<', page)
    }
    # Of four tokens equal weights are 0.25, and the colour is full at 0.75.
    assert weights == {"com": 67, "prehend": 27}
    assert 'viewBox="0 0 60 80"' in page
    assert 'x="5.0" y="6.0" width="15.0" height="24.0"' in page
    opacities = [
        float(found) for found in re.findall(r'class="box" style="opacity: ([\d.]+)', page)
    ]
    assert opacities == sorted(opacities)
    # Of two regions no weight can be three times the equal one.
    assert opacities == [0.30, 0.70]


def test_differences_from_another_run_are_shown(run: TrainingRecord) -> None:
    around = {"value": 0.02, "low": 0.01, "high": 0.03}
    clear = {"samples": around, "seeds": None, "both": None}
    unsure = {**clear, "samples": {**around, "low": -0.01}}
    error = {**clear, "samples": around}
    differences = {"mood": {"accuracy": clear, "macro_f1": unsure, "macro_recall": clear}}
    found = {"second": SCRIPT, "split": "test", "seeds": ["1"], "differences": differences}
    differences["strength"] = {"mae": error}
    (run.folder / "against-x-test.json").write_text(json.dumps(found), "utf-8")
    page = render(run, Looks())
    assert SCRIPT not in page
    section = page.split('id="against"')[1].split("</section>")[0]
    assert re.findall(r"chip (\w+)", section) == ["good", "fair", "bad"]
    assert "+1.00 … +3.00" in section
    assert "+0.0100 … +0.0300" in section


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "mult-x"
    (folder / "seed-1").mkdir(parents=True)
    (folder / "run.json").write_text("{}", "utf-8")
    out = write_training_report(read_run(folder), Looks(), folder / "report.html")
    page = out.read_text("utf-8")
    assert "incomplete" in page
    assert "Not evaluated yet" in page
    assert "never read" in page


def test_damaged_and_foreign_content_is_left_out(run: TrainingRecord) -> None:
    seed = run.seeds[0].folder
    (seed / "test.json").write_text("{torn", "utf-8")
    (run.folder / "table-test.json").write_text("[]", "utf-8")
    page = render(read_run(run.folder), Looks())
    assert "Not evaluated yet" in page
    assert ">230<small>" in page


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training run"):
        read_run(tmp_path)


def test_log_keeps_the_last_value_of_an_epoch_and_skips_what_is_not_finite(
    run: TrainingRecord,
) -> None:
    log = run.seeds[0].folder / "log.jsonl"
    again = {"kind": "epoch", "epoch": 2, "train": {"loss": 7.0}, "val": {"loss": None}}
    broken = {"kind": "epoch", "epoch": 3, "val": {"loss": math.nan}}
    log.write_text("\n".join([json.dumps(again), json.dumps(again), json.dumps(broken), "{"]))
    series = read_run(run.folder).seeds[0].epochs
    assert series == {"train/loss": [(2.0, 7.0)]}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [0.0, 0.5, 1.0]), (1.0, 8.0, [2, 4, 6, 8]), (3.0, 3.0, [3.0])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_constant_line_and_a_single_point_are_drawn() -> None:
    chart = line_chart("loss", [Line("a", [(1, 0.0), (2, 0.0)]), Line("b", [(1, 0.0)])])
    assert "nan" not in chart
    assert "circle" in chart


def test_weights_that_hardly_differ_look_light() -> None:
    assert full_weight([0.25, 0.25, 0.26, 0.24]) == 0.75
    assert full_weight([0.9, 0.05, 0.05, 0.0]) == 0.9
    assert full_weight([]) == 1.0


def test_entropy_is_relative_to_equal_weights() -> None:
    assert normalised_entropy([0.25] * 4) == pytest.approx(1.0)
    assert normalised_entropy([1.0, 0.0, 0.0]) == pytest.approx(0.0)
    assert normalised_entropy([1.0]) == 1.0


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (2, ""),
        (1, " So it was after epoch 2, not yet after epoch 1, the best."),
        (3, " So it was after epoch 2, no longer after epoch 3, the best."),
    ],
)
def test_a_warning_that_passed_says_so(tmp_path: Path, best: int, words: str) -> None:
    journal = Journal(tmp_path, 0, lambda entry: None, tensorboard=False)
    journal.warn(0, "cut", "batches are cut")
    for epoch, spots in enumerate(([], ["flat"], []), 1):
        journal.write("epoch", 5 * epoch, epoch=epoch, weak_spots=spots)
        for name in spots:
            journal.warn(5 * epoch, name, "one class only", epoch=epoch)
    (tmp_path / "best").mkdir()
    state = {"position": {"best_epoch": best}}
    (tmp_path / "best" / "state.json").write_text(json.dumps(state))
    found = SeedRecord("5", tmp_path).warnings
    assert found == ["batches are cut", f"one class only{words}"]
