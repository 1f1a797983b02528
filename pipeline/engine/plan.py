"""Planning: which cells are there already, which are not, and why. Planning does no work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..config import digest
from ..loading import make_stage
from ..records import FeatureSpec, OutputSpec
from ..stage import BaseStage
from ..store.layout import COMMIT_KEYS, StoreLayout, part_name, read_commit, read_json
from ..store.reader import OutputFolder
from ..store.samples import SamplesTable
from ..store.spec import cell_digest, fingerprint_of, recipe_of
from .graph import SAMPLES, Dag, Node

State = Literal["cached", "adoptable", "stale", "missing", "failed"]
STATES: tuple[State, ...] = ("cached", "adoptable", "stale", "missing", "failed")


@dataclass(frozen=True)
class PlannedNode:
    """A node with everything that identifies what it writes."""

    node: Node
    stage: BaseStage[Any, Any]
    recipe: Mapping[str, Any]
    content: str
    fingerprint: str
    layout: StoreLayout
    dataset: str

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.name

    @cached_property
    def outputs(self) -> tuple[tuple[OutputSpec, Path], ...]:
        """Each output with its folder."""
        return tuple((spec, self._folder(spec)) for spec in self.stage.outputs())

    def _folder(self, spec: OutputSpec) -> Path:
        if isinstance(spec, FeatureSpec):
            return self.layout.output("features", self.dataset, spec.name, self.fingerprint)
        return self.layout.output("tables", self.dataset, self.name, self.fingerprint)

    @cached_property
    def identity(self) -> str:
        """Digest of weights and library versions, for workers to compare with theirs."""
        facts = {"identity": self.recipe["identity"], "libraries": self.recipe["libraries"]}
        return digest(facts)

    @cached_property
    def recipe_digest(self) -> str:
        """Digest of the recipe."""
        return digest(self.recipe, 64)

    @cached_property
    def folders(self) -> tuple[OutputFolder, ...]:
        """Folders of the outputs, as readers; what they list is what was there on first use."""
        return tuple(
            OutputFolder(path, "features" if isinstance(spec, FeatureSpec) else "tables")
            for spec, path in self.outputs
        )

    @property
    def quarantine(self) -> Path:
        """Folder of the failed rows."""
        return self.layout.quarantine(self.dataset, self.name, self.fingerprint)

    @cached_property
    def elsewhere(self) -> dict[str, tuple[str, int]]:
        """Cells committed under other fingerprints of this node: digest to fingerprint, shard."""
        folder = self.outputs[0][1]
        return {
            str(commit["cell"]): (path.parent.name, int(path.name[5 : -len(".commit.json")]))
            for path in sorted(folder.parent.glob("*/part-*.commit.json"))
            if path.parent != folder and (commit := read_commit(path)) is not None
        }

    def failed_marker(self, shard: int) -> Path:
        """Return the file that says a whole cell failed, and why."""
        return self.outputs[0][1] / f"part-{shard:05d}.failed.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """One node on one shard."""

    node: str
    shard: int
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """The grid of cells of one run."""

    samples: SamplesTable
    nodes: Mapping[str, PlannedNode]
    cells: Mapping[tuple[str, int], Cell] = field(default_factory=dict)

    def todo(self) -> list[Cell]:
        """Return the cells that are not cached, node by node."""
        return [cell for cell in self.cells.values() if cell.state != "cached"]

    def upstream_sha(self, name: str, shard: int) -> str | None:
        """Return the digest of a committed part of a node's first output, as of planning."""
        commit = self.nodes[name].folders[0].commits.get(shard)
        return None if commit is None else str(commit.get("sha256"))

    def counts(self) -> dict[str, Counter[str]]:
        """Return for each node how many cells are in each state."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.nodes}
        for cell in self.cells.values():
            counts[cell.node][cell.state] += 1
        return counts

    def warnings(self) -> list[str]:
        """Return what the user must be told, each once."""
        found = (text for node in self.nodes.values() for text in node.stage.warnings())
        return list(dict.fromkeys(found))


def make_plan(dag: Dag, samples: SamplesTable, layout: StoreLayout) -> Plan:
    """Return the plan of a graph over a samples table.

    Raises:
        ConfigError: A stage's configuration is wrong.
        WeightsError: Weights are absent; the message names the command that gets them.
    """
    nodes: dict[str, PlannedNode] = {}
    for node in dag.nodes:
        nodes[node.name] = _planned(node, nodes, samples, layout)
    plan = Plan(samples, nodes)
    return Plan(samples, nodes, dict(_grid(plan)))


def _planned(
    node: Node, done: Mapping[str, PlannedNode], samples: SamplesTable, layout: StoreLayout
) -> PlannedNode:
    stage = make_stage(node.stage, node.config)
    upstream = {name: done[target].recipe for name, target in node.reads.items()}
    rows = node.rows if node.rows == SAMPLES else digest(done[node.rows].recipe)
    recipe = recipe_of(stage, rows, upstream)
    # What rows bring, what nodes above depend on beyond that, and what this stage reads itself.
    beyond: list[Any] = sorted({done[name].content for name in node.upstream} - {samples.content})
    if stage.NEEDS_CORPUS:
        beyond.append([shard["splits"] for shard in samples.shards])
    if stage.reads_labels():
        beyond.append([shard["labels"] for shard in samples.shards])
    content = digest([samples.content, beyond], 32) if beyond else samples.content
    fingerprint = fingerprint_of(digest(recipe, 64), content)
    return PlannedNode(node, stage, recipe, content, fingerprint, layout, samples.dataset)


def shard_content(plan: Plan, planned: PlannedNode, shard: int) -> str:
    """Return the digest of what the rows of a shard bring to a node."""
    content = str(plan.samples.shards[shard]["content"])
    if planned.content == plan.samples.content:
        return content
    # The result depends on all rows, so no other samples table can share it.
    return digest([content, planned.content], 32)


def expected_cell(plan: Plan, planned: PlannedNode, shard: int) -> str:
    """Return the digest that a cell's commit must carry."""
    return cell_digest(planned.recipe_digest, shard_content(plan, planned, shard))


def _grid(plan: Plan) -> Iterator[tuple[tuple[str, int], Cell]]:
    for planned in plan.nodes.values():
        commits = [folder.commits for folder in planned.folders]
        sizes = [_sizes(folder.path) for folder in planned.folders]
        causes = {path.name for path in planned.quarantine.glob("part-*.parquet")}
        markers = {path.name for path in planned.outputs[0][1].glob("part-*.failed.json")}
        for shard in range(len(plan.samples.shards)):
            found = [
                (by_shard.get(shard), by_name.get(part_name(shard)))
                for by_shard, by_name in zip(commits, sizes, strict=True)
            ]
            state, reason = cell_state(plan, planned, shard, found)
            failed = any(
                commit is not None and commit.get("rows", {}).get("failed") for commit, _ in found
            )
            if state == "cached" and failed and part_name(shard) not in causes:
                state, reason = "stale", "the causes of its failed rows are gone"
            if state == "missing" and expected_cell(plan, planned, shard) in planned.elsewhere:
                state, reason = "adoptable", "computed under another fingerprint"
            if state != "cached" and planned.failed_marker(shard).name in markers:
                state, reason = "failed", _failed_reason(planned, shard)
            yield (planned.name, shard), Cell(planned.name, shard, state, reason)


def _failed_reason(planned: PlannedNode, shard: int) -> str:
    return str((read_json(planned.failed_marker(shard)) or {}).get("message", ""))


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.glob("part-*.parquet")}


def cell_state(
    plan: Plan,
    planned: PlannedNode,
    shard: int,
    found: Sequence[tuple[Mapping[str, Any] | None, int | None]],
) -> tuple[State, str]:
    """Return the state of a cell and why.

    Args:
        plan: The plan.
        planned: The cell's node.
        shard: The cell's shard.
        found: For each output its commit record and the size of its part file, where there are any.
    """
    for commit, size in found:
        if commit is None or not commit.keys() >= COMMIT_KEYS:
            return "missing", ""
        if commit["cell"] != expected_cell(plan, planned, shard):
            return "stale", "the rows of this shard changed"
        if size != commit["bytes"]:
            return "stale", "the part file is missing or has another size"
        for name, sha in commit["upstream"].items():
            if plan.upstream_sha(name, shard) not in (sha, None):
                return "stale", f"'{name}' was computed again"
    return "cached", ""
