"""What travels to a worker: names, digests and paths, never data or models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import EngineConfig

MAX_TASK_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Upstream:
    """A table that a cell reads: its folder, which rows it has, and where its failures are."""

    node: str
    folder: str
    rows: str
    quarantine: str


@dataclass(frozen=True, slots=True)
class CellTask:
    """One cell to compute.

    Attributes:
        node, stage, config: The node and its stage.
        shard: Index of the shard.
        attempt: 0 for the first try.
        cell: Digest that the commit will carry.
        identity: Digest of the weights and library versions that the plan was made with.
        samples: Folder of the samples table.
        root: Folder that media paths are confined to.
        children: Folder of the table whose children are the rows; None for the samples.
        reads: By the name the stage reads under.
        upstream: Node name to digest of the part it wrote, for the commit.
        folders: Folder of each output, in the order of the stage's outputs.
        quarantine: Folder of the failed rows.
        engine: How to run.
        only_keys: Recompute these rows and keep the others as they are; None for all.
    """

    node: str
    stage: str
    config: Mapping[str, Any]
    shard: int
    attempt: int
    cell: str
    identity: str
    samples: str
    root: str
    children: str | None
    reads: Mapping[str, Upstream]
    upstream: Mapping[str, str]
    folders: tuple[str, ...]
    quarantine: str
    engine: EngineConfig
    only_keys: frozenset[str] | None = None

    @property
    def label(self) -> str:
        """Name for people: node and shard."""
        return f"{self.node}[{self.shard}]"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker says about a finished cell; small."""

    node: str
    shard: int
    rows: Mapping[str, int]
    seconds: Mapping[str, float]
    bytes: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    worker: str = ""
