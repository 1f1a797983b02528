"""The folder with real data and reference outputs that may lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def needs_shared(relative: str) -> pytest.MarkDecorator:
    """Skip a test where ``shared/<relative>`` is absent."""
    return pytest.mark.skipif(
        not (SHARED / relative).exists(), reason=f"needs shared/{relative} beside the checkout"
    )
