"""The ledger: every request that was sent, what came back, what it cost.

Three kinds of line (`journal.py` holds the file):

- ``reserve``: written before a request is sent, with the most that it can cost;
- ``settle``: what became of it, one of
  ``answered`` (the raw reply, parsed list, finish reason, model, usage, cost: final),
  ``rejected`` (the server's content filter refused it: final, free),
  ``released`` (not charged: 429, 5xx, never sent; may be asked again),
  ``unknown`` (sent, but no reply arrived: counted at the most it can cost; may be asked again);
- ``review``: what the guards decided about the reply.

A reservation without a settlement belongs to a request in flight. Its owner holds a lock on
``clients/<id>.lock`` as long as it lives; when the lock is free, the owner was killed and the
request is settled as ``unknown``. So totals, in flight included, never fall below what was paid.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .budget import Caps, Usage
from .journal import Journal, unusable

FINAL = frozenset({"answered", "rejected"})
CHARGED = frozenset({"answered", "unknown"})
BATCH_OWNER = "batch:"
KILLED = "sender was killed"


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request that is about to be sent.

    Attributes:
        id: Unique.
        key: Key of the request.
        owner: Client that sends it, or ``batch:<plan>``.
        most: The most that it can cost.
        provider, model: For the totals.
        attempt: From 1.
    """

    id: str
    key: str
    owner: str
    most: Usage
    provider: str
    model: str
    attempt: int = 1

    @staticmethod
    def of(record: Mapping[str, Any]) -> Reservation:
        """Return the reservation in a ``reserve`` line."""
        return Reservation(
            id=record["id"],
            key=record["key"],
            owner=record["owner"],
            most=Usage.from_json(record["most"]),
            provider=record["provider"],
            model=record["model"],
            attempt=record["attempt"],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the ``reserve`` line."""
        return {
            "type": "reserve",
            "id": self.id,
            "key": self.key,
            "owner": self.owner,
            "most": self.most.to_json(),
            "provider": self.provider,
            "model": self.model,
            "attempt": self.attempt,
            "time": now(),
        }


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else has this request in flight."""

    owner: str


@dataclass(frozen=True, slots=True)
class Doubtful:
    """The request was lost in flight as often as is allowed; it may have been paid each time."""

    times: int


Claim = Reservation | dict[str, Any] | Held | Doubtful


@dataclass(slots=True)
class Tally:
    """Totals of one provider and model."""

    settled: Counter[str] = field(default_factory=Counter)
    used: Usage = field(default_factory=Usage)
    in_flight: Usage = field(default_factory=Usage)


class Ledger:
    """Replies by key, totals, and the right to send.

    Args:
        folder: Holds ``ledger.jsonl``, locks and batches; made at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = uuid.uuid4().hex
        self.tallies: dict[tuple[str, str], Tally] = {}
        self._journal = Journal(folder / "ledger.jsonl")
        self._final: dict[str, tuple[int, int]] = {}
        self._open: dict[str, Reservation] = {}
        self._open_by_key: dict[str, str] = {}
        self._lost: Counter[str] = Counter()
        self._reviewed: set[tuple[str, str]] = set()
        self._life: IO[bytes] | None = None

    @property
    def torn_lines(self) -> int:
        """Lines that were cut off when a writer died; they are ignored."""
        return self._journal.torn

    def refresh(self) -> None:
        """Take in what other processes wrote."""
        with self._journal.guard:
            for offset, length, record in self._journal.news():
                try:
                    self._take_in(offset, length, record)
                except (KeyError, TypeError):
                    self._journal.torn += 1

    def answer(self, key: str) -> dict[str, Any] | None:
        """Return the final record of ``key`` as of the last refresh, or None."""
        place = self._final.get(key)
        return self._journal.read(*place) if place else None

    def used(self) -> Usage:
        """Return the settled totals plus the most that requests in flight can cost."""
        parts = (tally.used + tally.in_flight for tally in self.tallies.values())
        return sum(parts, Usage())

    def open_reservations(self, owner: str) -> list[Reservation]:
        """Return the unsettled reservations of ``owner``."""
        return [entry for entry in self._open.values() if entry.owner == owner]

    def claim(self, wanted: Reservation, caps: Caps, resend_lost: int) -> Claim:
        """Ask for the right to send one request.

        Args:
            wanted: The reservation to write.
            caps: Limits; checked under the lock, so several processes keep them together.
            resend_lost: How often a request whose sender was killed may be sent again.

        Returns:
            The reservation (send now), the final record of an equal request, `Held` or `Doubtful`.

        Raises:
            BudgetExceeded: The request could pass a cap.
        """
        with self.writing():
            known = self.standing(wanted.key, resend_lost)
            if known is not None:
                return known
            self.reserve([wanted], caps)
            return wanted

    def standing(self, key: str, resend_lost: int) -> dict[str, Any] | Held | Doubtful | None:
        """Return why ``key`` need not or may not be sent, None when it may; see `claim`.

        A request whose sender died is settled here. To be called while `writing`.
        """
        place = self._final.get(key)
        if place:
            return self._journal.read(*place)
        current = self._open.get(self._open_by_key.get(key, ""))
        if current is not None:
            if self._alive(current.owner):
                return Held(current.owner)
            self.settle([(current, {"status": "unknown", "cause": KILLED})])
        return Doubtful(self._lost[key]) if self._lost[key] > resend_lost else None

    def reserve(self, wanted: Sequence[Reservation], caps: Caps) -> None:
        """Write reservations, all or none.

        Raises:
            BudgetExceeded: Together they could pass a cap.
        """
        with self.writing():
            fresh = [entry for entry in wanted if entry.id not in self._open]
            if not fresh:
                return
            caps.check(self.used(), sum((entry.most for entry in fresh), Usage()))
            self._append([entry.to_json() for entry in fresh])

    def settle(self, results: Sequence[tuple[Reservation, Mapping[str, Any]]]) -> None:
        """Write what became of reservations; settling twice does nothing."""
        with self.writing():
            records = [
                {"type": "settle", "id": held.id, "key": held.key, "attempt": held.attempt}
                | {"time": now(), **_charge(held, facts)}
                for held, facts in results
                if held.id in self._open
            ]
            if records:
                self._append(records)

    def review(self, reviews: Iterable[Mapping[str, Any]]) -> None:
        """Write the guards' decisions about replies, once per reply and decision.

        Args:
            reviews: Mappings with ``key``, ``version``, ``outcome``, ``decisions``.
        """
        lines = [
            {"type": "review", **review, "time": now()}
            for review in reviews
            if (review["key"], review["version"]) not in self._reviewed
        ]
        if lines:
            with self.writing():
                self._append(lines)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock with an up-to-date view."""
        self._live()
        with self._journal.locked():
            self.refresh()
            yield

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield the final records, oldest first, as of the last refresh."""
        for place in list(self._final.values()):
            yield self._journal.read(*place)

    def close(self) -> None:
        """Give up the client's lock; its open reservations then count as lost."""
        if self._life is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._client_file(self.client))
            self._life.close()
            self._life = None

    def _append(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._journal.append(records)
        self.refresh()

    def _live(self) -> None:
        """Show that this client lives, by a lock that the system frees when it dies."""
        if self._life is not None:
            return
        try:
            (self.folder / "clients").mkdir(parents=True, exist_ok=True)
            with self._journal.locked():
                if self._life is not None:
                    return
                self._sweep()
                handle = open(self._client_file(self.client), "wb")  # noqa: SIM115 - kept open
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._life = handle
        except OSError as error:
            raise unusable(self._journal.path, error) from None

    def _sweep(self) -> None:
        for path in (self.folder / "clients").glob("*.lock"):
            if not self._alive(path.stem):
                path.unlink(missing_ok=True)

    def _client_file(self, client: str) -> Path:
        return self.folder / "clients" / f"{client}.lock"

    def _alive(self, owner: str) -> bool:
        # A batch outlives the process that submitted it; whoever resumes it settles it.
        if owner == self.client or owner.startswith(BATCH_OWNER):
            return True
        try:
            with open(self._client_file(owner), "r+b") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except (BlockingIOError, PermissionError):
            return True
        return False

    def _take_in(self, offset: int, length: int, record: Mapping[str, Any]) -> None:
        kind = record.get("type")
        if kind == "reserve":
            held = Reservation.of(record)
            self._open[held.id] = held
            self._open_by_key[held.key] = held.id
            tally = self._tally(held)
            tally.in_flight += held.most
        elif kind == "settle" and record["id"] in self._open:
            self._take_in_settlement(offset, length, record)
        elif kind == "review":
            self._reviewed.add((record["key"], record["version"]))

    def _take_in_settlement(self, offset: int, length: int, record: Mapping[str, Any]) -> None:
        held = self._open.pop(record["id"])
        if self._open_by_key.get(held.key) == held.id:
            del self._open_by_key[held.key]
        tally = self._tally(held)
        tally.in_flight -= held.most
        if tally.in_flight.requests == 0:
            # Sums of floats leave crumbs; nothing in flight is exactly nothing.
            tally.in_flight = Usage()
        tally.settled[record["status"]] += 1
        if record["status"] in CHARGED:
            tally.used += Usage.from_json(record["charge"])
        if record["status"] in FINAL:
            self._final.setdefault(held.key, (offset, length))
        elif record["status"] == "unknown" and record.get("cause") == KILLED:
            self._lost[held.key] += 1

    def _tally(self, held: Reservation) -> Tally:
        return self.tallies.setdefault((held.provider, held.model), Tally())


def _charge(held: Reservation, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Add what is counted: the server's own usage, or the most that was reserved."""
    charge = facts.get("charge")
    if charge is None:
        charge = held.most if facts["status"] in CHARGED else Usage()
    return {**facts, "charge": charge.to_json()}


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
