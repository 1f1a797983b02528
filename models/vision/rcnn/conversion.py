"""Published tensors under the names of our modules: what fitted, what is missing, what is not ours.

A conversion only compares names and shapes; tensors may be torch's or NumPy's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar


class HasShape(Protocol):
    """A tensor of any library."""

    @property
    def shape(self) -> Sequence[int]:
        """Its shape."""


Tensor = TypeVar("Tensor", bound=HasShape)
SHOWN = 3


@dataclass(slots=True)
class Conversion:
    """The outcome of one file.

    Attributes:
        tensors: What fits, by our names.
        missing: Our names that the file lacks.
        unexpected: Names of the file that mean nothing to us.
        mismatched: Our name, shape in the file, our shape.
        dropped: Names of the file that are known and not needed.
    """

    tensors: dict[str, object] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def problem(self) -> str:
        """What makes the file unusable, one line; empty when nothing does."""
        shapes = [f"{name} is {got}, expected {wanted}" for name, got, wanted in self.mismatched]
        parts = [
            _listed("missing", self.missing),
            _listed("another shape", shapes),
            _listed("unexpected", self.unexpected),
        ]
        return "; ".join(part for part in parts if part)


def _listed(kind: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{kind}: {', '.join(names[:SHOWN])}{more}"


def match(
    found: Mapping[str, HasShape], wanted: Mapping[str, Sequence[int]], optional: Sequence[str] = ()
) -> Conversion:
    """Compare tensors that already have our names with what a module wants.

    Args:
        found: Tensors.
        wanted: Shapes of the module's entries.
        optional: Entries the file may lack.
    """
    outcome = Conversion()
    for name, shape in wanted.items():
        if name not in found:
            if name not in optional:
                outcome.missing.append(name)
            continue
        got, expected = tuple(found[name].shape), tuple(shape)
        if got == expected:
            outcome.tensors[name] = found[name]
        else:
            outcome.mismatched.append((name, got, expected))
    outcome.unexpected = [name for name in found if name not in wanted]
    return outcome


def strip_prefix(tensors: Mapping[str, Tensor], prefix: str = "module.") -> dict[str, Tensor]:
    """Return the tensors without a prefix that all names share; as they are when one lacks it."""
    if tensors and all(name.startswith(prefix) for name in tensors):
        return {name.removeprefix(prefix): value for name, value in tensors.items()}
    return dict(tensors)
