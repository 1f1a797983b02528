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

from .layout import SAMPLES_NAME, SPEC_NAME, StoreLayout, commit_name, part_name, read_json
from .reader import OutputFolder, list_outputs
from .runs import dataset_of
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
    if not _check_table(layout, table, report):
        return report
    keys = SamplesKeys(layout, table)
    nodes = {str(node): str(fingerprint) for node, fingerprint in record["nodes"].items()}
    found: dict[str, list[OutputFolder]] = {node: [] for node in nodes}
    for folder in _outputs(layout, table.dataset, report):
        node = str(folder.spec["node"])
        if nodes.get(node) == folder.fingerprint:
            found[node].append(folder)
    for node, folders in found.items():
        _check_presence(node, nodes[node], folders, record, report)
        for folder in folders:
            _check_output(folder, keys, report, must_be_whole=True)
            _check_upstream(folder, found, layout, report)
    report.leftovers = list(_leftovers(layout))
    return report


def verify_all(layout: StoreLayout) -> Report:
    """Check every samples table and every output of a store, whichever run made them."""
    report = Report()
    tables: dict[str, SamplesKeys] = {}
    for path in sorted(layout.root.glob(f"samples/*@*/{SAMPLES_NAME}")):
        table = SamplesTable(path.parent)
        if _check_table(layout, table, report):
            tables[path.parent.name] = SamplesKeys(layout, table)
    for folder in _outputs(layout, None, report):
        name = f"{folder.dataset}@{folder.spec['samples']}"
        if name in tables:
            _check_output(folder, tables[name], report, must_be_whole=False)
        else:
            what = f"its samples table '{name}' cannot be read"
            report.problems.append(Problem(_below(layout, folder.path), what))
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
            commit = read_json(path)
            _remove(layout, path, report)
            if commit is not None and "cell" in commit:
                _remove_same_cell(layout, folder.parent, str(commit["cell"]), report)
        elif folder.is_dir() and read_json(folder / SPEC_NAME) is None:
            for path in sorted(folder.glob("part-*.commit.json")):
                _remove(layout, path, report)
            _remove(layout, folder / SPEC_NAME, report)


def _remove_same_cell(layout: StoreLayout, folder: Path, cell: str, report: Report) -> None:
    for path in sorted(folder.glob("*/part-*.commit.json")):
        commit = read_json(path)
        if commit is not None and commit.get("cell") == cell and damaged(path, commit):
            _remove(layout, path, report)


def _outputs(layout: StoreLayout, dataset: str | None, report: Report) -> Iterator[OutputFolder]:
    for room in OUTPUT_ROOMS:
        for folder in list_outputs(layout, room, dataset):
            if read_json(folder.path / SPEC_NAME) is None:
                where = _below(layout, folder.path)
                report.problems.append(Problem(where, f"{SPEC_NAME} cannot be read"))
            else:
                yield folder


def _check_presence(
    node: str,
    fingerprint: str,
    folders: list[OutputFolder],
    record: Mapping[str, Any],
    report: Report,
) -> None:
    """Note outputs that the run counted in its summary, or must have had, and that are gone."""
    dataset = dataset_of(record)
    wanted = {
        (str(item["kind"]), str(item["name"] if item["kind"] == "features" else item["node"]))
        for item in record.get("summary", {}).get("outputs", ())
        if item["node"] == node
    }
    lost = wanted - {(folder.room, folder.name) for folder in folders}
    for room, name in sorted(lost):
        where = f"{room}/{dataset}/{name}/{fingerprint}"
        report.problems.append(Problem(where, "the output of the run is not there"))
    if not folders and not lost:
        what = f"node '{node}' of the run has written nothing; run it again to go on"
        report.problems.append(Problem(f"runs/{record['run']}", what))


def _check_table(layout: StoreLayout, table: SamplesTable, report: Report) -> bool:
    """Check a samples table; return whether its record can be read at all."""
    where = _below(layout, table.path)
    for shard, what in check_samples(table):
        report.problems.append(Problem(where, what, shard))
    return read_json(table.path / SAMPLES_NAME) is not None


def _check_output(
    folder: OutputFolder, keys: SamplesKeys, report: Report, must_be_whole: bool
) -> None:
    where = _below(keys.layout, folder.path)
    report.outputs += 1
    num_shards = len(keys.table.shards)
    if folder.num_shards != num_shards:
        what = f"made for {folder.num_shards} shards, the samples have {num_shards}"
        report.problems.append(Problem(where, what))
        return
    missing = [shard for shard in range(num_shards) if shard not in folder.commits]
    if missing and must_be_whole:
        report.problems += [Problem(where, "the shard is not committed", it) for it in missing]
    elif missing:
        report.incomplete.append(f"{where}: {len(missing)} of {num_shards} shards not committed")
    for shard, commit in folder.commits.items():
        problems = [Problem(where, what, shard) for what in check_part(folder, shard, commit, keys)]
        report.problems += problems
        report.parts += 1
        if not problems:
            report.rows += sum(commit["rows"].values())
            report.bytes += int(commit["bytes"])


def _check_upstream(
    folder: OutputFolder,
    found: Mapping[str, list[OutputFolder]],
    layout: StoreLayout,
    report: Report,
) -> None:
    """Note parts that were made from another version of what their node reads."""
    for shard, commit in folder.commits.items():
        for node, sha in commit.get("upstream", {}).items():
            commits = [other.commits.get(shard) for other in found.get(node, ())]
            known = {item["sha256"] for item in commits if item is not None}
            if known and sha not in known:
                what = f"made from another version of '{node}'"
                report.problems.append(Problem(_below(layout, folder.path), what, shard))


def _leftovers(layout: StoreLayout) -> Iterator[str]:
    yield from sorted(_below(layout, path) for path in layout.root.rglob(".*.tmp"))
    for room in OUTPUT_ROOMS:
        for path in sorted(layout.root.glob(f"{room}/*/*/*/part-*.parquet")):
            if not (path.parent / commit_name(int(path.stem[5:]))).exists():
                yield _below(layout, path)
    for path in sorted(layout.root.glob("quarantine/*/*/*/part-*.parquet")):
        fingerprint, name = path.parent.name, commit_name(int(path.stem[5:]))
        dataset = path.parent.parent.parent.name
        if not any(layout.root.glob(f"*/{dataset}/*/{fingerprint}/{name}")):
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
