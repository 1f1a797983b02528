"""The provider ``replay``: replies come from the ledger only; nothing is ever sent."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Failure
from .request import Request


class ReplayProvider:
    """Fails for every request, because it is asked only for what the ledger lacks."""

    async def answer(self, requests: Sequence[Request]) -> dict[str, Failure]:
        """Return a failure that names the key, for every request."""
        return {request.key: _miss(request) for request in requests}


def _miss(request: Request) -> Failure:
    what = "repair request" if request.previous is not None else "request"
    return Failure(
        "ledger_miss",
        f"the ledger holds no reply to {what} {request.key}",
        "model, prompt, n, temperature, limits, base_url and the caption must all be the same",
    )
