from __future__ import annotations

import pytest

from affectflow.pipeline.llm.folding import Corpus


@pytest.mark.parametrize(
    ("held_out", "paraphrase"),
    [
        ("<b>hello there</b> friend", "hello there friend"),
        ("so happy \U0001f602", "so happy face with tears of joy"),
        ("look at this mess imgflip.com", "Look at this mess!"),
    ],
)
def test_a_held_out_caption_is_seen_through_the_cleaner(held_out: str, paraphrase: str) -> None:
    corpus = Corpus([("a", "test", held_out), ("b", "train", "something else entirely")])
    assert corpus.owner(paraphrase) == "held_out"
    assert corpus.owner("nothing of the kind was said") is None
