"""Judgement: what ConnectRule, HeloRule and MailfromRule say of a visit, and when what they need is asked for.

Called by `relay.access`. Answers are causes: the token of a refusal, "" for none, `DNS_TROUBLE` when it cannot be told
now; or something to await that gives one. Our own clients are never judged.

A question starts as soon as it is certain to be needed (at connect, HELO or MAIL, when a rule for every recipient asks
it) and is waited for as late as possible. When a list of rules leaves no recipient at all, the client hears so at
connect or at MAIL; else at each RCPT.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Final

from gatepost.config.schema import Config
from gatepost.config.transport import SignIn
from gatepost.model.address import domain_of
from gatepost.relay.facts import HELLO_FACTS, SENDER_FACTS, Inquirer, Names, known, pending
from gatepost.relay.rules import Answer, Fact, Rules, connect_rules, hello_rules, sender_rules
from gatepost.relay.visit import Visit

DNS_TROUBLE: Final = "dns"
"""Cause: the fact that decides is not to be had now."""

_NO_SIGN_IN = SignIn.OFF

Cause = str | Awaitable[str]


class Judgement:
    """The rules on facts of one configuration."""

    def __init__(self, config: Config, names: Names) -> None:
        access = config.access
        self._connect = connect_rules(access.connect_rule)
        self._hello = hello_rules(access.helo_rule)
        self._sender = sender_rules(access.mailfrom_rule)
        self._null_sender = self._sender.unconditional()
        self._inquirer = Inquirer(names, access.dns_black_list)
        self.active = bool(self._connect or self._hello or self._sender)
        """False: there is no rule, and no need to ask."""

    def connect(self, visit: Visit) -> Cause:
        """Judge the connection: a cause only when no recipient could be allowed, whoever it is."""
        if visit.hidden or visit.spared or visit.ours or visit.listener.sign_in is not _NO_SIGN_IN:
            return ""  # who may still sign in is judged at RCPT
        return self._refuses_everybody(visit, self._connect)

    def hello(self, visit: Visit) -> None:
        """Take note of the HELO name. Questions about a second one wait until they are needed: else names could be
        given, and asked about, by the thousand.
        """
        if visit.helo == visit.asked_helo:
            return
        first = visit.asked_helo == ""
        visit.asked_helo = visit.helo
        visit.forget(HELLO_FACTS)
        if first and not visit.hidden and not visit.ours and visit.listener.sign_in is _NO_SIGN_IN:
            self._begin(visit, self._hello.needed_by_all())

    def mail(self, visit: Visit, sender: str) -> Cause:
        """Judge the sender, who becomes the visit's: a cause only when no recipient could be allowed."""
        if domain_of(sender) != domain_of(visit.sender):
            visit.forget(SENDER_FACTS)
        visit.sender = sender
        if visit.ours:
            return ""
        return self._refuses_everybody(visit, self._sender_rules(visit))

    def recipient(self, visit: Visit, recipient: str) -> Cause:
        """Judge the visit for one recipient."""
        if visit.ours:
            return ""
        lists = self._lists(visit)
        needed = [fact for rules in lists for fact in rules.needed(recipient)]
        self._begin(visit, needed)
        waiting = pending(visit.facts, needed)
        return _recipient_later(visit, lists, recipient, waiting) if waiting else _decide(visit, lists, recipient)

    def _lists(self, visit: Visit) -> tuple[Rules, ...]:
        """Return the lists that hold for a visit, in their order."""
        sender = self._sender_rules(visit)
        if visit.hidden:
            return (sender,)
        return (self._hello, sender) if visit.spared else (self._connect, self._hello, sender)

    def _sender_rules(self, visit: Visit) -> Rules:
        # A bounce has no sender whose domain could be asked about: only rules for any sender hold for it.
        return self._sender if visit.sender else self._null_sender

    def _refuses_everybody(self, visit: Visit, rules: Rules) -> Cause:
        needed = rules.needed_by_all()
        self._begin(visit, needed)
        if not rules.may_refuse_everybody:
            return ""
        waiting = pending(visit.facts, needed)
        return _everybody_later(visit, rules, waiting) if waiting else rules.refuses_everybody(known(visit.facts))

    def _begin(self, visit: Visit, facts: Iterable[Fact]) -> None:
        self._inquirer.begin(visit, facts)


async def _recipient_later(
    visit: Visit, lists: tuple[Rules, ...], recipient: str, waiting: "list[asyncio.Task[bool | None]]"
) -> str:
    await asyncio.wait(waiting)
    return _decide(visit, lists, recipient)


async def _everybody_later(visit: Visit, rules: Rules, waiting: "list[asyncio.Task[bool | None]]") -> str:
    await asyncio.wait(waiting)
    return rules.refuses_everybody(known(visit.facts))


def _decide(visit: Visit, lists: tuple[Rules, ...], recipient: str) -> str:
    facts = known(visit.facts)
    doubt = ""
    for rules in lists:
        answer, cause = rules.decide(facts, recipient)
        if answer is Answer.DENY:
            return cause  # for good, whatever another list might have said
        if answer is Answer.UNKNOWN:
            doubt = DNS_TROUBLE
    return doubt
