"""`results/README.md`: every result as a table for people, made from the JSON files beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HEAD = """# Measurements

Made by `make bench` (`python -m benchmarks.run`) from the JSON files in this folder, which hold the
raw runs as well. Numbers that miss their target are shown as they are.
"""
NEEDED = {"title", "target", "met", "headline", "columns", "rows"}


def write(results: Path) -> None:
    """Write the table of all results in a folder."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(results.glob("*.json"))
    }
    known = [value for value in found.values() if set(value) >= NEEDED]
    known.sort(key=lambda value: str(value["title"]))
    lines = [HEAD, *_overview(known), *(line for one in known for line in _section(one))]
    for name, value in found.items():
        if not set(value) >= NEEDED:
            lines.extend(_numbers(name, value))
    text = "\n".join(lines)
    results.mkdir(parents=True, exist_ok=True)
    (results / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")


def _overview(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    columns = ["what", "target", "measured", "met"]
    rows = [[one["title"], one["target"], one["headline"], _verdict(one["met"])] for one in found]
    yield from markdown(columns, rows)
    yield ""


def _verdict(met: bool | None) -> str:
    return {True: "yes", False: "**no**", None: "no target"}[met]


def _section(one: dict[str, Any]) -> Iterator[str]:
    yield f"## {one['title']}"
    yield ""
    if one.get("quick"):
        yield "Quick mode: sizes too small for the numbers to mean much."
        yield ""
    yield from markdown(one["columns"], one["rows"])
    yield ""
    for note in one.get("notes", ()):
        yield f"- {note}"
    settings = ", ".join(f"{name} {value}" for name, value in one.get("settings", {}).items())
    if settings:
        yield f"- Settings: {settings}."
    yield f"- Measured on {_machine(one)}."
    yield ""


def _numbers(name: str, value: dict[str, Any]) -> Iterator[str]:
    """Yield the section of a result of another kind: its single numbers, as they are named."""
    yield f"## {name}"
    yield ""
    if "what" in value:
        yield str(value["what"])
        yield ""
    single = [[key, one] for key, one in value.items() if isinstance(one, int | float)]
    yield from markdown(["number", "value"], single)
    yield ""


def _machine(one: dict[str, Any]) -> str:
    hardware = one["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    return (
        f"{one['date']}: {hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']} GB, "
        f"{hardware['system']}, load before {hardware['load_before'][0]}; {versions}"
    )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; numbers are set to the right."""
    numeric = [
        bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        for index in range(len(columns))
    ]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'|'.join('---:' if right else '---' for right in numeric)}|"
    for row in rows:
        yield f"| {' | '.join(_cell(item) for item in row)} |"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|")
