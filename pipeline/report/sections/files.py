"""Where the files are, and which commands read them."""

from __future__ import annotations

import os

from ...records import FeatureSpec
from ..census import output_label
from ..context import Context, Section
from ..html import code, element, join, note
from ..tables import Rows, table

_COMMANDS = (
    ("everything about one sample", "pipeline inspect KEY"),
    ("the failed rows", "pipeline quarantine list"),
    ("compute only those again", "pipeline retry"),
    ("check digests of all parts", "pipeline verify"),
    ("hand features to another tool", "pipeline features export --as npy --out DIR"),
)


def section(context: Context) -> Section:
    """Return the section."""
    layout = context.session.layout
    rows: Rows = [["samples", code(_below(context, str(context.samples.path)))]]
    for planned in context.session.plan.nodes.values():
        for spec, path in planned.outputs:
            kind = "feature" if isinstance(spec, FeatureSpec) else "table"
            name = f"{kind} {output_label(planned, spec.name)}"
            rows.append([name, code(_below(context, str(path)))])
        if planned.quarantine.is_dir():
            rows.append(
                [f"failed rows of {planned.name}", code(_below(context, planned.quarantine))]
            )
    run = layout.runs / str(context.record.get("run", ""))
    rows.append(["this run", code(_below(context, str(run)))])
    commands: Rows = [[words, code(command)] for words, command in _COMMANDS]
    body = join(
        [
            element("p", "Store: ", code(layout.root)),
            element("p", "Media: ", code(os.path.normpath(context.session.root))),
            table(("what", "folder below the store"), rows, rest="folders"),
            note(
                "Every folder holds part-NNNNN.parquet files; a part counts only with the "
                "commit record beside it. Columns of a feature: key, status, reason, n, value."
            ),
            table(("to see", "run"), commands),
        ]
    )
    return Section("files", "Files", body)


def _below(context: Context, path: object) -> str:
    return str(path).removeprefix(f"{context.session.layout.root}/")
