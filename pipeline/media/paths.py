"""Paths confined to a dataset's root."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import RowError
from ..records import Sample


def confine(root: Path, relative: str) -> Path:
    """Return the file ``relative`` below ``root``.

    Args:
        root: The dataset's root; may itself be a link.
        relative: A path from a label file. Absolute paths, ``..`` that leaves the root and links
            that point outside are refused.

    Raises:
        RowError: ``path_outside_root``, ``missing_file`` or ``not_a_file``.
    """
    hint = "media paths must lie below --root"
    if "\x00" in relative or not relative:
        raise RowError("missing_file", f"'{relative!r}' is not a file name", hint)
    if os.path.isabs(relative) or relative.startswith("~"):
        raise RowError("path_outside_root", f"'{relative}' is not relative to the root", hint)
    base = os.path.realpath(root)
    target = os.path.realpath(os.path.join(base, relative))
    if target != base and not target.startswith(base + os.sep):
        raise RowError("path_outside_root", f"'{relative}' leaves the root", hint)
    if not os.path.exists(target):
        raise RowError("missing_file", f"'{relative}' does not exist", "see `datasets validate`")
    if not os.path.isfile(target):
        raise RowError("not_a_file", f"'{relative}' is not a regular file", "expected a file")
    return Path(target)


def check_unchanged(found: str, ingested: str | None, sample: Sample, name: str) -> None:
    """Refuse a file that is not the one whose digest stands in the samples table.

    Args:
        found: Digest of what was read now.
        ingested: Digest at ingest; None with status ``ok`` where files are not scanned.
        sample: The sample.
        name: Name of the file, for the message.

    Raises:
        RowError: ``changed_file``.
    """
    if ingested is None and sample.status == "ok":
        return
    if found != ingested:
        message = f"'{name}' is not the file that was ingested"
        raise RowError("changed_file", message, "`pipeline run extract` takes the new file")
