"""What a UDS server does with each datagram: rights, limits, counters, answer.

Used by `service.uds`, its shell; no socket and no clock, moments are passed in. Promises: one datagram out for each
question that is one, none for anything else; a client over its limits hears BUSY and costs no look into the database.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from gatepost.service.uds_bursts import BurstTable
from gatepost.service.uds_reports import ReportStore, StateError
from gatepost.wire.uds import (
    COUNT_LIMIT,
    WINDOW_S,
    Answer,
    Known,
    Question,
    Received,
    State,
    UdsKey,
    UdsServerSession,
    Wish,
)

ASK_RATE: Final = 500.0
"""Questions a second of one client in the long run: more than the mail one gateway takes."""
ASK_BURST: Final = 5_000.0
REPORT_RATE: Final = 5.0
"""Reports a second of one client: certain verdicts and what people decide."""
REPORT_BURST: Final = 500.0


class Allowance:
    """A bucket of tokens: `rate` a second flow in, at most `burst` lie in it."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take one token; False: there is none."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class _Client:
    """What is remembered of a client since the start."""

    __slots__ = ("asks", "counts", "last", "number", "reports")

    def __init__(self, number: int) -> None:
        self.number = number
        self.asks = Allowance(ASK_RATE, ASK_BURST)
        self.reports = Allowance(REPORT_RATE, REPORT_BURST)
        self.counts: Counter[str] = Counter()
        self.last = 0.0


class UdsDesk:
    """Answers questions."""

    def __init__(self, keys: Sequence[UdsKey], store: ReportStore, boot: bytes, now: float) -> None:
        """`boot`: random bytes of this start; `now`: Unix seconds."""
        self._session = UdsServerSession(keys, boot)
        self._store = store
        self._bursts = BurstTable()
        self._clients: dict[bytes, _Client] = {}
        self._started = now
        self.strange = 0
        """Datagrams that were none, or of nobody we know, or came twice."""
        self.unstored = 0
        """Reports that the database did not take."""
        self.configure(keys)

    def configure(self, keys: Sequence[UdsKey]) -> int:
        """Take (new) keys; reports of gateways that have none any more are forgotten. Return of how many."""
        self._keys = {key.id: key for key in keys}
        self._session.configure(keys)
        self._clients = {key_id: each for key_id, each in self._clients.items() if key_id in self._keys}
        return self._store.keep_only(self._keys)

    def take(self, datagram: bytes, now: float) -> bytes | None:
        """Return the answer to a datagram, None when it gets none."""
        received = self._session.receive(datagram, now)
        if received is None:
            self.strange += 1
            return None
        client = self._clients.get(received.key.id)
        if client is None:
            client = self._clients[received.key.id] = _Client(len(self._clients))
        client.last = now
        state, known = self._decide(received, client, now)
        client.counts[received.question.wish.name.lower()] += 1
        if state is not State.OK:
            client.counts[state.name.lower()] += 1
        return self._session.answer(received, Answer(state, now, known))

    def sweep(self, now: float) -> None:
        """Forget what is over; to be called every second or so. StateError: the database takes nothing now."""
        self._session.sweep(now)
        self._store.expire(now)
        self._store.commit()

    def status(self, now: float) -> dict[str, object]:
        """Return what is shown, as JSON values."""
        entries = self._store.reporters()
        return {
            "running_s": round(now - self._started, 1),
            "entries": sum(entries.values()),
            "sessions": self._session.sessions,
            "strange": self.strange,
            "unstored": self.unstored,
            "clients": [
                {
                    "name": key.name,
                    "may_report": key.may_report,
                    "entries": entries.get(key_id, 0),
                    "last_s": round(now - client.last, 1) if client else None,
                    **(dict(client.counts) if client else {}),
                }
                for key_id, key in self._keys.items()
                for client in (self._clients.get(key_id),)
            ],
        }

    def _decide(self, received: Received, client: _Client, now: float) -> tuple[State, tuple[Known, ...]]:
        question = received.question
        if not received.fresh:
            return State.STALE, ()
        if question.wish is Wish.REPORT:
            return self._report(received.key, question, client, now), ()
        if not client.asks.take(now):
            return State.BUSY, ()
        if question.wish is Wish.PROBE:
            return State.OK, ()
        return State.OK, self._look_up(question.values, client, now)

    def _report(self, key: UdsKey, question: Question, client: _Client, now: float) -> State:
        if not key.may_report:
            return State.REFUSED
        # What the run before has seen of numbers is forgotten: a report of that time might be one heard before.
        if question.time < self._started - 0.001 and now - self._started <= WINDOW_S * 2:
            return State.STALE
        try:
            if client.reports.take(now) and self._store.store(key.id, question.values, question.report, now):
                return State.OK
        except StateError:
            self.unstored += 1
        return State.BUSY

    def _look_up(self, values: Sequence[bytes], client: _Client, now: float) -> tuple[Known, ...]:
        known = self._store.known(values)
        found = []
        for value in values:
            spam, wanted = known.get(value, (0, 0))
            found.append(Known(spam, wanted, min(COUNT_LIMIT, self._bursts.count(value, client.number, now))))
        return tuple(found)
