"""DNS lists in use: asking many at once, and which of them are to be believed.

One for a relay, shared by the checks that ask lists of addresses and lists of links; outlives configurations. A list
is believed only when it does not list everything: before a hit counts its test point (RFC 5782 §5) is asked, and again
after a while. A list that lists the test point, refuses to answer us, or answers what no list answers is off for ten
minutes; one that does not answer at all rests for a minute, then longer. Being off is said in the log and the status,
and no message gets a sign for it: a resolver that lies or hangs never makes spam.
"""

import ipaddress
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from gatepost.config.dns_lists import ListService
from gatepost.relay.lookups.base import NetworkNotes
from gatepost.resolver.answers import Answer, Kind, Outcome

BELIEVED_S: Final = 600.0
"""How long the answer to a test point holds."""
OFF_S: Final = 600.0
"""How long a list that is wrong is off."""
REST_S: Final = 60.0
"""How long a list that does not answer rests at first; each time twice as long ..."""
REST_LIMIT_S: Final = 600.0
"""... up to this."""
PATIENCE_S: Final = 0.5
"""A list that had less time than this is not to blame for its silence."""
STRIKES: Final = 3
"""Messages in a row that got no answer of a list before it rests."""

ADDRESS_TEST_POINT: Final = "1.0.0.127"
"""127.0.0.1, which no list of addresses has."""
NAME_TEST_POINT: Final = "invalid"
"""What no list of names has."""

_KIND_A: Final = Kind.A
_FOUND: Final = Outcome.FOUND
_FAILED: Final = Outcome.FAILED
_LISTS: Final = int(ipaddress.IPv4Address("127.0.0.0")) >> 24
_REFUSALS_FROM: Final = int(ipaddress.IPv4Address("127.255.255.0"))
_REFUSALS: Final = frozenset(int(ipaddress.IPv4Address(text)) for text in ("127.0.0.1", "127.0.0.255", "127.0.1.255"))
"""Answers by which single lists say that they do not answer us: never a listing unless the configuration names it."""


class Names(Protocol):
    """What is asked of the resolver."""

    def cached(self, name: str, kind: Kind) -> Answer[Any] | None:
        """Return the answer that needs no packet."""

    def prefetch(self, name: str, kind: Kind) -> bool:
        """Send a question that will be asked soon; tell whether that was needed."""

    async def ask(self, name: str, kind: Kind, *, deadline_s: float | None = None) -> Answer[Any]:
        """Ask for records."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A question to a list."""

    service: ListService
    name: str
    """To ask for, the zone included."""
    about: str
    """The address or domain, for people."""
    test_point: str
    """Name in the same zone that must not be listed."""


class Hit(msgspec.Struct, frozen=True, gc=False):
    """A list has it."""

    asked: Asked
    answers: tuple[str, ...]
    """Those that count."""


class _State:
    """One zone."""

    __slots__ = ("believed_until", "off_until", "reason", "rest_s", "strikes")

    def __init__(self) -> None:
        self.believed_until = 0.0
        self.off_until = 0.0
        self.reason = ""
        self.strikes = 0
        self.rest_s = REST_S


class Counts:
    """Questions of one check since the start."""

    __slots__ = ("asked", "failed", "listed", "sent")

    def __init__(self) -> None:
        self.asked = self.failed = self.listed = 0
        self.sent = 0
        """Those whose answer was not kept."""

    def show(self) -> dict[str, object]:
        """Return them for the status."""
        cached = max(0, self.asked - self.sent)
        return {"asked": self.asked, "cached": cached, "failed": self.failed, "listed": self.listed}


class Zones:
    """The lists of one relay."""

    def __init__(self, names: Names, clock: Callable[[], float], report: Callable[[str, str], None]) -> None:
        """`clock`: the event loop's time, in which deadlines are given. `report(level, text)` writes to the log."""
        self._names = names
        self._clock = clock
        self._report = report
        self._states: dict[str, _State] = {}

    def begin(self, asked: Iterable[Asked], counts: Counts) -> None:
        """Send questions that `collect` will ask."""
        now = self._clock()
        for each in asked:
            state = self._state(each.service.zone)
            if state.off_until > now:
                continue
            counts.sent += self._names.prefetch(each.name, _KIND_A)
            if state.believed_until <= now:
                self._names.prefetch(each.test_point, _KIND_A)

    def collect(
        self, asked: Sequence[Asked], counts: Counts, notes: NetworkNotes, deadline: float
    ) -> list[Hit] | Coroutine[Any, Any, list[Hit]]:
        """Return what lists have, at once when nothing has to be waited for; troubles go to `notes`."""
        now = self._clock()
        hits: list[Hit] = []
        missing: list[Asked] = []
        silent: set[str] = set()
        answered: set[str] = set()
        states, cached = self._states, self._names.cached
        for each in asked:
            state = states.get(each.service.zone)
            if state is None or state.off_until <= now:
                counts.asked += 1
                answer = cached(each.name, _KIND_A)
                if answer is None:
                    missing.append(each)
                    continue
                if state is not None and state.strikes:
                    answered.add(each.service.zone)
                if answer.outcome is _FOUND or answer.outcome is _FAILED:
                    self._read(each, answer, hits, counts, notes, silent)
        for zone in answered.difference(silent, (each.service.zone for each in missing)):
            self._judge_silence(zone, silent=False)
        if missing or any(self._state(hit.asked.service.zone).believed_until <= now for hit in hits):
            return self._collect_later(missing, hits, counts, notes, silent, deadline)
        for zone in silent:
            self._judge_silence(zone, silent=True)
        counts.listed += len(hits)
        return hits

    async def _collect_later(
        self,
        missing: Sequence[Asked],
        hits: list[Hit],
        counts: Counts,
        notes: NetworkNotes,
        silent: set[str],
        deadline: float,
    ) -> list[Hit]:
        self.begin(missing, counts)
        patient = deadline - self._clock() >= PATIENCE_S
        for each in missing:
            answer = await self._names.ask(each.name, _KIND_A, deadline_s=max(0.0, deadline - self._clock()))
            self._read(each, answer, hits, counts, notes, silent)
        for zone in silent.union(each.service.zone for each in missing):
            if patient or zone not in silent:
                self._judge_silence(zone, silent=zone in silent)
        believed = [hit for hit in hits if await self._is_believed(hit.asked, notes, deadline)]
        counts.listed += len(believed)
        return believed

    def _read(
        self,
        asked: Asked,
        answer: Answer[Any],
        hits: list[Hit],
        counts: Counts,
        notes: NetworkNotes,
        silent: set[str],
    ) -> None:
        """Take one answer."""
        zone = asked.service.zone
        if answer.outcome is _FAILED:
            counts.failed += 1
            silent.add(zone)
            notes.trouble(f"{zone}: {answer.reason}")
        elif answer.outcome is _FOUND:
            codes = [int(ipaddress.IPv4Address(text)) for text in answer.values]
            wrong = _what_is_wrong(codes, asked.service)
            if wrong:
                counts.failed += 1
                told = f"{wrong} ({', '.join(answer.values[:3])})"
                self._switch_off(zone, told, OFF_S)
                notes.trouble(f"{zone}: {told}")
            elif any(asked.service.counts(code) for code in codes):
                counting = (t for t, code in zip(answer.values, codes, strict=True) if asked.service.counts(code))
                hits.append(Hit(asked, tuple(counting)))

    async def _is_believed(self, asked: Asked, notes: NetworkNotes, deadline: float) -> bool:
        """Tell whether a zone's word counts: its test point is not listed."""
        zone = asked.service.zone
        state, now = self._state(zone), self._clock()
        if state.off_until > now:
            return False
        if state.believed_until > now:
            return True
        answer = await self._names.ask(asked.test_point, _KIND_A, deadline_s=max(0.0, deadline - now))
        if answer.outcome is _FAILED:
            notes.trouble(f"{zone}: its test point cannot be asked: {answer.reason}")
            return False
        if answer.outcome is _FOUND:
            told = f"it lists everything: {asked.test_point} is on it"
            self._switch_off(zone, told, OFF_S)
            notes.trouble(f"{zone}: {told}")
            return False
        state.believed_until = self._clock() + BELIEVED_S
        return True

    def _judge_silence(self, zone: str, *, silent: bool) -> None:
        state = self._state(zone)
        if not silent:
            state.strikes, state.rest_s = 0, REST_S
            return
        state.strikes += 1
        if state.strikes >= STRIKES and state.off_until <= self._clock():
            self._switch_off(zone, f"no answer for {state.strikes} messages in a row", state.rest_s)
            state.rest_s = min(2 * state.rest_s, REST_LIMIT_S)

    def _switch_off(self, zone: str, reason: str, period_s: float) -> None:
        state, now = self._state(zone), self._clock()
        if state.off_until <= now:
            self._report("W", f"DNS list {zone} is not asked for {period_s:.0f} s: {reason}")
        state.off_until = now + period_s
        state.believed_until = 0.0
        state.reason = reason

    def _state(self, zone: str) -> _State:
        state = self._states.get(zone)
        if state is None:
            state = self._states[zone] = _State()
        return state

    def keep(self, zones: Iterable[str]) -> None:
        """Forget what is known of all other zones: a new configuration."""
        wanted = frozenset(zones)
        self._states = {zone: state for zone, state in self._states.items() if zone in wanted}

    def off(self) -> dict[str, str]:
        """Return the zones that are off, with the reason and for how long, for the status."""
        now = self._clock()
        return {
            zone: f"{state.reason}; for {state.off_until - now:.0f} s more"
            for zone, state in sorted(self._states.items())
            if state.off_until > now
        }


def _what_is_wrong(codes: Sequence[int], service: ListService) -> str:
    """Return why an answer says nothing about what was asked, "" when it does."""
    if any(code >> 24 != _LISTS for code in codes):
        return "answers outside 127.0.0.0/8"
    for code in codes:
        named = bool(service.written) and service.counts(code)
        if code >= _REFUSALS_FROM or (code in _REFUSALS and not named):
            return "refuses to answer us"
    return ""
