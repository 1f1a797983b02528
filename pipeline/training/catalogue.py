"""Which models there are: the module path below `models/` is the name; listing imports nothing."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, unknown_name

if TYPE_CHECKING:
    from affectflow.models.batch import FusionModel, ModelConfig

_MODELS = Path(__file__).resolve().parents[2] / "models"
_PLACES = ("", "baselines")
# What every model file defines, or imports to hand on, and no other file does.
_MARK = re.compile(r"^(ROLES\b|from .*\bROLES\b|    ROLES,$)", re.MULTILINE)


def model_names() -> dict[str, str]:
    """Return the models: name → dotted path below `models`."""
    found = {}
    for place in _PLACES:
        folder = _MODELS / place
        for path in sorted([*folder.glob("*.py"), *folder.glob("*/__init__.py")]):
            name = path.parent.name if path.name == "__init__.py" else path.stem
            if not name.startswith("_") and _MARK.search(path.read_text(encoding="utf-8")):
                found[name] = f"{place}.{name}".lstrip(".")
    return dict(sorted(found.items()))


def summary(name: str) -> str:
    """Return the first line of a model's docstring."""
    base = _MODELS.joinpath(*model_names()[name].split("."))
    path = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().strip('"').strip()


@dataclass(frozen=True, slots=True)
class ModelKind:
    """What a model file holds.

    Attributes:
        name: Name of the model.
        config: Class of its configuration.
        model: Class of the model.
        roles: Role → name of the feature that plays it by default.
        presets: Name → function that returns a configuration; the first is the default.
    """

    name: str
    config: type[ModelConfig]
    model: type[FusionModel]
    roles: Mapping[str, str]
    presets: Mapping[str, Callable[[], Any]]


def load_model_kind(name: str) -> ModelKind:
    """Import a model by name.

    Raises:
        UsageError: The name is unknown; the nearest names are listed.
        MissingDependency: A package that training needs is not installed.
    """
    from ..loading import missing_dependency

    known = model_names()
    if name not in known:
        raise UsageError(unknown_name("model", name, known))
    try:
        module = importlib.import_module(f"affectflow.models.{known[name]}")
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    return ModelKind(name, module.Config, module.Model, module.ROLES, module.PRESETS)
