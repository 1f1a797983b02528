"""Checking a store: every committed byte, every key, every count; and making damage recomputable.

A problem is something a reader could be misled by: a part that is not what its commit says, keys
that are not the samples', failed rows without a cause. Leftovers of a killed run are no problem:
nobody reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .layout import SAMPLES_NAME, StoreLayout, commit_name, part_name, read_json
from .reader import OutputFolder, list_outputs
from .samples import SamplesTable
from .verify_parts import SamplesKeys, check_part, damaged
from .verify_samples import check_samples

OUTPUT_ROOMS = ("features", "tables")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be.

    Attributes:
        where: Path below the store.
        what: What was found and what was expected.
        shard: Shard at fault; None for a whole samples table or output.
    """

    where: str
    what: str
    shard: int | None = None


@dataclass(slots=True)
class Report:
    """What a check found.

    Attributes:
        outputs, parts, rows, bytes: How much was checked.
        problems: Why the store is not sound.
        leftovers: Files below the store that no reader sees.
        incomplete: Outputs of other runs with shards that were never committed.
        repaired: Commits that were removed, below the store.
    """

    outputs: int = 0
    parts: int = 0
    rows: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {"sound": self.sound, **asdict(self)}


def verify_run(layout: StoreLayout, record: Mapping[str, Any]) -> Report:
    """Check the samples table and every output that a run names, computed or not."""
    report = Report()
    table = SamplesTable(layout.root / "samples" / str(record["samples"]))
    _check_table(layout, table, report)
    nodes = dict(record["nodes"])
    found: dict[str, list[OutputFolder]] = {name: [] for name in nodes}
    for folder in _outputs(layout, table.dataset):
        node = str(folder.spec["node"])
        if nodes.get(node) == folder.fingerprint:
            found[node].append(folder)
    wanted = _recorded(record)
    for node, folders in found.items():
        present = {(folder.room, folder.name) for folder in folders}
        for room, name in sorted(wanted.get(node, set()) - present) or [("", "")] * (not folders):
            where = f"{room or 'features'}/{table.dataset}/{name or node}/{nodes[node]}"
            report.problems.append(Problem(where, f"node '{node}' of the run has written nothing"))
        for folder in folders:
            _check_output(layout, folder, table, report, must_be_whole=True)
    report.leftovers = list(_leftovers(layout))
    return report


def verify_all(layout: StoreLayout) -> Report:
    """Check every samples table and every output of a store, whichever run made them."""
    report = Report()
    tables: dict[str, SamplesTable] = {}
    for path in sorted(layout.root.glob(f"samples/*@*/{SAMPLES_NAME}")):
        tables[path.parent.name] = SamplesTable(path.parent)
        _check_table(layout, tables[path.parent.name], report)
    for folder in _outputs(layout, None):
        name = f"{folder.dataset}@{folder.spec['samples']}"
        table = tables.get(name)
        if table is None:
            where = _below(layout, folder.path)
            report.problems.append(Problem(where, f"its samples table '{name}' is not there"))
        else:
            _check_output(layout, folder, table, report, must_be_whole=False)
    report.leftovers = list(_leftovers(layout))
    return report


def repair(layout: StoreLayout, report: Report) -> None:
    """Remove the commits of everything at fault, so that the next run computes it again.

    Parts are shared between fingerprints by hard links: the same cell under another fingerprint is
    checked too, since the next run would take it over from there.
    """
    for problem in report.problems:
        folder = layout.root / problem.where
        if problem.where.startswith("samples/"):
            _remove(layout, folder / SAMPLES_NAME, report)
        elif problem.shard is not None:
            path = folder / commit_name(problem.shard)
            cell = (read_json(path) or {}).get("cell")
            _remove(layout, path, report)
            for other in sorted(folder.parent.glob("*/part-*.commit.json")):
                commit = read_json(other)
                if commit is not None and commit.get("cell") == cell and damaged(other, commit):
                    _remove(layout, other, report)


def _recorded(record: Mapping[str, Any]) -> dict[str, set[tuple[str, str]]]:
    """Return room and name of each output by node, where the run lived to write its summary."""
    wanted: dict[str, set[tuple[str, str]]] = {}
    for item in record.get("summary", {}).get("outputs", ()):
        name = item["node"] if item["kind"] == "tables" else item["name"]
        wanted.setdefault(item["node"], set()).add((item["kind"], name))
    return wanted


def _outputs(layout: StoreLayout, dataset: str | None) -> Iterator[OutputFolder]:
    for room in OUTPUT_ROOMS:
        yield from list_outputs(layout, room, dataset)


def _check_table(layout: StoreLayout, table: SamplesTable, report: Report) -> None:
    where = _below(layout, table.path)
    for shard, what in check_samples(table):
        report.problems.append(Problem(where, what, shard))


def _check_output(
    layout: StoreLayout,
    folder: OutputFolder,
    table: SamplesTable,
    report: Report,
    must_be_whole: bool,
) -> None:
    where = _below(layout, folder.path)
    report.outputs += 1
    keys = SamplesKeys(layout, table)
    if folder.num_shards != len(table.shards):
        what = f"made for {folder.num_shards} shards, the samples have {len(table.shards)}"
        report.problems.append(Problem(where, what))
        return
    missing = [shard for shard in range(folder.num_shards) if shard not in folder.commits]
    if missing and must_be_whole:
        report.problems += [Problem(where, "shard is not committed", shard) for shard in missing]
    elif missing:
        report.incomplete.append(f"{where}: {len(missing)} of {folder.num_shards} shards missing")
    for shard, commit in folder.commits.items():
        for what in check_part(folder, shard, commit, keys):
            report.problems.append(Problem(where, what, shard))
        report.parts += 1
        report.rows += sum(commit["rows"].values())
        report.bytes += int(commit["bytes"])


def _leftovers(layout: StoreLayout) -> Iterator[str]:
    yield from sorted(_below(layout, path) for path in layout.root.rglob(".*.tmp"))
    for room in OUTPUT_ROOMS:
        for path in sorted(layout.root.glob(f"{room}/*/*/*/part-*.parquet")):
            if not (path.parent / commit_name(int(path.stem[5:]))).exists():
                yield _below(layout, path)
    for path in sorted(layout.root.glob("samples/*@*/part-*.parquet")):
        if path.name == part_name(0) and not (path.parent / SAMPLES_NAME).exists():
            yield _below(layout, path.parent)


def _remove(layout: StoreLayout, path: Path, report: Report) -> None:
    if path.exists():
        path.unlink()
        report.repaired.append(_below(layout, path))


def _below(layout: StoreLayout, path: Path) -> str:
    return path.relative_to(layout.root).as_posix()
