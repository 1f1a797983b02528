"""Captions from templates: words that go with the sentiment, and sarcasm that turns them round.

A sincere caption uses words of its own sentiment. A sarcastic one uses pleasant words about
something bad (negative) or plays the victim of something pleasant (positive), so its words alone
mislead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SENTIMENTS = ("negative", "neutral", "positive")
SARCASM = ("not_sarcastic", "sarcastic")

_FILLERS: Mapping[str, tuple[str, ...]] = {
    "who": (
        "my boss",
        "grandma",
        "my sister",
        "the neighbour",
        "my roommate",
        "dad",
        "my teacher",
        "uncle Bob",
        "my best friend",
        "the new intern",
    ),
    "food": (
        "pizza",
        "apple pie",
        "noodle soup",
        "pancakes",
        "chocolate cake",
        "fresh bread",
        "tacos",
        "ice cream",
        "strawberries",
        "popcorn",
    ),
    "pet": ("cat", "dog", "hamster", "parrot", "rabbit", "goldfish"),
    "thing": (
        "laptop",
        "printer",
        "phone",
        "bicycle",
        "coffee machine",
        "washing machine",
        "headset",
        "keyboard",
        "radio",
        "elevator",
    ),
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "chore": ("homework", "paperwork", "laundry", "ironing", "meetings", "spreadsheets", "dishes"),
    "place": ("library", "station", "beach", "office", "supermarket", "museum", "lake", "harbour"),
    "number": ("two", "three", "five", "seven", "nine", "twelve", "twenty"),
}

Template = tuple[str, str]
_TEMPLATES: Mapping[tuple[str, str], tuple[Template, ...]] = {
    ("positive", "not_sarcastic"): (
        ("when {who} brings {food}", "best {day} ever"),
        ("my {pet} waited at the door", "i love this little friend"),
        ("finished the {chore} early", "so happy right now"),
        ("the {food} turned out perfect", "what a wonderful {day}"),
        ("found {number} coins in my coat", "today is a great day"),
        ("the {thing} works again", "thank you {who}"),
        ("{who} laughed at my joke", "feeling great this {day}"),
        ("sunshine at the {place}", "life is beautiful"),
    ),
    ("positive", "sarcastic"): (
        ("only {number} pieces of {food}", "what a hard life"),
        ("my {pet} took the whole bed", "poor little me"),
        ("forced to rest at the {place}", "how will i survive"),
        ("{who} made me eat {food}", "i suffer so much"),
        ("a free {day} with no {chore}", "truly a tragedy"),
    ),
    ("neutral", "not_sarcastic"): (
        ("{day} at the {place}", "{who} is holding a {thing}"),
        ("the {thing} is on the table", "next to the {food}"),
        ("the {place} opens at {number}", "{who} told me"),
        ("{who} bought {food}", "at the {place}"),
        ("a {pet} and a {thing}", "seen at the {place}"),
        ("{number} kinds of {food}", "all of them on the shelf"),
        ("this is the {place}", "it is {day}"),
    ),
    ("neutral", "sarcastic"): (
        ("breaking news from the {place}", "{who} owns a {thing}"),
        ("stop everything", "{who} looked at the {food}"),
        ("historians will remember this {day}", "the {pet} sat down"),
        ("shocking discovery", "{number} chairs at the {place}"),
    ),
    ("negative", "not_sarcastic"): (
        ("the {thing} broke again", "worst {day} of the year"),
        ("{who} ate my {food}", "i am so angry"),
        ("lost my keys at the {place}", "this is terrible"),
        ("rain all {day}", "i hate this weather"),
        ("{number} hours of {chore}", "and it still failed"),
        ("my {pet} is ill", "saddest {day} ever"),
        ("burned the {food}", "everything goes wrong"),
        ("{who} shouted at me", "i want to go home"),
    ),
    ("negative", "sarcastic"): (
        ("oh great the {thing} broke", "just what i needed on {day}"),
        ("wow {number} hours of {chore}", "i am so lucky"),
        ("sure {who} eat my {food}", "i love sharing"),
        ("perfect more rain at the {place}", "what a lovely {day}"),
        ("{who} sent {number} more emails", "how wonderful"),
        ("brilliant the {pet} ate the {thing}", "best day of my life"),
    ),
}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written into a meme, or said in a clip."""

    top: str
    bottom: str
    sentiment: str
    sarcasm: str

    @property
    def text(self) -> str:
        """The transcription: both parts in capitals, as memes are written."""
        return f"{self.top} {self.bottom}".upper().strip()


class CaptionWriter:
    """Writes captions, none of them twice."""

    def __init__(self) -> None:
        self._written: set[str] = set()

    def write(self, rng: np.random.Generator, sentiment: str, sarcasm: str) -> Caption:
        """Return a caption that has not been written before.

        Args:
            rng: Source of randomness.
            sentiment: One of `SENTIMENTS`.
            sarcasm: One of `SARCASM`.
        """
        templates = _TEMPLATES[sentiment, sarcasm]
        for attempt in range(1000):
            top, bottom = templates[int(rng.integers(len(templates)))]
            filled = {name: str(rng.choice(values)) for name, values in _FILLERS.items()}
            top, bottom = top.format(**filled), bottom.format(**filled)
            if attempt >= 100:
                # Large data sets run out of templates: numbered parts go on.
                bottom = f"{bottom} part {len(self._written)}"
            caption = Caption(top, bottom, sentiment, sarcasm)
            if caption.text not in self._written:
                break
        self._written.add(caption.text)
        return caption
