"""Making a paraphrase stage against the local server, and rows for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from support.fake_openai import PRICE_IN, PRICE_OUT

from affectflow.pipeline.records import Failure, Row, Sample
from affectflow.pipeline.stages.paraphrase import Config, Stage


def captions(count: int) -> list[str]:
    """Different captions of different lengths."""
    words = ["river", "stone", "lamp", "cloud", "paper", "garden", "window", "bread", "music"]
    words += ["winter", "copper"]
    return [
        " ".join([f"caption{index}", *(words[(index * 7 + k) % 11] for k in range(3 + index % 9))])
        for index in range(count)
    ]


def row(text: str, split: str = "train", key: str = "a.png", **fields: Any) -> Row:
    sample = Sample(key=key, split=split, text=text, **fields)
    return Row(sample=sample, root=Path("/nowhere"), upstream={"clean_text": {"text": text}})


def prices(folder: Path) -> str:
    path = folder / "prices.yaml"
    path.write_text(f"tiny: {{input: {PRICE_IN}, output: {PRICE_OUT}, batch_factor: 0.5}}\n")
    return str(path)


def config(folder: Path, url: str, **values: Any) -> Config:
    """A configuration with waits of milliseconds."""
    defaults: dict[str, Any] = {
        "provider": "openai",
        "model": "tiny",
        "base_url": url,
        "ledger": str(folder / "llm"),
        "price_table": prices(folder),
        "confirm_paid": True,
        "timeout_s": 5.0,
        "backoff_first_s": 0.01,
        "backoff_longest_s": 0.03,
        "reply_tokens": 200,
        "batch": {"first_poll_s": 0.02, "longest_poll_s": 0.05, "wait_s": 20.0},
    }
    return Config.model_validate({**defaults, **values})


def opened(configuration: Config, corpus: Iterable[tuple[str, str, str]] = ()) -> Stage:
    stage = Stage(configuration)
    stage.identity()
    stage.open()
    stage.set_corpus(corpus)
    return stage


def ask(stage: Stage, texts: Sequence[str]) -> list[Any]:
    """Load and compute; one table row or failure per text."""
    items = [stage.load(row(text)) for text in texts]
    return [value["paraphrase"] for value in stage.compute(items)]


def outcome(value: Any) -> str:
    return value.code if isinstance(value, Failure) else value["outcome"]


def outcomes(values: Iterable[Any]) -> list[str]:
    return [outcome(value) for value in values]
