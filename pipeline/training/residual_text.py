"""How much text inpainting left in the pictures that visual features were made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..config import digest
from ..store.layout import StoreLayout
from ..store.reader import OutputFolder, list_outputs
from ..store.spec import fingerprint_of
from .sources import Source

STAGE, PAINTED = "inpaint", "painted"


def residual_text(sources: Iterable[Source]) -> dict[str, float]:
    """Return by role the mean residual of painted pictures, as the extraction's report has it.

    A residual is the text area that the detector finds after painting, as a share of that before.
    Roles are left out whose feature was not made from painted pictures, or where the store no
    longer has the table of the painting, or it was not measured.
    """
    found: dict[str, float] = {}
    for source in sources:
        table = _painting(source.folder)
        value = None if table is None else _mean(table)
        if value is not None:
            found[source.role] = value
    return found


def _painting(feature: OutputFolder) -> OutputFolder | None:
    """Return the table of the painting that a feature was made from."""
    recipe: Any = feature.spec["recipe"].get("upstream", {}).get(STAGE)
    # A stage of two encoders reads the pictures, and has an output made from the text alone.
    if recipe is None or feature.feature.modality != "image":
        return None
    fingerprint = fingerprint_of(digest(recipe, 64), str(feature.spec.get("content")))
    layout = StoreLayout(feature.path.parents[3])
    tables = list_outputs(layout, "tables", feature.dataset)
    return next((table for table in tables if table.fingerprint == fingerprint), None)


def _mean(folder: OutputFolder) -> float | None:
    values = [np.zeros(0)]
    for shard in folder.commits:
        try:
            table = folder.table(shard, ["outcome", "residual"])
        except (OSError, pa.ArrowException):
            # Nothing is trained on this table: damage to it is for `pipeline verify` to report.
            return None
        painted = table.filter(pc.equal(table["outcome"], PAINTED))
        values.append(painted["residual"].cast(pa.float64()).to_numpy())
    measured = np.concatenate(values)
    measured = measured[np.isfinite(measured)]
    return float(measured.mean()) if len(measured) else None
