"""affectflow: from raw multimodal data to audited features and fairly evaluated models.

The Python interface reads a feature store; making one is the command ``pipeline run extract``.

```python
import affectflow

store = affectflow.open_store("affectflow-store")
keys, values = store.feature("memotion", "clip_image").read(split="train")
keys, tokens, mask = store.feature("memotion", "bert").torch(split="train")
joined = store.join("memotion", ["bert", "clip_image"])
```

Importing the package imports nothing heavy: names are looked up on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline.errors import AffectflowError, MissingDependency, StoreError
    from .pipeline.records import FeatureSpec
    from .pipeline.store.api import FeatureInfo, Store, open_store
    from .pipeline.store.feature import Feature, FeatureRow, Features
    from .pipeline.store.join import Joined
    from .pipeline.store.samples_view import Labels, SamplesView

__version__ = "0.1.0"

# Public name to the module that defines it.
_HOMES = {
    "AffectflowError": "pipeline.errors",
    "Feature": "pipeline.store.feature",
    "FeatureInfo": "pipeline.store.api",
    "FeatureRow": "pipeline.store.feature",
    "FeatureSpec": "pipeline.records",
    "Features": "pipeline.store.feature",
    "Joined": "pipeline.store.join",
    "Labels": "pipeline.store.samples_view",
    "MissingDependency": "pipeline.errors",
    "SamplesView": "pipeline.store.samples_view",
    "Store": "pipeline.store.api",
    "StoreError": "pipeline.errors",
    "open_store": "pipeline.store.api",
}

__all__ = [
    "AffectflowError",
    "Feature",
    "FeatureInfo",
    "FeatureRow",
    "FeatureSpec",
    "Features",
    "Joined",
    "Labels",
    "MissingDependency",
    "SamplesView",
    "Store",
    "StoreError",
    "__version__",
    "open_store",
]


def __getattr__(name: str) -> Any:
    """Return a public name, importing its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'affectflow' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
