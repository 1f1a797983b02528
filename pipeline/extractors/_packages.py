"""Whether the optional packages of an extractor are installed, without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..loading import missing_dependency


def require(*packages: str) -> None:
    """Check that packages can be imported.

    Raises:
        MissingDependency: Naming the first that is absent and the extra that brings it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise missing_dependency(ModuleNotFoundError(name=package))


def folder_of(package: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        MissingDependency: The package is absent.
    """
    require(package)
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))
