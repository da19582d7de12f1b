"""A DNS server in the test process: real UDP and TCP sockets on loopback, one thread, a zone that tests change at run time.

    with StubDns() as dns:
        dns.add("example.org", "MX", "10 mx1.example.org.", "20 mx2.example.org.", ttl=60)
        dns.add("mx1.example.org", "A", "127.0.0.2")
        dns.alias("www.example.org", "mx1.example.org")          # CNAME, followed in the answer
        dns.trouble("mx2.example.org", Trouble.SERVFAIL)          # every kind; or ("…", Trouble.SILENT, "A", times=2)
        configuration = f'[resolve]\\nname_servers = ["{dns.address}"]'
        ...
        assert dns.count("example.org", "MX") == 1                # packets that asked for it, UDP and TCP
        dns.remove("mx1.example.org")                             # from now on NXDOMAIN

A name without records is answered NXDOMAIN, a name with records of other kinds (or below which there are names) with an
empty answer, both with an SOA whose minimum is `negative_ttl`. Reverse names: `dns.add_ptr("192.0.2.1", "host.example.org.")`. DNSBL:
`dns.add("4.3.2.127.bl.example", "A", "127.0.0.2")`. For resolvers that walk from the root, several servers on one port
play a tree: `StubDns("127.0.0.2", port=first.port, authoritative=True)` with `delegate()`.
"""

import enum
import selectors
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset

from tests.support.waiting import join


class Trouble(enum.Enum):
    """What the server does instead of answering."""

    SERVFAIL = enum.auto()
    REFUSED = enum.auto()
    FORMERR = enum.auto()
    """Only when the question has EDNS: an old server."""
    SILENT = enum.auto()
    WRONG_ID = enum.auto()
    """The right answer, and before it one with another id and another address in it."""
    WRONG_QUESTION = enum.auto()
    """The answer to another question, nothing else."""
    GARBAGE = enum.auto()
    """Octets that are no DNS message behind a right id."""
    TRUNCATED = enum.auto()
    """TC over UDP; the answer over TCP."""
    TRUNCATED_SILENT = enum.auto()
    """TC over UDP; silence over TCP."""
    TRUNCATED_TWICE = enum.auto()
    """TC over UDP and over TCP, without records."""
    FOLDED = enum.auto()
    """The right answer; the question comes back in lower case."""


FORGED_ADDRESS = "203.0.113.66"
"""What the forged answer of WRONG_ID and WRONG_QUESTION carries."""


@dataclass
class _Records:
    values: tuple[str, ...]
    ttl: int
    authentic: bool


@dataclass
class _Trouble:
    what: Trouble
    kind: str | None
    times: int | None


@dataclass
class Question:
    """One packet that asked something."""

    name: str
    kind: str
    over: str
    """`udp` or `tcp`."""
    raw_name: str
    """As it was spelled."""
    edns: bool
    dnssec_ok: bool
    recursion_desired: bool
    source_port: int


@dataclass
class _Stream:
    """A TCP connection and what has arrived on it."""

    held: bytearray = field(default_factory=bytearray)


class StubDns:
    """The server. All methods may be called at any time from any thread."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, negative_ttl: int = 60, authoritative: bool = False
    ) -> None:
        self.host = host
        self.negative_ttl = negative_ttl
        self.authoritative = authoritative
        self.delay_s = 0.0
        """Pause before every answer (questions wait for each other)."""
        self.lock = threading.Lock()
        self.questions: list[Question] = []
        self._zone: dict[tuple[str, str], _Records] = {}
        self._aliases: dict[str, tuple[str, int]] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._delegations: dict[str, dict[str, tuple[str, ...]]] = {}
        self._udp, self._tcp, self.port = _bind(host, port)
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        for waiting in (self._udp, self._tcp, self._bell):
            self._selector.register(waiting, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name=f"stub dns {self.port}", daemon=True)

    @property
    def address(self) -> str:
        """`ip:port` for `resolve.name_servers`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ring.send(b"x")
        join(self._thread)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._ring.close()
        self._selector.close()

    # The zone.

    def add(self, name: str, kind: str, *values: str, ttl: int = 300, authentic: bool = False) -> None:
        """Set the records of a name and kind (what was there is replaced). `authentic`: answered with AD."""
        dns.rrset.from_text(_fold(name) + ".", ttl, "IN", kind, *values)  # a mistake shows here and not in the thread
        with self.lock:
            self._zone[_fold(name), kind] = _Records(values, ttl, authentic)

    def add_ptr(self, ip: str, *hosts: str, ttl: int = 300) -> None:
        self.add(str(dns.reversename.from_address(ip)), "PTR", *hosts, ttl=ttl)

    def alias(self, name: str, target: str, ttl: int = 300) -> None:
        with self.lock:
            self._aliases[_fold(name)] = (_fold(target), ttl)

    def delegate(self, zone: str, servers: dict[str, tuple[str, ...]]) -> None:
        """Answer questions below `zone` with a referral: host names of its servers, with their addresses as glue."""
        with self.lock:
            self._delegations[_fold(zone)] = servers

    def remove(self, name: str, kind: str | None = None) -> None:
        with self.lock:
            for key in [k for k in self._zone if k[0] == _fold(name) and kind in {None, k[1]}]:
                del self._zone[key]
            if kind is None:
                self._aliases.pop(_fold(name), None)

    def trouble(self, name: str, what: Trouble, kind: str | None = None, times: int | None = None) -> None:
        """Misbehave when asked for `name` ("*": any), `times` times (None: until `heal`)."""
        with self.lock:
            self._troubles[_fold(name)] = _Trouble(what, kind, times)

    def heal(self, name: str) -> None:
        with self.lock:
            self._troubles.pop(_fold(name), None)

    def count(self, name: str | None = None, kind: str | None = None) -> int:
        """Return how many packets asked for it."""
        with self.lock:
            return sum(
                (name is None or q.name == _fold(name)) and (kind is None or q.kind == kind) for q in self.questions
            )

    def counts(self) -> Counter[tuple[str, str]]:
        with self.lock:
            return Counter((q.name, q.kind) for q in self.questions)

    def forget(self) -> None:
        """Start counting anew."""
        with self.lock:
            self.questions.clear()

    # The sockets.

    def _serve(self) -> None:
        streams: dict[socket.socket, _Stream] = {}
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._bell:
                    return
                if ready is self._udp:
                    raw, source = self._udp.recvfrom(4096)
                    for answer in self._answer(raw, "udp", source[1]):
                        self._udp.sendto(answer, source)
                elif ready is self._tcp:
                    connection, _ = self._tcp.accept()
                    streams[connection] = _Stream()
                    self._selector.register(connection, selectors.EVENT_READ)
                elif not self._read_stream(ready, streams[ready]):
                    self._selector.unregister(ready)
                    del streams[ready]
                    ready.close()

    def _read_stream(self, connection: socket.socket, stream: _Stream) -> bool:
        try:
            arrived = connection.recv(4096)
            stream.held += arrived
            while len(stream.held) >= 2 and len(stream.held) >= 2 + int.from_bytes(stream.held[:2]):
                size = int.from_bytes(stream.held[:2])
                raw = bytes(stream.held[2 : 2 + size])
                del stream.held[: 2 + size]
                for answer in self._answer(raw, "tcp", connection.getpeername()[1]):
                    connection.sendall(len(answer).to_bytes(2) + answer)
        except OSError:
            return False
        return bool(arrived)

    # Answers.

    def _answer(self, raw: bytes, over: str, source_port: int) -> list[bytes]:
        try:
            query = dns.message.from_wire(raw)
        except dns.exception.DNSException:
            return []
        if not query.question or query.flags & dns.flags.QR:
            return []
        asked = query.question[0]
        name, kind = _fold(asked.name.to_text()), dns.rdatatype.to_text(asked.rdtype)
        question = Question(
            name,
            kind,
            over,
            asked.name.to_text(),
            query.edns >= 0,
            bool(query.ednsflags & dns.flags.DO),
            bool(query.flags & dns.flags.RD),
            source_port,
        )
        with self.lock:
            self.questions.append(question)
            trouble = self._take_trouble(name, kind)
            answer = self._look_up(query, name, kind)
        if self.delay_s:
            time.sleep(self.delay_s)
        return _spoil(trouble, query, answer, over)

    def _take_trouble(self, name: str, kind: str) -> Trouble | None:
        for key in (name, "*"):
            trouble = self._troubles.get(key)
            if trouble is None or trouble.kind not in {None, kind}:
                continue
            if trouble.times is not None:
                trouble.times -= 1
                if trouble.times <= 0:
                    del self._troubles[key]
            return trouble.what
        return None

    def _look_up(self, query: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        answer = dns.message.make_response(query, recursion_available=not self.authoritative)
        if self.authoritative and not self._zone_has(name) and self._refer(answer, name):
            return answer
        if self.authoritative:
            answer.flags |= dns.flags.AA
        owner, authentic = query.question[0].name, True
        for _ in range(12):
            alias = self._aliases.get(name)
            if alias is None:
                break
            name, ttl = alias
            answer.answer.append(dns.rrset.from_text(owner, ttl, "IN", "CNAME", name + "."))
            if kind == "CNAME":
                return answer
            owner, authentic = dns.name.from_text(name), False
        records = self._zone.get((name, kind))
        if records is not None:
            answer.answer.append(dns.rrset.from_text(owner, records.ttl, "IN", kind, *records.values))
            if records.authentic and authentic:
                answer.flags |= dns.flags.AD
            return answer
        if not self._zone_has(name):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.stub. hostmaster.stub. 1 3600 600 86400 {self.negative_ttl}"
        answer.authority.append(dns.rrset.from_text(".", self.negative_ttl, "IN", "SOA", soa))
        return answer

    def _zone_has(self, name: str) -> bool:
        names = [n for n, _ in self._zone] + list(self._aliases)
        return any(n == name or n.endswith("." + name) for n in names)

    def _refer(self, answer: dns.message.Message, name: str) -> bool:
        zones = [z for z in self._delegations if name == z or name.endswith("." + z)]
        if not zones:
            return False
        zone = max(zones, key=len)
        servers = self._delegations[zone]
        answer.authority.append(
            dns.rrset.from_text(zone + ".", 300, "IN", "NS", *(h.rstrip(".") + "." for h in servers))
        )
        for host, addresses in servers.items():
            for ip in addresses:
                kind = "AAAA" if ":" in ip else "A"
                answer.additional.append(dns.rrset.from_text(host.rstrip(".") + ".", 300, "IN", kind, ip))
        return True


def _bind(host: str, port: int) -> tuple[socket.socket, socket.socket, int]:
    """Bind UDP and TCP to one port; a port that is free for only one of them is given up for another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(20):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            tcp.bind((host, port))
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            if port:
                raise
            continue
        tcp.listen(64)
        return udp, tcp, tcp.getsockname()[1]
    raise OSError(f"no port of {host} is free for both UDP and TCP")


def _spoil(trouble: Trouble | None, query: dns.message.Message, answer: dns.message.Message, over: str) -> list[bytes]:
    """Return the packets to send."""
    if trouble in {Trouble.SERVFAIL, Trouble.REFUSED} or (trouble is Trouble.FORMERR and query.edns >= 0):
        assert trouble is not None
        failed = dns.message.make_response(query)
        failed.set_rcode(dns.rcode.from_text(trouble.name))
        return [failed.to_wire()]
    if trouble is Trouble.SILENT or (trouble is Trouble.TRUNCATED_SILENT and over == "tcp"):
        return []
    if trouble is Trouble.GARBAGE:
        return [query.id.to_bytes(2) + b"\x81\x80\xff\xff\xff\xff" + bytes(range(64))]
    if trouble is Trouble.WRONG_ID:
        forged = _forge(query, query.question[0].name)
        forged.id = query.id ^ 0x5555
        return [forged.to_wire(), answer.to_wire()]
    if trouble is Trouble.WRONG_QUESTION:
        other = dns.message.make_query("forged.example.", "A")
        other.id = query.id
        return [_forge(other, other.question[0].name).to_wire()]
    if trouble is Trouble.FOLDED:
        answer.question[0].name = answer.question[0].name.canonicalize()
        return [answer.to_wire()]
    if over == "tcp" and trouble is not Trouble.TRUNCATED_TWICE:
        return [answer.to_wire(max_size=65535)]
    limit = max(query.payload, 512)
    if trouble in {None, Trouble.FORMERR} and len(raw := answer.to_wire(max_size=65535)) <= limit:
        return [raw]
    cut = dns.message.make_response(query)
    cut.flags |= dns.flags.TC
    return [cut.to_wire()]


def _forge(query: dns.message.Message, owner: dns.name.Name) -> dns.message.Message:
    forged = dns.message.make_response(query)
    forged.answer.append(dns.rrset.from_text(owner, 300, "IN", "A", FORGED_ADDRESS))
    return forged


def _fold(name: str) -> str:
    return name.rstrip(".").lower()
