"""What every section of the page is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..engine.graph import SAMPLES
from ..engine.plan import PlannedNode
from ..engine.session import Session, Summary
from ..store.reader import OutputFolder
from ..store.samples import SamplesTable
from .census import Census
from .html import Markup
from .pictures import Gallery


@dataclass(frozen=True)
class Context:
    """One run, read from its store.

    Attributes:
        session: The run's configuration, samples and plan over the store as it is now.
        record: What the run recorded about itself (``run.json``).
        summary: Counts of the store as it is now.
        census: Counts per split, modality and class.
        gallery: Makes the pictures.
    """

    session: Session
    record: Mapping[str, Any]
    summary: Summary
    census: Census
    gallery: Gallery

    @property
    def samples(self) -> SamplesTable:
        """The samples table."""
        return self.session.samples

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Tasks of the dataset as they were when the samples table was written."""
        tasks: Mapping[str, Mapping[str, Any]] = self.samples.info["manifest"]["tasks"]
        return tasks

    def nodes_of(self, stage: str) -> Iterator[PlannedNode]:
        """Yield the nodes of a stage."""
        for planned in self.session.plan.nodes.values():
            if planned.node.stage == stage:
                yield planned

    def table_of(self, stage: str) -> tuple[PlannedNode, OutputFolder] | None:
        """Return a stage's node over the samples and its table, when any shard is committed."""
        for planned in self.nodes_of(stage):
            folder = OutputFolder(planned.outputs[0][1], "tables")
            if planned.node.rows == SAMPLES and folder.commits:
                return planned, folder
        return None


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        name: Anchor, a short word.
        title: Heading.
        body: Content.
    """

    name: str
    title: str
    body: Markup
