"""Optional packages of the export formats and of the API, imported when they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..loading import missing_dependency


def need(name: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MissingDependency: Naming the extra that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
