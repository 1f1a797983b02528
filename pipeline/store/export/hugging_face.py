"""A Hugging Face dataset: `datasets.load_from_disk` reads the folder.

Columns as in `lists`, in the feature's own dtype. The network is not used, nothing is cached.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from ..optional import need
from .nested import nested_schema, nested_table
from .source import ExportSource


def write(source: ExportSource, folder: Path) -> None:
    """Write one feature.

    Raises:
        MissingDependency: The package `datasets` is not installed.
    """
    schema = nested_schema(source.spec, source.spec.dtype)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch, _offline(scratch):
        library = need("datasets")
        library.disable_progress_bars()
        path = Path(scratch) / "rows.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in source.batches():
                writer.write_table(nested_table(batch, source.spec.dtype))
        # Mapped, not read: memory stays bounded however large the feature is.
        dataset = library.Dataset.from_file(str(path))
        dataset.save_to_disk(str(folder / "dataset"))


@contextmanager
def _offline(scratch: str) -> Iterator[None]:
    """Keep the library off the network and its caches in ``scratch`` while it is imported."""
    if "datasets" in sys.modules:
        yield
        return
    values = {
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_CACHE": scratch,
        "HF_MODULES_CACHE": scratch,
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
