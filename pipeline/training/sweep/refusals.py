"""What no trial of a sweep could take, said before anything is written.

A setting that is wrong by itself (an unknown name, a value out of range, data that there are not)
would fail in every trial that has it. Settings that are valid each by itself and not together are
one failed trial, and the others are worth running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ...errors import AffectflowError, UsageError
from .space import as_text

Point = Mapping[str, Any]
_BY_VALIDATORS = frozenset({"value_error", "assertion_error"})


def refuse_impossible(points: Sequence[Point], attempt: Callable[[Point], object]) -> None:
    """Refuse a sweep that has a value with which no trial could be.

    Args:
        points: The settings of every trial, by ``owner.key``.
        attempt: Resolves settings and opens the data, or raises what is wrong with them.

    Raises:
        UsageError: There is no such model or preset.
        AffectflowError: What the first trial with such a value fails with.
    """
    problems: dict[tuple[str, str], tuple[AffectflowError, Point]] = {}
    possible: set[tuple[str, str]] = set()
    for point in points:
        values = [(name, as_text(value)) for name, value in point.items()]
        error = _problem(point, attempt)
        if error is None:
            possible.update(values)
        elif not _only_together(error):
            for name, text in values:
                problems.setdefault((name, text), (error, {name: point[name]}))
    for value, (error, alone) in problems.items():
        # Few draws may meet only others that they don't go with: then the value is not at fault.
        if value not in possible and _problem(alone, attempt) is not None:
            raise error


def _problem(point: Point, attempt: Callable[[Point], object]) -> AffectflowError | None:
    try:
        attempt(point)
    except UsageError:
        raise
    except AffectflowError as error:
        return error
    return None


def _only_together(error: AffectflowError) -> bool:
    """Return whether every field is valid and a rule over several of them is broken.

    The line for the user no longer tells the two apart; the error it was made from does.
    """
    cause = error.__context__
    return isinstance(cause, ValidationError) and all(
        problem["type"] in _BY_VALIDATORS for problem in cause.errors(include_url=False)
    )
