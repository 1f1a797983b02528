"""The one exception tree.

```
AffectflowError                      says what was got, what was expected, what to do
├── UsageError                       the command line names what does not exist (exit 2)
├── InvalidInput                     data or configuration is wrong (exit 3)
│   ├── ConfigError
│   ├── ManifestError
│   ├── DatasetError
│   │   └── MissingFiles
│   ├── WeightsError
│   ├── MissingDependency
│   ├── StoreError
│   └── ProviderError                a language-model provider cannot go on
│       └── BudgetExceeded
└── RowError                         one sample failed: becomes a row with a status and a reason
    └── RowAbsent                    the sample has no such modality: not a failure
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class AffectflowError(Exception):
    """Base of every error the package raises on purpose.

    Args:
        message: What was got and what was expected, one line.
        hint: What the user can do about it, one line.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(AffectflowError):
    """The command line names something that does not exist."""

    exit_code = 2


class InvalidInput(AffectflowError):
    """Data or configuration cannot be used."""


class ConfigError(InvalidInput):
    """A configuration value is unknown or out of range."""


class ManifestError(InvalidInput):
    """A manifest file does not validate."""


class DatasetError(InvalidInput):
    """Files of a dataset are there but are not what the reader expects."""


class MissingFiles(DatasetError):
    """Files of a dataset are not there.

    Args:
        dataset: Name of the dataset.
        missing: One line per missing file: what it is and where it should lie.
        obtain: How to obtain it.
    """

    def __init__(self, dataset: str, missing: Sequence[str], obtain: str) -> None:
        lines = "\n".join(f"  - {line}" for line in missing)
        message = (
            f"dataset '{dataset}' is incomplete; missing:\n{lines}\nhow to obtain it: {obtain}"
        )
        super().__init__(message, "put the files there, or pass another --root")
        self.missing = tuple(missing)
        self.args = (dataset, missing, obtain)


class WeightsError(InvalidInput):
    """Model weights are absent, incomplete or not the ones that were named."""


class MissingDependency(InvalidInput):
    """An optional package is not installed.

    Args:
        package: Name of the package that could not be imported.
        extra: The extra of this distribution that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        message = f"the package '{package}' is not installed"
        super().__init__(message, f"pip install 'affectflow[{extra}]'")
        self.args = (package, extra)


class StoreError(InvalidInput):
    """A store on disk cannot be read or written."""


class ProviderError(InvalidInput):
    """A language-model provider cannot go on."""


class BudgetExceeded(ProviderError):
    """The next request could pass the budget, so it was not sent."""


class RowError(AffectflowError):
    """One sample failed; every other sample goes on.

    Args:
        code: Class of the failure, a stable snake_case word such as ``decode_error``.
        message: The cause, one line.
        hint: What to do, one line.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code
        self.args = (code, message, hint)


class RowAbsent(RowError):
    """The sample has no such modality; its row says ``absent`` and nothing failed."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a message for an unknown name that lists the nearest known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    tail = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
    return f"unknown {kind} '{name}'; {tail}"
