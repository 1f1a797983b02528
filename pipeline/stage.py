"""What a stage is: it declares what it reads and writes, opens once per worker, maps rows by key.

A stage lives in `pipeline/stages/<name>.py` (class `Stage`, configuration `Config`) or, when it
makes features, in `pipeline/extractors/<name>.py` (class `Extractor`, configuration `Config`). The
module path is the name. The engine runs both the same way, in three overlapping lanes:

```
rows ─► load(row) in threads ─► bucket(item) ─► compute(items) on the model ─► values, in order
```

`load` and `compute` raise `RowError` for a sample that cannot be used; the engine turns that into
a row with a status. When `compute` fails for a batch, the batch is bisected to the rows at fault.
"""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from .config import StageConfig
from .records import OutputSpec, Row

if TYPE_CHECKING:
    from .records import Value

ConfigType = TypeVar("ConfigType", bound=StageConfig)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker needs to run a stage.

    Attributes:
        gpu: Number of accelerators (0 or 1).
        memory_gb: Resident memory of the opened stage, for scheduling.
    """

    gpu: int = 0
    memory_gb: float = 1.0


class BaseStage(ABC, Generic[ConfigType, Item]):
    """Base of every stage and extractor.

    Class attributes:
        NAME: The module's name.
        VERSION: Raised whenever the same inputs and configuration give other values.
        LIBRARIES: Distributions whose version can change the values; their versions are part of
            the fingerprint.
        READS: Names of the stages whose tables `load` reads; may depend on the configuration
            (override `reads`).
        NEEDS_CORPUS: Whether the result of a row depends on the captions and splits of all rows;
            `set_corpus` is then called once per worker, after `open`.

    Constructing a stage is cheap: no heavy import, no file is opened. `open` does that, once per
    worker process.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    LIBRARIES: ClassVar[tuple[str, ...]] = ()
    READS: ClassVar[tuple[str, ...]] = ()
    NEEDS_CORPUS: ClassVar[bool] = False
    CITATION: ClassVar[str] = ""

    def __init__(self, config: ConfigType) -> None:
        self.config = config

    def reads(self) -> tuple[str, ...]:
        """Return the names of the stages whose tables are read."""
        return self.READS

    @abstractmethod
    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return what is written, one entry per table or feature."""

    def identity(self) -> Mapping[str, Any]:
        """Return further facts that affect values, above all the weights' digest, as JSON.

        Called where the plan is made. Raises `WeightsError` naming the command that gets the
        weights when they are absent, and `MissingDependency` when a package is.
        """
        return {}

    def reads_labels(self) -> bool:
        """Return whether the result of a row depends on labels; they are then identified too."""
        return False

    def libraries(self) -> dict[str, str]:
        """Return the versions of the libraries that affect values; "absent" when not installed."""
        return {name: library_version(name) for name in self.LIBRARIES}

    def warnings(self) -> tuple[str, ...]:
        """Return what the user must be told, for example that weights are random."""
        return ()

    def resources(self) -> Resources:
        """Return what one worker needs."""
        return Resources()

    @property
    def batch_size(self) -> int:
        """Rows per call of `compute`."""
        return int(getattr(self.config, "batch_size", 32))

    def open(self) -> None:
        """Load weights; called once per worker process before the first row."""

    def set_corpus(self, captions: Iterable[tuple[str, str, str]]) -> None:
        """Take ``(key, split, text)`` of every sample, streamed."""

    @abstractmethod
    def load(self, row: Row) -> Item:
        """Read and decode one sample; runs in a thread.

        Raises:
            RowError: The sample cannot be used.
            RowAbsent: The sample has no such modality.
        """

    def bucket(self, item: Item) -> Hashable:
        """Return what items of one batch must share, for example a padded length."""
        return None

    @abstractmethod
    def compute(self, items: Sequence[Item]) -> Sequence[Mapping[str, Value]]:
        """Map a batch to values.

        Returns:
            For each item a mapping from output name to an array (features), a mapping of columns
            (tables) or a `Failure`.
        """


def library_version(name: str) -> str:
    """Return the installed version of a distribution, or "absent"; nothing is imported."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
