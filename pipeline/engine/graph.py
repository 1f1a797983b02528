"""The directed graph of nodes that `dags/` builds and the engine plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError

SAMPLES = "samples"


@dataclass(frozen=True, slots=True)
class Node:
    """One stage applied to one set of rows.

    Attributes:
        name: Unique in the graph, for example ``clip`` or ``clip.augmented``.
        stage: Plug-in name.
        config: Configuration values of the stage.
        rows: ``samples``, or the node whose children are this node's rows.
        reads: Name the stage reads a table under, to the node that wrote it.
    """

    name: str
    stage: str
    config: Mapping[str, Any] = field(default_factory=dict)
    rows: str = SAMPLES
    reads: Mapping[str, str] = field(default_factory=dict)

    @property
    def upstream(self) -> tuple[str, ...]:
        """Nodes whose shard must be committed before this node's shard can start."""
        found = set(self.reads.values())
        if self.rows != SAMPLES:
            found.add(self.rows)
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Dag:
    """Nodes in an order in which every node stands after what it reads."""

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            missing = set(node.upstream) - seen
            if missing:
                raise ConfigError(f"node '{node.name}' reads {sorted(missing)}, not yet in the DAG")
            if node.name in seen:
                raise ConfigError(f"node '{node.name}' stands in the DAG twice")
            seen.add(node.name)

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)
