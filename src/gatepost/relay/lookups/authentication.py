"""Authentication of the sender (F-AS-09): SPF, DKIM, DMARC and ARC against the DNS.

SPF needs the envelope only and begins with it, while a filter reads what the others need. Answers come from the
resolver's cache when it has them: then nothing waits. What cannot be told now is a trouble, never a sign.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import msgspec

from gatepost.antispam.headers.addresses import read_domain
from gatepost.authn import psl
from gatepost.authn.authentication import Trust, check_authentication, foresee
from gatepost.authn.question import Inquiry, Question, Record, Reply, Status
from gatepost.authn.signs import build_signs
from gatepost.authn.spf import SpfQuery, SpfResult, check_spf
from gatepost.config.schema import Config
from gatepost.model.authn import AuthnMaterial, AuthnResults
from gatepost.model.spam import Method, SpamFacts
from gatepost.relay.lookups.base import EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.hops import is_public
from gatepost.relay.lookups.zones import Names
from gatepost.resolver.answers import Answer, Kind, Mx, Outcome
from gatepost.resolver.message import UNUSABLE_HOST
from gatepost.resolver.names import parse_address

T = TypeVar("T")

CONTENT_METHODS: Final = frozenset((Method.DKIM, Method.DMARC, Method.ARC))

_KINDS: Final = {
    Record.A: Kind.A,
    Record.AAAA: Kind.AAAA,
    Record.MX: Kind.MX,
    Record.PTR: Kind.PTR,
    Record.TXT: Kind.TXT,
}
_STATUSES: Final = {
    Outcome.FOUND: Status.FOUND,
    Outcome.NO_DATA: Status.NO_DATA,
    Outcome.NO_NAME: Status.NO_NAME,
    Outcome.FAILED: Status.FAILED,
}
_TXT: Final = Record.TXT
_MX: Final = Record.MX
_FAILED: Final = Reply(Status.FAILED)


class AuthenticationLookup:
    """The checks of one configuration."""

    name = "authentication"
    methods = frozenset((Method.SPF, *CONTENT_METHODS))

    def __init__(
        self, config: Config, names: Names, clock: Callable[[], float], wall: Callable[[], float] = time.time
    ) -> None:
        """`clock`: the event loop's time. `wall`: Unix time."""
        antispam = config.antispam
        self.names = names
        self.clock = clock
        self.wall = wall
        self.question_s = antispam.filter_spf_data_timeout
        self.budget_s = antispam.filter_dns_timeout
        self.trust = Trust(
            frozenset(each.lower() for each in antispam.trusted_arc_sealers),
            frozenset(each.lower() for each in antispam.trusted_authserv_ids),
        )
        self._hostname = config.network.hostname
        self._waiting_limit = antispam.spfd_max_queue_size
        self._waiting = 0
        self._checked = self._kept = self._unknown = self._refused = 0
        if any(group.check_spam for group in config.groups):
            psl.warm()

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        """Start SPF; also for groups that use DMARC only, which builds on it."""
        client = facts.envelope.client
        content = not facts.methods.isdisjoint(CONTENT_METHODS)
        local, at, domain = facts.envelope.sender.rpartition("@")
        sender = f"{local}@{read_domain(domain)}" if at else ""
        query = _AuthenticationQuery(self, client.ip, sender, client.helo, content=content)
        address = parse_address(client.ip)
        if address is None or not is_public(client.ip):
            return query if content else None
        query.start(SpfQuery(address, sender, client.helo, self._hostname or "unknown", self.wall()))
        return query

    def take_turn(self) -> bool:
        """Count a check of SPF that waits for answers; False when too many do."""
        if self._waiting >= self._waiting_limit:
            self._refused += 1
            return False
        self._waiting += 1
        return True

    def give_turn(self) -> None:
        """It waits no more."""
        self._waiting -= 1

    def count(self, results: AuthnResults, *, kept: bool) -> None:
        """Count a message. `kept`: every answer was in the cache."""
        self._checked += 1
        self._kept += kept
        self._unknown += bool(_troubles(results))

    def status(self) -> dict[str, object]:
        """Return the counters of messages."""
        return {
            "checked": self._checked,
            "from_cache": self._kept,
            "unknown": self._unknown,
            "spf_waiting": self._waiting,
            "spf_refused": self._refused,
        }


class _AuthenticationQuery:
    """One message."""

    __slots__ = ("_content", "_domain", "_ip", "_lookup", "_null_sender", "_spf", "_task", "_trouble")

    def __init__(self, lookup: AuthenticationLookup, ip: str, sender: str, helo: str, *, content: bool) -> None:
        self._lookup = lookup
        self._ip = ip
        self._null_sender = not sender
        self._domain = (sender.rpartition("@")[2] or helo.removesuffix(".")).lower()
        self._content = content
        self._spf: _Course[SpfResult] | None = None
        self._task: asyncio.Task[SpfResult] | None = None
        self._trouble = ""

    def start(self, query: SpfQuery) -> None:
        """Check SPF as far as answers are at hand; the rest goes on beside the filter."""
        lookup = self._lookup
        course = _Course(lookup.names, check_spf(query), lookup.clock, lookup.question_s)
        if not course.advance():
            if not lookup.take_turn():
                self._trouble = "SPF: too many checks wait for answers"
                return
            self._task = asyncio.ensure_future(course.run(lookup.clock() + lookup.budget_s))
            self._task.add_done_callback(lambda _: lookup.give_turn())
        self._spf = course

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:
        """Check what the filter read; None when every answer is at hand."""
        if self._trouble:
            notes.trouble(self._trouble)
        spf = self._spf
        if spf is not None and spf.result is None:
            self._foresee(spam.authn)
            return self._finish_later(spam.authn, notes, deadline)
        course = self._go_on(spam.authn, None if spf is None else spf.result)
        if not course.advance():
            self._foresee(spam.authn)
            return self._wait(course, notes, deadline, kept=False)
        self._note(course, notes, kept=self._task is None)
        return None

    async def _finish_later(self, material: AuthnMaterial, notes: NetworkNotes, deadline: float) -> None:
        lookup = self._lookup
        result = None
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=max(0.0, deadline - lookup.clock()))
            if self._task.done():
                result = self._task.result()
            else:
                self._task.cancel()
                notes.trouble("SPF: no answer in time")
        await self._wait(self._go_on(material, result), notes, deadline, kept=False)

    async def _wait(self, course: "_Course[AuthnResults]", notes: NetworkNotes, deadline: float, *, kept: bool) -> None:
        await course.run(deadline)
        self._note(course, notes, kept=kept)

    def _go_on(self, material: AuthnMaterial, spf: SpfResult | None) -> "_Course[AuthnResults]":
        lookup = self._lookup
        inquiry = check_authentication(
            material if self._content else AuthnMaterial(),
            spf,
            lookup.wall(),
            lookup.trust,
            null_sender=self._null_sender,
            unchecked=self._domain,
        )
        return _Course(lookup.names, inquiry, lookup.clock, lookup.budget_s)

    def _foresee(self, material: AuthnMaterial) -> None:
        """Send at once what will be asked step by step."""
        if self._content:
            for question in foresee(material):
                self._lookup.names.prefetch(question.name, _KINDS[question.record])

    def _note(self, course: "_Course[AuthnResults]", notes: NetworkNotes, *, kept: bool) -> None:
        results = course.result
        if results is None:
            return
        if not self._content:
            results = msgspec.structs.replace(results, dmarc="", arc="")
        self._lookup.count(results, kept=kept)
        notes.authn = results
        for sign in build_signs(results, self._ip):
            notes.sign(sign.method, sign.name, sign.evidence, sign.weight)
        for trouble in _troubles(results):
            notes.trouble(trouble)

    def cancel(self) -> None:
        """End SPF; its questions end by themselves."""
        if self._task is not None:
            self._task.cancel()


async def check_sender(
    names: Names, query: SpfQuery, clock: Callable[[], float], deadline: float, question_s: float
) -> SpfResult:
    """Check SPF alone, for who must know before there is a message. `deadline`: a time of `clock`."""
    return await _Course(names, check_spf(query), clock, question_s).run(deadline)


def _troubles(results: AuthnResults) -> list[str]:
    """Return what could not be told."""
    troubles = []
    if results.spf == "temperror":
        troubles.append(f"SPF of {results.spf_domain}: {results.spf_reason}")
    troubles += [f"DKIM of {each.domain}: {each.reason}" for each in results.dkim if each.result == "temperror"]
    if results.dmarc == "temperror":
        troubles.append(f"DMARC of {results.dmarc_domain}: {results.dmarc_reason}")
    if results.arc == "temperror":
        troubles.append("ARC: no answer about a key")
    return troubles


class _Course(Generic[T]):
    """One inquiry on its way: `advance` with what is in the cache, `run` with questions to the network."""

    __slots__ = ("_clock", "_inquiry", "_names", "_question_s", "_questions", "result")

    def __init__(self, names: Names, inquiry: Inquiry[T], clock: Callable[[], float], question_s: float) -> None:
        """`question_s`: how long a round of questions may take."""
        self._names = names
        self._inquiry = inquiry
        self._clock = clock
        self._question_s = question_s
        self._questions: tuple[Question, ...] | None = None
        self.result: T | None = None
        """When it has ended."""

    def advance(self) -> bool:
        """Go on as far as answers are at hand; True: it has ended."""
        if self._questions is None:
            self._send(None)
        while self._questions:
            replies = tuple(map(self._find, self._questions))
            if None in replies:
                return False
            self._send(tuple(reply for reply in replies if reply is not None))
        return True

    async def run(self, deadline: float) -> T:
        """Go on to the end; past the deadline every question fails."""
        while not self.advance():
            self._send(await self._ask(self._questions or (), deadline))
        if self.result is None:
            raise RuntimeError("an inquiry without a result")
        return self.result

    def _send(self, replies: tuple[Reply, ...] | None) -> None:
        try:
            self._questions = next(self._inquiry) if replies is None else self._inquiry.send(replies)
        except StopIteration as stop:
            self._questions = ()
            self.result = stop.value

    async def _ask(self, questions: tuple[Question, ...], deadline: float) -> tuple[Reply, ...]:
        """Ask all at a time."""
        names = self._names
        end = min(deadline, self._clock() + self._question_s)
        for question in questions:
            names.prefetch(question.name, _KINDS[question.record])
        replies = []
        for question in questions:
            left_s = end - self._clock()
            found = self._find(question)
            if found is None and left_s > 0:
                answer = await names.ask(question.name, _KINDS[question.record], deadline_s=left_s)
                found = _read_answer(question.record, answer)
            replies.append(found or _FAILED)
        return tuple(replies)

    def _find(self, question: Question) -> Reply | None:
        answer = self._names.cached(question.name, _KINDS[question.record])
        return None if answer is None else _read_answer(question.record, answer)


def _read_answer(record: Record, answer: Answer[object]) -> Reply:
    """Return what the resolver says in the words of the checks."""
    status = _STATUSES[answer.outcome]
    if record is _TXT:
        return Reply(status, texts=tuple(each for each in answer.values if isinstance(each, bytes)))
    if record is _MX:
        hosts = (each.host for each in answer.values if isinstance(each, Mx))
        return Reply(status, tuple("" if host == UNUSABLE_HOST else host for host in hosts))
    return Reply(status, tuple(each for each in answer.values if isinstance(each, str)))
