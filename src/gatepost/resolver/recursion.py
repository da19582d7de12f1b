"""Own recursion: which name server to ask next, from the root down (F-ROUT-13, RFC 1034 §5.3.3). Sans-I/O.

`inquiry` asks what `Walk.next_step` says and hands back what came. Believed is what a server has authority for: records
at or below the zone that led us to it. Glue outside that zone is not used, the name is walked to from the root instead.
Servers that answer with trouble, refer upwards or know nothing (lame ones) are passed over. Every packet is a step,
those for the addresses of name servers included; their number is limited, so nobody can send us round in circles.
"""

import importlib.resources
import ipaddress
import zlib
from collections import OrderedDict
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec

from gatepost.resolver.answers import Kind, Outcome
from gatepost.resolver.message import CHAIN_LIMIT, Reading, read_answer

CUTS_LIMIT: Final = 10_000
"""Delegations remembered, some MB."""
CUT_LIFE_LIMIT_S: Final = 86400
"""Longest life of a delegation: a day, so that a moved zone is found."""
SERVERS_LIMIT: Final = 13
"""Servers of a zone that are looked at: what fits an answer of 512 octets, as at the root."""
DEPTH_LIMIT: Final = 4
"""Name servers whose addresses have to be found through name servers whose addresses have to be found…"""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Send this question, without wish for recursion, to the server at `ip`."""

    ip: str
    name: dns.name.Name
    kind: Kind


class Cut(msgspec.Struct, frozen=True, gc=False):
    """A zone, and who serves it."""

    zone: dns.name.Name
    hosts: tuple[dns.name.Name, ...]
    """Servers whose addresses came without being asked for are not in it."""
    addresses: tuple[str, ...]


class ZoneCuts:
    """The delegations met so far; the root's is always there."""

    def __init__(self, root_addresses: tuple[str, ...]) -> None:
        self.root = Cut(dns.name.root, (), root_addresses)
        self._cuts: OrderedDict[dns.name.Name, tuple[Cut, float]] = OrderedDict()
        self._in_test_net = any(ipaddress.ip_address(ip).is_loopback for ip in root_addresses)

    def find(self, name: dns.name.Name, now: float) -> Cut:
        """Return the deepest living delegation at or above `name`."""
        while name != dns.name.root:
            found = self._cuts.get(name)
            if found is not None and found[1] > now:
                self._cuts.move_to_end(name)
                return found[0]
            name = name.parent()
        return self.root

    def keep(self, cut: Cut, until: float) -> None:
        """Remember a delegation."""
        self._cuts[cut.zone] = (cut, until)
        self._cuts.move_to_end(cut.zone)
        if len(self._cuts) > CUTS_LIMIT:
            self._cuts.popitem(last=False)

    def forget(self, zone: dns.name.Name) -> None:
        """Drop a delegation that led nowhere."""
        self._cuts.pop(zone, None)

    def is_askable(self, ip: str) -> bool:
        """Tell whether a stranger's delegation may make us send packets to `ip`: not to ourselves, nor to groups."""
        address = ipaddress.ip_address(ip)
        if address.is_loopback:
            return self._in_test_net
        return not (address.is_multicast or address.is_unspecified or address.is_link_local)


class _Goal:
    """One name to be answered; goals above it on the stack find addresses of its zone's servers."""

    def __init__(self, name: dns.name.Name, kind: Kind, cut: Cut) -> None:
        self.name = name
        self.kind = kind
        self.aliases = 0
        self.life_s: int | None = None
        self.enter(cut)

    def enter(self, cut: Cut) -> None:
        """Ask the servers of this zone from now on."""
        self.zone = cut.zone
        addresses = sorted(cut.addresses, key=lambda ip: ":" in ip)  # IPv4 reaches servers where IPv6 may not
        v4 = [ip for ip in addresses if ":" not in ip]
        start = zlib.crc32(self.name.to_digestable()) % len(v4) if v4 else 0
        self.addresses = v4[start:] + v4[:start] + addresses[len(v4) :]
        self.hosts = [(host, kind) for kind in (Kind.A, Kind.AAAA) for host in cut.hosts]


class Walk:
    """One question's way."""

    def __init__(self, name: dns.name.Name, kind: Kind, cuts: ZoneCuts, steps_limit: int, now: float) -> None:
        self._cuts = cuts
        self._steps_left = steps_limit
        self._now = now
        self._goals = [_Goal(name, kind, cuts.find(name, now))]
        self._result: Reading | None = None

    def next_step(self) -> Ask | Reading:
        """Return the question to send, or the end of the walk."""
        while self._result is None:
            goal = self._goals[-1]
            if goal.addresses:
                if self._steps_left <= 0:
                    return Reading(Outcome.FAILED, reason="more steps from the root than allowed")
                self._steps_left -= 1
                return Ask(goal.addresses.pop(0), goal.name, goal.kind)
            if goal.hosts:
                self._find_server(*goal.hosts.pop(0))
            else:
                self._cuts.forget(goal.zone)
                self._finish(Reading(Outcome.FAILED, reason=f"no server of zone {goal.zone} answers"))
        return self._result

    def take(self, message: dns.message.Message | None) -> None:
        """Take what the server asked last has said, None when it was silent or unreadable."""
        if message is None or message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return
        goal = self._goals[-1]
        _keep_within(message.answer, goal.zone)
        _keep_within(message.authority, goal.zone)
        reading = read_answer(message, goal.name, goal.kind)
        if reading.alias is not None:
            self._follow(goal, reading)
        elif reading.outcome is Outcome.FOUND or message.flags & dns.flags.AA:
            self._finish(reading)
        else:
            self._descend(goal, message)

    def _find_server(self, host: dns.name.Name, kind: Kind) -> None:
        """Make the address of a name server the next goal, unless that is what we are at already."""
        if len(self._goals) <= DEPTH_LIMIT and not any(g.name == host and g.kind == kind for g in self._goals):
            self._goals.append(_Goal(host, kind, self._cuts.find(host, self._now)))

    def _follow(self, goal: _Goal, reading: Reading) -> None:
        goal.aliases += 1
        if goal.aliases > CHAIN_LIMIT or reading.alias is None:
            self._finish(Reading(Outcome.FAILED, reason="too many aliases"))
            return
        goal.life_s = _shorter(goal.life_s, reading.ttl_s)
        goal.name = reading.alias
        goal.enter(self._cuts.find(goal.name, self._now))

    def _descend(self, goal: _Goal, message: dns.message.Message) -> None:
        """Enter the zone a referral names. It must lead downwards, towards the name."""
        for rrset in message.authority:
            if rrset.rdtype != dns.rdatatype.NS or rrset.rdclass != dns.rdataclass.IN:
                continue
            zone = rrset.name
            if zone == goal.zone or not goal.name.is_subdomain(zone):
                continue
            hosts = [record.target for record in rrset][:SERVERS_LIMIT]
            glue = self._read_glue(message, hosts, goal.zone)
            cut = Cut(
                zone,
                tuple(host for host in hosts if host not in glue),
                tuple(ip for addresses in glue.values() for ip in addresses),
            )
            self._cuts.keep(cut, self._now + min(rrset.ttl, CUT_LIFE_LIMIT_S))
            goal.enter(cut)
            return

    def _read_glue(
        self, message: dns.message.Message, hosts: list[dns.name.Name], zone: dns.name.Name
    ) -> dict[dns.name.Name, list[str]]:
        glue: dict[dns.name.Name, list[str]] = {}
        for rrset in message.additional:
            if rrset.rdtype not in (dns.rdatatype.A, dns.rdatatype.AAAA) or rrset.rdclass != dns.rdataclass.IN:
                continue
            if rrset.name in hosts and rrset.name.is_subdomain(zone):
                askable = [record.address for record in rrset if self._cuts.is_askable(record.address)]
                glue.setdefault(rrset.name, []).extend(askable[:SERVERS_LIMIT])
        return glue

    def _finish(self, reading: Reading) -> None:
        goal = self._goals.pop()
        if not self._goals:
            life = _shorter(goal.life_s, reading.ttl_s)
            self._result = msgspec.structs.replace(
                reading, ttl_s=life, authentic=False, aliased=reading.aliased or goal.aliases > 0
            )
        elif reading.outcome is Outcome.FOUND:
            waiting = self._goals[-1]
            waiting.addresses += [ip for ip in reading.values[:SERVERS_LIMIT] if self._cuts.is_askable(ip)]


def _keep_within(section: list[dns.rrset.RRset], zone: dns.name.Name) -> None:
    section[:] = [rrset for rrset in section if rrset.name.is_subdomain(zone)]


def _shorter(one: int | None, other: int | None) -> int | None:
    return min((life for life in (one, other) if life is not None), default=None)


def load_root_hints() -> tuple[str, ...]:
    """Return the addresses of the root servers as shipped (IANA's named.root)."""
    text = importlib.resources.files(__package__ or "").joinpath("root_hints.txt").read_text("ascii")
    return tuple(ip for line in text.splitlines() for ip in line.split()[1:])
