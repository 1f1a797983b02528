"""Frozen configuration types, `--set` overrides and canonical JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigError

ConfigType = TypeVar("ConfigType", bound="Config")


class Config(BaseModel):
    """A frozen configuration: unknown keys are refused, nobody writes into it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class StageConfig(Config):
    """Configuration of one stage.

    ``RUNTIME`` names the fields that change how fast a result is made but not the result; they
    stay out of the fingerprint and are recorded beside it.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size", "device"})

    def result_parameters(self) -> dict[str, Any]:
        """Return the fields that affect values, as JSON."""
        return self.model_dump(mode="json", exclude=set(self.RUNTIME))

    def runtime_parameters(self) -> dict[str, Any]:
        """Return the fields that do not affect values, as JSON."""
        return self.model_dump(mode="json", include=set(self.RUNTIME))


class EngineConfig(Config):
    """How work is cut and scheduled.

    Attributes:
        shard_rows: Samples per shard, the unit of work and of retry.
        decode_threads: Threads that read and decode while the model computes.
        threads: Compute threads per worker (torch, ONNX, OpenCV). The default of one makes the
            bytes of a shard the same for any number of workers; more can change the last bits.
        row_deadline_s: Seconds one sample may take to read and decode.
        cell_deadline_s: Seconds one shard of one stage may take before its worker is replaced.
        retries: How often a shard is tried again after its worker died.
        max_in_flight: Shards submitted to the cluster at a time; 0 means one per worker.
        max_failed: Share of failed rows (0 to 1) above which the run ends with exit code 5.
    """

    shard_rows: int = Field(default=256, ge=1, le=1_000_000)
    decode_threads: int = Field(default=2, ge=1, le=64)
    threads: int = Field(default=1, ge=1, le=256)
    row_deadline_s: float = Field(default=120.0, gt=0, le=1e6, allow_inf_nan=False)
    cell_deadline_s: float = Field(default=3600.0, gt=0, le=1e6, allow_inf_nan=False)
    retries: int = Field(default=3, ge=0, le=100)
    max_in_flight: int = Field(default=0, ge=0)
    max_failed: float = Field(default=0.05, ge=0, le=1)


class RunConfig(Config):
    """Everything `pipeline run` was asked for, resolved."""

    dag: str = "extract"
    dataset: str
    root: str | None = None
    profile: Literal["offline", "paper"] = "offline"
    features: tuple[str, ...] = Field(default=("bert", "clip", "regions"), min_length=1)
    limit: int | None = Field(default=None, ge=1)
    augment: bool = False
    engine: EngineConfig = EngineConfig()
    stages: Mapping[str, Mapping[str, Any]] = {}


def parse(kind: type[ConfigType], values: Mapping[str, Any], where: str) -> ConfigType:
    """Validate ``values`` as ``kind``; a mistake becomes one readable line.

    Raises:
        ConfigError: Naming the field, what was got and what was expected.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_problem(error, kind)}") from None


def _first_problem(error: ValidationError, kind: type[BaseModel]) -> str:
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{field}'; known: {', '.join(sorted(kind.model_fields))}"
    if problem["type"] in ("tuple_type", "list_type"):
        return f"'{field}' = {problem['input']!r}: expected a list; write [{problem['input']}]"
    return value_problem(field, problem)


def value_problem(field: str, problem: Mapping[str, Any]) -> str:
    """Return in one line what pydantic says of a value, or of several that do not go together."""
    said = str(problem["msg"]).removeprefix("Value error, ")
    if isinstance(problem.get("input"), Mapping):
        # A rule between fields: the message names them, all their values would bury it.
        return f"{field}: {said}" if field else said
    return f"'{field}' = {problem.get('input')!r}: {said}"


def parse_overrides(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Turn ``["inpaint.radius=3"]`` into ``{"inpaint": {"radius": 3}}``.

    Values are read as YAML scalars or flow sequences; ``1e-3`` is read as a number.

    Raises:
        ConfigError: When an assignment is not ``owner.key=value``.
    """
    overrides: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        parts = path.strip().split(".")
        if not equals or len(parts) < 2 or not all(parts):
            raise ConfigError(
                f"--set got '{assignment}', expected owner.key=value",
                "for example --set inpaint.radius=5 or --set trainer.epochs=10",
            )
        target = overrides.setdefault(parts[0], {})
        for part in parts[1:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {path}: '{part}' is set to a value before", "set one")
        target[parts[-1]] = _scalar(text)
    return overrides


def _scalar(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set value '{text}' is not a YAML scalar: {error}") from None
    if isinstance(value, str):
        # YAML 1.1 reads 1e-3 as a string.
        try:
            return float(value)
        except ValueError:
            return value
    return value


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces; equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any, length: int = 16) -> str:
    """Return the first ``length`` hex digits of the sha256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]
