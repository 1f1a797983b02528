"""Tiny made-up copies of the Memotion files, with the defects that the real ones have."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

KAGGLE_HEADER = [
    "",
    "image_name",
    "text_ocr",
    "text_corrected",
    "humour",
    "sarcasm",
    "offensive",
    "motivational",
    "overall_sentiment",
]
ORGANISERS_HEADER = (
    "Image_name,Image_URL,OCR_extracted_text,corrected_text,"
    "Humour,Sarcasm,offensive,Motivational,Overall_Sentiment"
)
LABELS = ["funny", "general", "slight", "not_motivational", "positive"]
HTML = "<html><head><style type='text/css'>p {margin: 0}</style></head><p>a caption</p></html>"


def csv_text(rows: Iterable[Sequence[object]], line_end: str = "\r\n", delimiter: str = ",") -> str:
    """Return rows as a CSV writer would save them."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator=line_end, delimiter=delimiter).writerows(rows)
    return stream.getvalue()


def save(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write text as it is, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def touch(folder: Path, *names: str) -> None:
    """Create files that readers only look for by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def organisers_lines() -> list[str]:
    """Return raw lines: quotes are literal, some odd; labels tell the lines apart."""
    texts = [
        'he said "wait" twice',
        'a 6" ruler',
        '"opening quote only',
        "plain words",
        'closing quote only"',
        "ünïcode words",
        '""doubled at the start',
        "more plain words",
        '"whole field quoted"',
        "the end",
    ]
    sentiments = ["very_negative", "negative", "neutral", "positive", "very_positive"] * 2
    return [
        f"{number}_meme.jpg,http://example.org/{number},plain,{text},"
        f"funny,general,slight,not_motivational,{sentiment}"
        for number, (text, sentiment) in enumerate(zip(texts, sentiments, strict=True))
    ]


def resaved(raw: str, header: str | None) -> str:
    """Return what somebody saves who reads a raw file with an ordinary CSV reader."""
    records = list(csv.reader(io.StringIO(raw, newline="")))
    width = max(len(fields) for fields in records)
    padded = [fields + [""] * (width - len(fields)) for fields in records]
    return (f"{header}\r\n" if header else "") + csv_text(padded)
