"""`pipeline inspect KEY`: everything about one sample."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as opt

if TYPE_CHECKING:
    from ..report.inspect import Inspection, OutputFacts

Picture = Annotated[
    Path | None,
    typer.Option(help="Also draw waveform, pitch and acoustic columns into this PNG file."),
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="Key of the sample.")]

_SAMPLE_COLUMNS = (
    "split",
    "split_origin",
    "status",
    "reason",
    "flags",
    "origin",
    "group",
    "source",
    "image",
    "image_format",
    "image_width",
    "image_height",
    "audio",
    "start_s",
    "end_s",
    "text",
)
_MEASURES = ("min", "max", "mean", "norm", "finite_share")


def inspect(
    key: Key,
    run: opt.Run = None,
    store: opt.Store = opt.DEFAULT_STORE,
    json_output: opt.Json = False,
    picture: Picture = None,
) -> None:
    """Show what is known about one sample: labels, split, group, every output and its failures."""
    from ..report.inspect import inspect_sample
    from . import show

    session, _ = opt.latest_session(store, run)
    found = inspect_sample(session, key)
    if picture is not None:
        from ..report.voice import voice_picture

        voice_picture(session, key).save(picture, format="PNG")
    if json_output:
        show.print_json(found.to_json())
        return
    show.print_table(f"sample {found.key}", ("what", "value"), list(_sample_rows(found)))
    columns = ("node", "output", "key", "status", "value or cause")
    show.print_table("outputs", columns, [_output_row(facts, found) for facts in found.outputs])
    for facts in found.outputs:
        if facts.hint:
            typer.echo(f"{facts.output}: what to do: {facts.hint}")


def _sample_rows(found: Inspection) -> Iterator[tuple[str, str]]:
    sample = found.sample
    yield "shard", str(found.shard)
    for name in _SAMPLE_COLUMNS:
        if sample.get(name) not in (None, "", []):
            yield name, _words(sample[name])
    if found.group_size > 1:
        shown = ", ".join(found.siblings)
        more = found.group_size - 1 - len(found.siblings)
        yield "near-duplicates", f"{shown} and {more} more" if more else shown
    for task, label in sample["labels"].items():
        yield f"label {task}", label
    for name, value in sample["extra"].items():
        yield f"extra {name}", _words(value)


def _output_row(facts: OutputFacts, found: Inspection) -> tuple[str, str, str, str, str]:
    key = "" if facts.key == found.key else facts.key
    cause = ": ".join(part for part in (facts.reason, facts.message) if part)
    return facts.node, facts.output, key, facts.status, cause or _value_words(facts.facts)


def _value_words(facts: Mapping[str, Any]) -> str:
    if "dtype" in facts:
        size = " × ".join(str(number) for number in facts["shape"]) or "scalar"
        numbers = [f"{name} {_words(facts[name])}" for name in _MEASURES if name in facts]
        return f"{size} {facts['dtype']} · " + ", ".join(numbers or ["empty"])
    return "\n".join(f"{name}: {_words(value)}" for name, value in facts.items())


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict) and "format" in value:
        size = "×".join(str(number) for number in value.get("size", ()))
        return f"{value['format']} {size}, {value['bytes']:,} bytes"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return "–" if value is None else str(value)
