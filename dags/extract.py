"""The extraction graph: from wanted features back to everything they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectflow.pipeline.config import RunConfig
from affectflow.pipeline.engine.graph import SAMPLES, Dag, Node
from affectflow.pipeline.errors import ConfigError, UsageError, unknown_name
from affectflow.pipeline.loading import load_module, make_stage, names

# What an augmented node reads in place of the table of the originals.
_AUGMENTED_READS = {"clean_text": "clean_text.augmented", "inpaint": "augment_image"}


def build(config: RunConfig, store: str) -> Dag:
    """Return the graph for the features that ``config`` asks for.

    Args:
        config: The resolved run configuration.
        store: The store's folder, for stages that keep a ledger there.

    Raises:
        UsageError: A feature is unknown.
        ConfigError: A configured stage is not in the graph.
    """
    for feature in config.features:
        if feature not in names("extractors"):
            raise UsageError(unknown_name("feature", feature, names("extractors")))
    builder = _Builder(config, store)
    for feature in config.features:
        builder.add(feature)
    if config.augment:
        builder.add_augmented(config.features)
    _check_overrides(config, {node.stage for node in builder.nodes.values()})
    return Dag(tuple(builder.nodes.values()))


class _Builder:
    def __init__(self, config: RunConfig, store: str) -> None:
        self.config = config
        self.store = store
        self.nodes: dict[str, Node] = {}
        self._pending: list[str] = []

    def values(self, stage: str) -> dict[str, Any]:
        """Return profile values, overridden by what the user set."""
        kind = "extractors" if stage in names("extractors") else "stages"
        module = load_module(kind, stage)
        profile = getattr(module, "profile", None)
        values: dict[str, Any] = dict(profile(self.config.profile)) if profile else {}
        if "ledger" in module.Config.model_fields:
            values["ledger"] = f"{self.store}/llm"
        values |= _plain(self.config.stages.get(stage, {}))
        if stage == "inpaint":
            # The result is judged by the detector that found the text, unless another is named.
            detector = {k: v for k, v in self.values("text_regions").items() if k != "batch_size"}
            values["detector"] = {**detector, **values.get("detector", {})}
        return values

    def add(self, stage: str) -> None:
        """Add a stage over the samples, after everything it reads."""
        if stage in self.nodes:
            return
        if stage in self._pending:
            raise ConfigError(
                f"stage '{stage}' reads itself: {' → '.join([*self._pending, stage])}"
            )
        self._pending.append(stage)
        values = self.values(stage)
        reads = make_stage(stage, values).reads()
        for upstream in reads:
            self.add(upstream)
        self._pending.pop()
        self.nodes[stage] = Node(stage, stage, values, SAMPLES, {name: name for name in reads})

    def add_augmented(self, features: tuple[str, ...]) -> None:
        """Add the nodes over the children of `paraphrase`."""
        self.add("paraphrase")
        self._add_child("clean_text.augmented", "clean_text", {})
        readers = [make_stage(name, self.values(name)).reads() for name in features]
        if any("inpaint" in reads for reads in readers):
            self._add_child("augment_image", "augment_image", {"inpaint": "inpaint"})
        for feature, reads in zip(features, readers, strict=True):
            mapped = {name: _AUGMENTED_READS.get(name, name) for name in reads}
            self._add_child(f"{feature}.augmented", feature, mapped)

    def _add_child(self, name: str, stage: str, reads: Mapping[str, str]) -> None:
        self.nodes[name] = Node(name, stage, self.values(stage), "paraphrase", reads)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(item) if isinstance(item, Mapping) else item for key, item in values.items()}


def _check_overrides(config: RunConfig, stages: set[str]) -> None:
    unused = sorted(set(config.stages) - stages)
    if unused:
        known = names("stages") + names("extractors")
        if unused[0] not in known:
            raise ConfigError(f"--set: {unknown_name('stage', unused[0], ['engine', *known])}")
        raise ConfigError(
            f"--set {unused[0]}.…: the stage is not in this graph",
            f"stages here: {', '.join(sorted(stages))}",
        )
