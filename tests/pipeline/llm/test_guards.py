import re

import pytest

from affectflow.pipeline.llm.folding import Corpus, fold_caption
from affectflow.pipeline.llm.guards import Guards, tidy

SOURCE = "me when the meeting could have been an email"
GOOD = "when a simple email would have replaced the meeting"
ROWS = [
    ("a", "train", SOURCE),
    ("b", "test", "The Cat is NOT amused   imgflip.com"),
    ("c", "val", "मेरा भाई सो गया"),
    ("d", "train", "dogs know better than all of us"),
]


def guards(**values) -> Guards:
    return Guards(corpus=Corpus(ROWS), **values)


def reasons(source: str, *items: str, **values) -> list[str]:
    return [decision.reason for decision in guards(**values).decide(source, items)]


ALONE = {
    "empty": "  ",
    "equals_source": "ME when the  meeting could have been an EMAIL",
    "equals_held_out": "the cat is not amused",
    "equals_other_row": "Dogs know better than all of us!",
    "foreign_link": "see funny-site.com when the meeting could be an email",
    "refusal": "As an AI language model, I would rather not rewrite this one",
    "length": "no",
    "script": "когда встреча могла быть письмом от начальника",
    "language": "cuando la reunión pudo ser un correo y no lo es para mi",
    "label_word": "a sarcastic view of meetings that should be emails",
}


@pytest.mark.parametrize("reason", ALONE)
def test_each_guard_triggers_alone(reason):
    assert reasons(SOURCE, ALONE[reason]) == [reason]


def test_a_good_paraphrase_passes():
    assert reasons(SOURCE, GOOD) == [""]


@pytest.mark.parametrize(
    "item",
    [
        "I can't help with that request about a meeting",
        "I'm sorry, but this caption is not something to rewrite",
        "Here are five versions of the meeting caption",
        "Sure, here is the meeting caption in other words",
        "a rephrased caption about a meeting and an email",
    ],
)
def test_refusals_and_meta_text(item):
    assert reasons(SOURCE, item) == ["refusal"]


def test_words_of_the_source_are_not_held_against_a_paraphrase():
    assert reasons("i can't even with www.meme.com", "i can't cope with www.meme.com") == [""]
    assert reasons("so sarcastic of you today", "how sarcastic you are today") == [""]
    assert reasons("@bob is late again today", "again @bob is late today i see") == [""]


@pytest.mark.parametrize(
    "item",
    [
        "visit www.x for this meeting and this email",
        "this website says the meeting was an email",
        "Sentence one: the meeting was an email all along",
        "thanks @carol the meeting was an email",
        "https://t.co/abc the meeting was an email",
    ],
)
def test_links_and_handles_absent_from_the_source(item):
    assert reasons(SOURCE, item) == ["foreign_link"]


def test_repetition_of_a_sibling_even_of_a_surplus_one():
    items = [GOOD, GOOD.upper() + "!", "an email would have done instead of that meeting"]
    assert reasons(SOURCE, *items, items[2], max_kept=1) == [
        "",
        "equals_sibling",
        "surplus",
        "equals_sibling",
    ]
    assert reasons(SOURCE, *items, max_kept=2) == ["", "equals_sibling", ""]


def test_too_many_tokens():
    long = " ".join(f"w{index}" for index in range(129))
    source = " ".join(f"s{index}" for index in range(60))
    assert reasons(source, long) == ["too_long"]


def test_similarity_is_optional():
    def close(source, texts):
        return [0.3, 0.8, 1.0][: len(texts)]

    items = [GOOD, GOOD + " today", GOOD + " again"]
    assert reasons(SOURCE, *items, similarity=close, max_kept=3) == ["similarity", "", "similarity"]


def test_leak_is_seen_through_case_spaces_and_watermark():
    corpus = Corpus(ROWS)
    assert corpus.owner("the CAT is not amused.") == "held_out"
    assert corpus.owner("मेरा भाई सो गया!") == "held_out"
    assert corpus.owner("dogs know better than all of us") == "train"
    assert corpus.owner("nobody said this") is None
    assert corpus.owner("") is None
    moved = [(key, "train", text) for key, _, text in ROWS]
    assert Corpus(moved).digest != corpus.digest
    assert Corpus(reversed(ROWS)).digest == corpus.digest


def test_a_million_captions_fit_in_little_memory():
    rows = (("k", "test" if index % 9 else "train", f"caption {index}") for index in range(20_000))
    corpus = Corpus(rows)
    assert corpus._train.nbytes + corpus._held_out.nbytes == 8 * 20_000
    assert corpus.owner("Caption 19999") == "held_out"


def test_tidy_strips_numbering_bullets_and_quotes():
    for item in ("1. go home", "2) go home", "- go home", "• go home", '"go home"', "“go home”"):
        assert tidy(item) == "go home"
    assert tidy('3. "\'tis me"') == "'tis me"
    assert tidy("'so' he said 'no'") == "'so' he said 'no'"
    assert tidy("2 dogs and 1 cat") == "2 dogs and 1 cat"


def author_clean(text: str) -> str:
    """Delete everything but ASCII letters and white space, as the published cleaner does."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z\s]", "", text.lower())).strip()


def test_guards_after_cleaning_are_blind():
    items = [
        "visit www.x for this meeting and this email",
        "Sentence one: the meeting was an email all along",
        "thanks @carol the meeting was an email",
        "see funny-site.com when the meeting could be an email",
    ]
    before = [reasons(SOURCE, item)[0] for item in items]
    after = [reasons(SOURCE, author_clean(item))[0] for item in items]
    assert before == ["foreign_link"] * 4
    assert after == [""] * 4
    assert reasons(SOURCE, author_clean("this website says it was an email")) == ["foreign_link"]


def test_folding_keeps_every_script():
    assert fold_caption("Hello, WORLD!  (imgflip.com)") == "hello world"
    assert fold_caption("don't") == fold_caption("dont")
    assert fold_caption("你好，世界") == "你好 世界"
    assert fold_caption("@user http://x.y/z") == ""
