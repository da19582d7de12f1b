"""Access: what to answer to a client's command: lists, rules, rates, verification and sign-in in their order.

Called by `relay.reception`. Every decision is a `Ruling`, or something to await that gives one when the answer has to
be asked for; without such a question there is no await. No I/O of its own but a look at the free space of the spool's
disk, at most once a second.
"""

import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from gatepost.config.masks import MaskSet, NetworkSet, RelayTable
from gatepost.config.schema import Config
from gatepost.model.envelope import Direction, Recipient
from gatepost.model.reply import Reply, reply
from gatepost.relay.direction import first_untrusted_hop, resolve_direction, trusted_networks
from gatepost.relay.greylisting import Greylisting, build_greylisting
from gatepost.relay.judgement import DNS_TROUBLE, Cause, Judgement
from gatepost.relay.passwords import FailureLog, PasswordFile
from gatepost.relay.quotas import Quotas, customer_of
from gatepost.relay.rates import RateTable
from gatepost.relay.verification import AnswersOfHops, Existence, Verifier, build_verifier
from gatepost.relay.visit import Visit
from gatepost.resolver.resolver import Resolver
from gatepost.smtp.replies import NO_RESOURCES
from gatepost.smtp.server_events import MailFrom
from gatepost.spool import clock

RELAYING_DENIED = reply(554, "5.7.1", "Relaying denied")
QUEUE_FULL = reply(452, "4.3.1", "Too much mail is waiting here, try again later")
CLIENT_DENIED = reply(554, "5.7.1", "Access denied", closes=True)
NO_SUCH_RECIPIENT = reply(550, "5.1.1", "No such recipient here")
NOT_VERIFIED = reply(451, "4.3.0", "Recipient cannot be verified now, try again later")
DNS_FAILED = reply(451, "4.4.3", "Temporary failure in DNS, try again later")

_SPACE_TTL_S = 1.0

_RULE_TEXTS: Final = {
    "dnsbl": "Your address is on a list of addresses that mail is not taken from",
    "no-name": "Your address has no name in DNS",
    "connect": "Mail from your address is not taken for this recipient",
    "helo": "The name you gave at HELO is not accepted",
    "mailfrom": "The sender's domain is not accepted",
}
_LIMIT_TEXTS: Final = {
    "client_connections": "Too many connections from your address",
    "client_mails": "Too many messages from your address",
    "client_recipients": "Too many recipients from your address",
    "client_bytes": "Too much data from your address",
    "sender_mails": "Too many messages of this sender",
    "sender_recipients": "Too many recipients of this sender",
    "user_mails": "Too many messages of this user",
    "user_recipients": "Too many recipients of this user",
}


class Ruling(msgspec.Struct, frozen=True):
    """What to answer."""

    reply: Reply | None
    """None: the standard positive reply."""
    cause: str = ""
    """Token of `gatepost.model.record.Refused.cause` of a refusal."""
    recipient: Recipient | None = None
    """Of a positive answer to RCPT: what to store instead of the recipient given; None: store that."""


Decision = Ruling | Awaitable[Ruling]
"""A plain `Ruling` when nothing has to be asked for."""

ACCEPTED: Final = Ruling(None)
_QUEUE_FULL = Ruling(QUEUE_FULL, "queue-full")
_NO_SPACE = Ruling(NO_RESOURCES, "free-space")
_RELAYING = Ruling(RELAYING_DENIED, "relaying")
_DENIED_CLIENT = Ruling(CLIENT_DENIED, "denied-client")
_NO_SUCH_RECIPIENT = Ruling(NO_SUCH_RECIPIENT, "unknown-recipient")
_SIGNED_OUT = Ruling(reply(421, "4.7.0", "Your password has changed, sign in again", closes=True), "sign-in")
_NOT_VERIFIED = Ruling(NOT_VERIFIED, "verification")
_BY_CAUSE: Final = {
    DNS_TROUBLE: Ruling(DNS_FAILED, DNS_TROUBLE),
    **{cause: Ruling(reply(554, "5.7.1", text), cause) for cause, text in _RULE_TEXTS.items()},
}
_AT_CONNECT: Final = {
    cause: Ruling(reply(554, "5.7.1", text, closes=True), cause) for cause, text in _RULE_TEXTS.items()
}
_OVER_LIMIT: Final = {
    limit: Ruling(
        reply(421, "4.7.0", f"{text}, try again later", closes=True)
        if limit == "client_connections"
        else reply(450, "4.7.0", f"{text}, try again later"),
        "rate",
    )
    for limit, text in _LIMIT_TEXTS.items()
}


class Services:
    """What decisions ask besides the configuration: one of each for a relay, whatever the configuration."""

    def __init__(
        self,
        resolver: Resolver,
        rates: RateTable,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`report` takes what an administrator must know, in words."""
        self.report = report
        self.resolver = resolver
        self.rates = rates
        self.clock = clock
        self.failures = FailureLog()
        self.answers_of_hops = AnswersOfHops()
        self.verifier: Verifier | None = None
        """Of the configuration in force."""
        self.greylisting: Greylisting | None = None
        """Of the configuration in force."""


class Access:
    """The rules of one configuration."""

    def __init__(self, config: Config, queue_path: str, services: Services) -> None:
        network, access = config.network, config.access
        self._table = RelayTable(config.relay_rules)
        self._protected = MaskSet(f"*@{domain}" for domain in network.protected_domains)
        self._trusted = trusted_networks(config)
        self._front = NetworkSet(network.front_relays)
        self._xclient = NetworkSet(access.xclient_networks)
        self._balancers = NetworkSet(access.proxy_networks)
        self._denied = NetworkSet(access.deny_clients)
        self._spared = NetworkSet(access.allow_clients)
        self._quotas = Quotas(config.rates, services.rates, services.clock)
        # None where nothing is switched on: the ordinary mail then pays one comparison.
        judgement = Judgement(config, services.resolver)
        self._judgement = judgement if judgement.active else None
        self._verifier: Verifier | None = build_verifier(
            config, services.resolver, services.answers_of_hops, services.clock, services.report, services.verifier
        )
        services.verifier = self._verifier
        self._greylisting = build_greylisting(
            config, services.resolver, _unix_time, services.report, services.greylisting
        )
        services.greylisting = self._greylisting
        self._passwords = (
            PasswordFile(access.password_file, services.failures, services.clock, services.report)
            if access.password_file
            else None
        )
        self._postmaster = network.postmaster
        self._free_wanted = config.limits.minimal_queue_free_space_size
        self._queue_path = queue_path
        self._space_checked = 0.0
        self._space_ok = True

    # --- what the session may be told by its peer; asked once, before the greeting

    def believes_proxy(self, peer_ip: str) -> bool:
        """Tell whether a PROXY header of this peer is believed."""
        return self._balancers.contains(peer_ip)

    def believes_xclient(self, peer_ip: str) -> bool:
        """Tell whether XCLIENT of this peer is believed."""
        return self._xclient.contains(peer_ip)

    def believes_xforward(self, peer_ip: str) -> bool:
        """Tell whether XFORWARD of this peer is believed."""
        return self._front.contains(peer_ip) or self._xclient.contains(peer_ip)

    # --- decisions

    def connect(self, visit: Visit) -> Decision:
        """Answer the connection, before the greeting (F-ACL-10); once the client is known: after a PROXY header, and
        anew after XCLIENT. A refusal closes.
        """
        ip = visit.connection_ip
        visit.hidden = self._front.contains(ip)
        visit.trusted = not visit.hidden and self._trusted.contains(ip)
        visit.spared = self._spared.contains(ip)
        if not visit.spared and self._denied.contains(ip):
            return _DENIED_CLIENT
        if self._quotas.connections and (broken := self._quotas.connect(visit)):
            return _OVER_LIMIT[broken]
        if self._judgement is None:
            return ACCEPTED
        cause = self._judgement.connect(visit)
        if isinstance(cause, str):
            return _AT_CONNECT[cause] if cause else ACCEPTED
        return _at_connect(cause)

    def forwarded(self, visit: Visit) -> None:
        """Take note of `visit.forward`: XFORWARD has told who the client is."""
        visit.trusted = not visit.hidden and self._trusted.contains(visit.ip)

    def hello(self, visit: Visit, name: str) -> Decision:
        """Answer HELO or EHLO. Rules on the name are applied at RCPT: who sends may still sign in."""
        visit.helo = name
        if self._judgement is not None:
            self._judgement.hello(visit)
        return ACCEPTED

    def mail(self, visit: Visit, event: MailFrom, *, queue_full: bool) -> Decision:
        """Answer MAIL. Who has signed in with a password that counts no more is sent away: stolen ones are changed."""
        if visit.credential and (self._passwords is None or self._passwords.has_changed(visit.user, visit.credential)):
            return _SIGNED_OUT
        if queue_full:
            return _QUEUE_FULL
        if self._free_wanted and not self.has_space():
            return _NO_SPACE
        visit.counted_sender = False
        if visit.settled:
            visit.unsettle()
        if self._judgement is None:
            visit.sender = event.address
            return self._count_mail(visit, event) if self._quotas.mails else ACCEPTED
        cause = self._judgement.mail(visit, event.address)
        if isinstance(cause, str):
            return _BY_CAUSE[cause] if cause else self._count_mail(visit, event)
        return self._mail_later(visit, event, cause)

    async def _mail_later(self, visit: Visit, event: MailFrom, cause: Cause) -> Ruling:
        found = cause if isinstance(cause, str) else await cause
        return _BY_CAUSE[found] if found else self._count_mail(visit, event)

    def _count_mail(self, visit: Visit, event: MailFrom) -> Ruling:
        broken = self._quotas.mail(visit, event.size) if self._quotas.mails else ""
        return _OVER_LIMIT[broken] if broken else ACCEPTED

    def recipient(self, visit: Visit, recipient: Recipient) -> Decision:
        """Answer RCPT: rules on facts, relay rules, verification, rates. The bare postmaster is always taken, and
        mapped (specification F-SMTP-15).
        """
        address = recipient.address
        if address.lower() == "postmaster":
            return Ruling(None, recipient=Recipient(self._postmaster, recipient.notify, recipient.orcpt))
        if self._judgement is not None:
            cause = self._judgement.recipient(visit, address)
            if not isinstance(cause, str):
                return self._recipient_later(visit, address, cause)
            if cause:
                return self._refused_by_rule(visit, address, cause)
        return self._relay(visit, address)

    async def _recipient_later(self, visit: Visit, address: str, cause: Cause) -> Ruling:
        found = cause if isinstance(cause, str) else await cause
        if found:
            return self._refused_by_rule(visit, address, found)
        decision = self._relay(visit, address)
        return decision if isinstance(decision, Ruling) else await decision

    def _refused_by_rule(self, visit: Visit, address: str, cause: str) -> Ruling:
        # What will never be relayed is not put off for the sake of DNS.
        if cause == DNS_TROUBLE and not self._may_relay(visit, address):
            return _RELAYING
        return _BY_CAUSE[cause]

    def _relay(self, visit: Visit, address: str) -> Decision:
        if not self._may_relay(visit, address):
            return _RELAYING
        # RFC 5321 §4.5.1: postmaster of a domain of ours is always one who can be told of trouble.
        unknown = not visit.ours and not address.lower().startswith("postmaster@")
        if self._verifier is not None and unknown and self._protected.matches(address):
            existence = self._verifier.exists(address)
            if not (existence is None or isinstance(existence, bool)):
                return self._verified_later(visit, address, existence)
            return self._verified(visit, address, existence)
        return self._last_word(visit, address)

    def _may_relay(self, visit: Visit, address: str) -> bool:
        if visit.user:
            return True
        if not visit.trusted and ("%" in address or "!" in address or address.count("@") > 1):
            # Routes in the local part: the next hop, which trusts us, might follow them to anywhere.
            return False
        allowed = self._table.decide(visit.connection_ip, address)
        # No rules at all: never an open relay, but our own domains get their mail.
        return self._protected.matches(address) if allowed is None else allowed

    async def _verified_later(self, visit: Visit, address: str, existence: Awaitable[Existence]) -> Ruling:
        decision = self._verified(visit, address, await existence)
        return decision if isinstance(decision, Ruling) else await decision

    def _verified(self, visit: Visit, address: str, existence: Existence) -> Decision:
        if existence is None:
            return _NOT_VERIFIED
        return self._last_word(visit, address) if existence else _NO_SUCH_RECIPIENT

    def _last_word(self, visit: Visit, address: str) -> Decision:
        """Greylisting, then rates."""
        wait = self._greylisting.judge(visit, address) if self._greylisting is not None else None
        if wait is not None:
            return self._greylisted_later(visit, address, wait)
        return self._count_recipient(visit, address) if self._quotas.recipients else ACCEPTED

    async def _greylisted_later(self, visit: Visit, address: str, wait: Awaitable[float]) -> Ruling:
        wait_s = await wait
        if not wait_s:
            return self._count_recipient(visit, address)
        text = f"You are not known here yet, try again in {math.ceil(wait_s)} seconds"
        return Ruling(reply(451, "4.7.1", text), "greylisted")

    def _count_recipient(self, visit: Visit, address: str) -> Ruling:
        if not self._quotas.recipients:
            return ACCEPTED
        broken = self._quotas.recipient(visit, outbound=visit.ours and not self._protected.matches(address))
        return _OVER_LIMIT[broken] if broken else ACCEPTED

    async def sign_in(self, visit: Visit, user: str, password: str) -> bool | None:
        """Check a password (RFC 4954) and note who has signed in. None: it cannot be told now, or there were too many
        wrong ones from this address (454).
        """
        if self._passwords is None:
            return None
        right = await self._passwords.check(customer_of(visit.ip), user, password)
        if right:
            visit.user = user
            visit.credential = self._passwords.hash_of(user)
        return right

    # --- the message

    def settle_client(self, visit: Visit, received_fields: Sequence[bytes]) -> None:
        """At the end of data: see who the client of a `visit.hidden` one is.

        `received_fields`: bodies of the Received fields of the message as it came, newest first.
        """
        if visit.hidden:
            client = first_untrusted_hop(received_fields, self._front, self._trusted)
            visit.settle(client or "", trusted=client is None)

    def direction(self, visit: Visit, recipients: Sequence[Recipient]) -> Direction:
        """Return the direction of the transaction; after `settle_client`."""
        return resolve_direction(ours=visit.ours, protected=self._protected, recipients=recipients)

    def message_done(self, visit: Visit, size: int) -> None:
        """Take note of a message that was accepted, for the rates in bytes."""
        if self._quotas.bytes:
            self._quotas.done(visit, size)

    def has_space(self) -> bool:
        """Tell whether the queue's partition has the free space the configuration asks for (F-SMTP-11)."""
        if not self._free_wanted:
            return True
        now = time.monotonic()
        if now - self._space_checked >= _SPACE_TTL_S:
            self._space_checked = now
            state = os.statvfs(self._queue_path)
            self._space_ok = state.f_bavail * state.f_frsize >= self._free_wanted
        return self._space_ok


def _unix_time() -> float:
    return clock.now()


async def _at_connect(cause: Awaitable[str]) -> Ruling:
    found = await cause
    return _AT_CONNECT[found] if found else ACCEPTED
