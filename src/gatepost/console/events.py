"""Live events for programs and pages: `/api/v1/events` (server-sent events).

Each listener is looked after by a task of its own that asks the gateway every `LOOK_S` with the listener's own
credential, so an ended session or a removed token ends the stream, and nobody hears of what they may not see. What is
the same for all who may see it is asked once for all of them. The number of listeners is bounded.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from litestar import get
from litestar.connection import Request
from litestar.response import Stream

from gatepost.console.api.mails import Mail
from gatepost.console.api.problems import Unusable
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.link import RefusedCall, SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

LOOK_S: Final = 2.0
HEARTBEAT_S: Final = 15.0
"""Something is sent at least so often: proxies between see that it lives, and we that the listener is gone."""
LISTENERS: Final = 64
LISTENERS_EACH: Final = 6
"""Of one account or token: open pages and programs."""
MAILS: Final = 200
"""Mails looked at in one look; who cannot keep up misses those between."""
RESUMED_S: Final = 3600.0
"""How far back a listener that comes again gets what it has missed."""
OVERLAP_S: Final = 1.0
"""Mails are recorded a moment after they came, not quite in their order: those of the last second are told again."""
RIGHT_OF: Final = {"status": Right.VIEW, "queue": Right.VIEW, "problems": Right.VIEW, "mail": Right.TRACK}
"""Topics, and what each needs."""
RETRY_MS: Final = 3000


class Snapshots:
    """Answers that are the same for all who may see them, asked at most every look."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, Any]] = {}

    async def ask(self, gateway: Gateway, visitor: Visitor, call: str) -> Any:
        """Return the answer; `visitor` has been found to have the call's right."""
        at, value = self._kept.get(call, (float("-inf"), None))
        if self._clock() - at >= LOOK_S / 2:
            value = await gateway.call(visitor, call)
            self._kept[call] = (self._clock(), value)
        return value


class Listeners:
    """Who listens now."""

    def __init__(self) -> None:
        self.snapshots = Snapshots()
        self._count: dict[str, int] = {}

    def admit(self, name: str) -> None:
        """Tell whether one more may listen. Unusable when there are enough."""
        if self._count.get(name, 0) >= LISTENERS_EACH:
            raise Unusable(429, f"{LISTENERS_EACH} of yours listen already: end one of them.", {"Retry-After": "30"})
        if sum(self._count.values()) >= LISTENERS:
            raise Unusable(503, "Too many listen already.", {"Retry-After": "30"})

    def enter(self, name: str) -> None:
        """Count one more."""
        self._count[name] = self._count.get(name, 0) + 1

    def leave(self, name: str) -> None:
        """Count one less."""
        self._count[name] -= 1
        if not self._count[name]:
            del self._count[name]


class Feed:
    """What one listener has been told."""

    def __init__(self, topics: tuple[str, ...], since: float) -> None:
        """`since`: of mails."""
        self.topics = topics
        self._since = since
        self._last: dict[str, Any] = {}
        self._outcomes: dict[str, str] = {}
        self.place = since

    async def look(self, gateway: Gateway, visitor: Visitor, snapshots: Snapshots) -> list[tuple[str, Any]]:
        """Return what is new, as topic and value. ControlError."""
        found: list[tuple[str, Any]] = []
        for topic in self.topics:
            if topic == "mail":
                page = await gateway.call(visitor, "tracking.search", since=self._since, limit=MAILS)
                found += [("mail", mail) for mail in self._new_mails(page["mails"])]
                continue
            value = shape_topic(topic, await snapshots.ask(gateway, visitor, _CALLS[topic]))
            if self._last.get(topic) != value:
                self._last[topic] = value
                found.append((topic, value))
        return found

    def _new_mails(self, newest_first: list[dict[str, Any]]) -> list[dict[str, Any]]:
        new = []
        for mail in reversed(newest_first):
            if self._outcomes.get(mail["id"]) != mail["outcome"]:
                self._outcomes[mail["id"]] = mail["outcome"]
                new.append(msgspec.to_builtins(msgspec.convert(mail, Mail)))
                self.place = max(self.place, mail["at"])
        while len(self._outcomes) > 2 * MAILS:
            del self._outcomes[next(iter(self._outcomes))]
        return new


_CALLS: Final = {"status": "status", "queue": "status", "problems": "problems"}


def shape_topic(topic: str, found: Any) -> Any:
    """Return what is told of a topic: as much as a listener needs to see that, and where, something has changed."""
    if topic == "status":
        counters = found["counters"]
        return {
            "modules": found["modules"],
            "relays": [{"index": each["index"], "state": each["state"]} for each in found["relays"]],
            "counters": {name: counters[name] for name in _COUNTED if name in counters},
        }
    if topic == "queue":
        return {"queue": found["queue"], "paused": found["paused"], "troubled": found["troubled"]}
    return {"state": found["state"], "problems": found["problems"]}


_COUNTED: Final = (
    "mta_received_messages",
    "mta_sent_messages",
    "mta_incoming_connections_current",
    "antiviral_infected_objects",
    "antispam_checked_messages_spam",
)


def choose_topics(given: str, rights: frozenset[Right]) -> tuple[str, ...]:
    """Return the topics to be told of: those asked for, else all that may be seen. Unusable."""
    if not given:
        return tuple(topic for topic, right in RIGHT_OF.items() if right in rights)
    asked = tuple(dict.fromkeys(each.strip() for each in given.split(",")))
    for topic in asked:
        if topic not in RIGHT_OF:
            raise Unusable(422, f"There is no topic {topic[:40]!r}: one of {', '.join(RIGHT_OF)}.")
        if RIGHT_OF[topic] not in rights:
            raise Unusable(403, f"The topic “{topic}” needs the right “{RIGHT_OF[topic].value}”.")
    return asked


def resume_from(last_id: str, now: float) -> float:
    """Return from which moment on mails are told: where a listener was, else now."""
    try:
        at = float(last_id) if len(last_id) <= 40 else now
    except ValueError:
        return now
    return min(max(at - OVERLAP_S, now - RESUMED_S), now) if at == at else now  # noqa: PLR0124 - it may be no number


def build_event(topic: str, value: Any, place: float) -> bytes:
    """Return an event as it is sent. JSON has no line ends of its own."""
    return b"event: %s\nid: %.6f\ndata: %s\n\n" % (topic.encode(), place, msgspec.json.encode(value))


async def follow(
    listeners: Listeners, gateway: Gateway, visitor: Visitor, feed: Feed, sleep: Callable[[float], Any] = asyncio.sleep
) -> AsyncIterator[bytes]:
    """Send events until the listener goes, or may no longer listen. Is counted for as long as it runs, and only then: a
    listener that has gone before the first event never begins to.
    """
    silent_s = 0.0
    listeners.enter(visitor.name)
    try:
        yield b"retry: %d\n\n" % RETRY_MS
        while True:
            try:
                known = await gateway.call(visitor, "session.show")
                allowed = frozenset(map(Right, known["rights"]))
                if any(RIGHT_OF[topic] not in allowed for topic in feed.topics):
                    return
                if tuple(known["domains"]) != visitor.domains:
                    return  # what it may hear of is another thing now: it comes again, and is asked for its topics anew
                events = await feed.look(gateway, visitor, listeners.snapshots)
            except (SignedOut, RefusedCall):
                return
            except ControlError:
                events = []  # asked again at the next look
            for topic, value in events:
                yield build_event(topic, value, feed.place)
            silent_s = 0.0 if events else silent_s + LOOK_S
            if silent_s >= HEARTBEAT_S:
                silent_s = 0.0
                yield b": alive\n\n"
            await sleep(LOOK_S)
    finally:
        listeners.leave(visitor.name)


@get("/events", guards=[needs(Right.NONE)])
async def events(request: Request[Any, Any, Any], visitor: Visitor, gateway: Gateway, topics: str = "") -> Stream:
    """Tell what happens, live."""
    listeners: Listeners = request.app.state.listeners
    chosen = choose_topics(topics, visitor.rights)
    if visitor.domains:
        chosen = tuple(topic for topic in chosen if topic == "mail")
    if not chosen:
        raise Unusable(403, "There is no topic you may follow.")
    feed = Feed(chosen, resume_from(request.headers.get("last-event-id", ""), time.time()))
    listeners.admit(visitor.name)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(follow(listeners, gateway, visitor, feed), media_type="text/event-stream", headers=headers)
