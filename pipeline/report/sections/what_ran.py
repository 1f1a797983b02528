"""What ran: dataset, configuration, every output with its fingerprint, weights, versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...engine.plan import PlannedNode
from ...records import FeatureSpec
from ...store.reader import OutputFolder
from ..census import output_label
from ..context import Context, Section
from ..figures import legend, stacked_bar
from ..html import Child, Markup, code, element, folded, join, note
from ..numbers import count_text, shortened, size_text
from ..tables import Rows, facts, table

_MAX_VALUE = 400


def section(context: Context) -> Section:
    """Return the section."""
    body = join(
        [
            _facts(context),
            _outputs(context),
            legend({"ok": "ok", "absent": "absent", "failed": "failed"}),
            folded("What the values are made with", _recipes(context)),
            folded("Versions", _versions(context)),
            folded("Configuration of the run", _configuration(context)),
        ]
    )
    return Section("ran", "What ran", body)


def _facts(context: Context) -> Markup:
    config, manifest = context.session.config, context.session.manifest
    return facts(
        [
            ("dataset", f"{manifest.title} ({context.samples.dataset})"),
            ("profile", config.profile),
            ("features", ", ".join(config.features)),
            ("only the first", f"{config.limit:,} samples" if config.limit else None),
            ("augmented", "with paraphrased training samples" if config.augment else None),
            ("run", code(context.record.get("run", "?"))),
            ("ran on", _where(context)),
            ("samples digest", code(context.samples.digest)),
            ("licence of the data", manifest.licence),
            ("cite", manifest.citation),
        ]
    )


def _where(context: Context) -> str:
    workers = context.record.get("workers")
    cluster = str(context.record.get("cluster", "?"))
    return f"{cluster}, {workers} workers" if workers else cluster


def _outputs(context: Context) -> Markup:
    rows: Rows = []
    counts = {(item.node, item.name): item for item in context.summary.outputs}
    for planned in context.session.plan.nodes.values():
        for spec, _ in planned.outputs:
            item = counts[planned.name, spec.name]
            parts = {"ok": item.ok, "absent": item.absent, "failed": item.failed}
            rows.append(
                [
                    output_label(planned, spec.name),
                    _shape(spec) if isinstance(spec, FeatureSpec) else "table",
                    item.ok,
                    item.absent,
                    item.failed,
                    stacked_bar(parts, slim=True),
                    size_text(item.bytes),
                    code(item.fingerprint),
                ]
            )
    columns = ("output", "shape per row", "ok", "absent", "failed", "", "size", "fingerprint")
    return table(columns, rows, rest="outputs")


def _shape(spec: FeatureSpec) -> str:
    sizes = " × ".join("n" if size is None else str(size) for size in spec.shape)
    return f"{sizes}, {spec.dtype}"


def _recipes(context: Context) -> Markup:
    found: Rows = [
        [planned.name, planned.recipe["version"], _weights(planned), _parameters(planned)]
        for planned in context.session.plan.nodes.values()
    ]
    return table(("node", "version", "made from", "parameters"), found, kind="top", rest="nodes")


def _weights(planned: PlannedNode) -> Child:
    lines = [
        element("div", _name(path), element("span", shortened(text, _MAX_VALUE)), class_="pair")
        for path, text in _leaves(planned.recipe["identity"])
    ]
    return lines or "nothing learned"


def _parameters(planned: PlannedNode) -> Child:
    return [
        element("div", _name(path), element("span", shortened(text, _MAX_VALUE)), class_="pair")
        for path, text in _leaves(planned.recipe["parameters"])
    ]


def _name(path: str) -> Markup:
    return element("span", path, class_="quiet")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _versions(context: Context) -> Markup:
    """Return the versions that the committed shards were written with, each with its shards."""
    found: dict[str, dict[str, int]] = {}
    for planned in context.session.plan.nodes.values():
        folder = OutputFolder(planned.outputs[0][1], planned.folders[0].room)
        for commit in folder.commits.values():
            versions = {**commit.get("versions", {}), **_platform(commit)}
            for name, version in versions.items():
                by_version = found.setdefault(name, {})
                by_version[str(version)] = by_version.get(str(version), 0) + 1
    rows: Rows = [[name, _version_text(versions)] for name, versions in sorted(found.items())]
    return table(("library", "version"), rows) if rows else note("No shard is committed.")


def _platform(commit: Mapping[str, Any]) -> dict[str, str]:
    runtime = commit.get("runtime", {})
    return {name: runtime[name] for name in ("python", "machine") if name in runtime}


def _version_text(versions: Mapping[str, int]) -> str:
    if len(versions) == 1:
        return next(iter(versions))
    shown = (f"{name} ({count_text(number)} shards)" for name, number in sorted(versions.items()))
    return "mixed: " + ", ".join(shown)


def _configuration(context: Context) -> Markup:
    config = json.dumps(context.record.get("config", {}), indent=2, ensure_ascii=False)
    return element("pre", config)
