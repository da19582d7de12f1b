"""AgentX (RFC 2741), the sub-agent's side: what a master agent such as snmpd is told, and asks.

Used by `master.snmp`. Bytes in, events and bytes out; no socket, no clock. Promises: read-only (every SET is refused);
a frame that is no AgentX, or longer than `PAYLOAD_LIMIT`, raises `AgentxError`, and the connection is to be closed;
an answer never has more than `ANSWER_LIMIT` variables, whatever was asked for.
"""

import enum
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

Oid = tuple[int, ...]

VERSION: Final = 1
HEADER: Final = struct.Struct("!BBBBIIII")
"""version, type, flags, reserved, session, transaction, packet, length of the payload (RFC 2741 §6.1)."""
PAYLOAD_LIMIT: Final = 256 * 1024
"""Octets of one frame: a GetBulk over thousands of ranges needs no more."""
ANSWER_LIMIT: Final = 200
"""Variables in one answer: more than fit into one SNMP datagram."""
TEXT_LIMIT: Final = 1024
"""Octets of a text: several of them are to fit into a datagram."""
SUBIDS_LIMIT: Final = 128
"""Sub-identifiers of an OID (RFC 2578 §3.5)."""

_BIG_ENDIAN: Final = 0x10
_CONTEXT: Final = 0x08
_U16: Final = struct.Struct("!HH")
_U32: Final = struct.Struct("!I")
_U64: Final = struct.Struct("!Q")
_INTERNET: Final[Oid] = (1, 3, 6, 1)
TRAP_OID: Final[Oid] = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
"""snmpTrapOID.0: names the kind of a notification (RFC 3416 §4.2.6)."""


class AgentxError(ValueError):
    """What came is not AgentX as a master agent speaks it; the connection is of no more use."""


class Kind(enum.IntEnum):
    """Types of frames (RFC 2741 §6.1)."""

    OPEN = 1
    CLOSE = 2
    REGISTER = 3
    GET = 5
    GET_NEXT = 6
    GET_BULK = 7
    TEST_SET = 8
    COMMIT_SET = 9
    UNDO_SET = 10
    CLEANUP_SET = 11
    NOTIFY = 12
    PING = 13
    RESPONSE = 18


class Syntax(enum.IntEnum):
    """Types of values (RFC 2741 §5.4)."""

    INTEGER = 2
    TEXT = 4
    OID = 6
    COUNTER32 = 65
    GAUGE = 66
    TICKS = 67
    """Hundredths of a second."""
    COUNTER = 70
    """64 bits."""
    NO_OBJECT = 128
    NO_INSTANCE = 129
    END = 130


class Fault(enum.IntEnum):
    """Error codes of answers (RFC 2741 §6.2.16, RFC 3416)."""

    NONE = 0
    GENERAL = 5
    NOT_WRITABLE = 17
    UNSUPPORTED_CONTEXT = 262
    PARSE = 266


class Value(msgspec.Struct, frozen=True):
    """A value of one variable."""

    syntax: Syntax
    value: int | bytes | Oid


Binding = tuple[Oid, Value]


class Tree:
    """Variables by OID, in their order."""

    def __init__(self, rows: Mapping[Oid, Value]) -> None:
        self._names = sorted(rows)
        self._rows = dict(rows)

    def __len__(self) -> int:
        return len(self._names)

    def get(self, name: Oid) -> Value | None:
        """Return the variable's value, None when there is none of that name."""
        return self._rows.get(name)

    def after(self, name: Oid, end: Oid, *, inclusive: bool) -> Binding | None:
        """Return the first variable behind `name` (or `name` itself) and before `end`; () = no end."""
        at = bisect_left(self._names, name) if inclusive else bisect_right(self._names, name)
        if at == len(self._names) or (end and self._names[at] >= end):
            return None
        found = self._names[at]
        return found, self._rows[found]


class Range(msgspec.Struct, frozen=True):
    """What one GET or GETNEXT is about."""

    start: Oid
    end: Oid
    inclusive: bool


class Asked(msgspec.Struct, frozen=True):
    """Event: the master agent asks; `AgentSession.answer` with a tree of what is so now."""

    kind: Kind
    transaction: int
    packet: int
    ranges: tuple[Range, ...]
    single: int = 0
    """GetBulk: so many ranges are asked for once ..."""
    repeats: int = 0
    """... and the others so often."""


class Confirmed(msgspec.Struct, frozen=True):
    """Event: the master agent has answered the request of this kind. `fault` is not 0: it has refused it."""

    kind: Kind
    fault: int


class Closed(msgspec.Struct, frozen=True):
    """Event: the master agent ends the session (RFC 2741 §6.2.2); connect again later."""

    reason: int


Event = Asked | Confirmed | Closed


class AgentSession:
    """One session with a master agent."""

    def __init__(self, description: str, timeout_s: int) -> None:
        """`timeout_s`: how long the master agent is to wait for our answers."""
        self._input = bytearray()
        self._output = bytearray()
        self._session = 0
        self._packet = 0
        self._waiting: dict[int, Kind] = {}
        """Our requests without an answer."""
        self._timeout_s = min(255, max(1, timeout_s))
        payload = bytes((self._timeout_s, 0, 0, 0)) + build_oid(()) + build_text(description.encode()[:TEXT_LIMIT])
        self._request(Kind.OPEN, payload)

    def register(self, subtree: Oid) -> None:
        """Ask for everything below `subtree`."""
        self._request(Kind.REGISTER, bytes((self._timeout_s, 127, 0, 0)) + build_oid(subtree))

    def notify(self, trap: Oid, bindings: Sequence[Binding]) -> None:
        """Send a notification."""
        first = (TRAP_OID, Value(Syntax.OID, trap))
        self._request(Kind.NOTIFY, b"".join(build_binding(*each) for each in (first, *bindings)))

    def ping(self) -> None:
        """Ask whether the master agent is there."""
        self._request(Kind.PING, b"")

    def close(self) -> None:
        """Say that we are shutting down."""
        self._request(Kind.CLOSE, bytes((5, 0, 0, 0)))

    @property
    def unanswered(self) -> int:
        """Requests of ours without an answer."""
        return len(self._waiting)

    def feed(self, data: bytes) -> list[Event]:
        """Take what came; return what it means. AgentxError."""
        self._input += data
        events: list[Event] = []
        while len(self._input) >= HEADER.size:
            version, kind, flags, _, session, transaction, packet, length = HEADER.unpack_from(self._input)
            if version != VERSION:
                raise AgentxError(f"version {version} of AgentX is not ours")
            if not flags & _BIG_ENDIAN:
                raise AgentxError("a frame in another byte order than ours")
            if length > PAYLOAD_LIMIT or length % 4:
                raise AgentxError(f"a frame of {length} octets")
            if len(self._input) < HEADER.size + length:
                break
            payload = bytes(self._input[HEADER.size : HEADER.size + length])
            del self._input[: HEADER.size + length]
            event = self._take(kind, flags, session, transaction, packet, payload)
            if event is not None:
                events.append(event)
        return events

    def take_output(self) -> bytes:
        """Return what is to be sent."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def answer(self, asked: Asked, tree: Tree) -> None:
        """Answer a question with what `tree` holds."""
        if asked.kind is Kind.GET:
            rows = [_get(tree, each.start) for each in asked.ranges]
        elif asked.kind is Kind.GET_NEXT:
            rows = [_next(tree, each) for each in asked.ranges]
        else:
            rows = _bulk(tree, asked)
        self._respond(asked.transaction, asked.packet, Fault.NONE, rows)

    def _take(self, kind: int, flags: int, session: int, transaction: int, packet: int, payload: bytes) -> Event | None:
        if kind == Kind.RESPONSE:
            return self._answered(session, packet, payload)
        if kind == Kind.CLOSE:
            return Closed(payload[0] if payload else 0)
        if kind == Kind.CLEANUP_SET:  # has no answer
            return None
        if flags & _CONTEXT:
            self._respond(transaction, packet, Fault.UNSUPPORTED_CONTEXT, ())
        elif kind in (Kind.TEST_SET, Kind.COMMIT_SET, Kind.UNDO_SET):
            self._respond(transaction, packet, Fault.NOT_WRITABLE, (), index=1)
        elif kind in (Kind.GET, Kind.GET_NEXT, Kind.GET_BULK):
            return _parse_asked(Kind(kind), transaction, packet, payload)
        else:
            raise AgentxError(f"a frame of type {kind}, which no master agent sends")
        return None

    def _answered(self, session: int, packet: int, payload: bytes) -> Event:
        kind = self._waiting.pop(packet, None)
        if kind is None:
            raise AgentxError("an answer to nothing that was asked")
        if len(payload) < 8:
            raise AgentxError("an answer that ends too soon")
        fault, _ = _U16.unpack_from(payload, 4)
        if kind is Kind.OPEN and not fault:
            self._session = session
        return Confirmed(kind, fault)

    def _request(self, kind: Kind, payload: bytes) -> None:
        self._packet = self._packet % 0xFFFFFFFF + 1
        self._waiting[self._packet] = kind
        self._send(kind, 0, self._packet, payload)

    def _respond(self, transaction: int, packet: int, fault: Fault, rows: Sequence[Binding], *, index: int = 0) -> None:
        payload = _U32.pack(0) + _U16.pack(fault, index) + b"".join(build_binding(*row) for row in rows)
        self._send(Kind.RESPONSE, transaction, packet, payload)

    def _send(self, kind: Kind, transaction: int, packet: int, payload: bytes) -> None:
        self._output += HEADER.pack(VERSION, kind, _BIG_ENDIAN, 0, self._session, transaction, packet, len(payload))
        self._output += payload


def _get(tree: Tree, name: Oid) -> Binding:
    value = tree.get(name)
    if value is not None:
        return name, value
    below = tree.after(name[:-1], (*name[:-2], name[-2] + 1) if len(name) > 1 else (), inclusive=True)
    return name, Value(Syntax.NO_INSTANCE if below is not None else Syntax.NO_OBJECT, 0)


def _next(tree: Tree, wanted: Range) -> Binding:
    found = tree.after(wanted.start, wanted.end, inclusive=wanted.inclusive)
    return found if found is not None else (wanted.start, Value(Syntax.END, 0))


def _bulk(tree: Tree, asked: Asked) -> list[Binding]:
    rows = [_next(tree, each) for each in asked.ranges[: asked.single]]
    ranges = list(asked.ranges[asked.single :])
    for _ in range(asked.repeats):
        if not ranges or len(rows) + len(ranges) > ANSWER_LIMIT:
            break
        found = [_next(tree, each) for each in ranges]
        rows += found
        if all(value.syntax is Syntax.END for _, value in found):
            break
        ranges = [Range(name, each.end, inclusive=False) for (name, _), each in zip(found, ranges, strict=True)]
    return rows


def build_oid(name: Oid, *, include: bool = False) -> bytes:
    """Return an object identifier (RFC 2741 §5.1), shortened where it begins with 1.3.6.1.x."""
    prefix = 0
    if len(name) > 4 and name[:4] == _INTERNET and 0 < name[4] < 256:
        prefix, name = name[4], name[5:]
    return bytes((len(name), prefix, include, 0)) + struct.pack(f"!{len(name)}I", *name)


def build_text(data: bytes) -> bytes:
    """Return an octet string (RFC 2741 §5.3)."""
    return _U32.pack(len(data)) + data + bytes(-len(data) % 4)


def build_binding(name: Oid, value: Value) -> bytes:
    """Return a variable with its value (RFC 2741 §5.4)."""
    head = _U16.pack(value.syntax, 0) + build_oid(name)
    content = value.value
    if isinstance(content, bytes):
        return head + build_text(content[:TEXT_LIMIT])
    if isinstance(content, tuple):
        return head + build_oid(content)
    if value.syntax is Syntax.COUNTER:
        return head + _U64.pack(content & 0xFFFFFFFFFFFFFFFF)
    if value.syntax >= Syntax.NO_OBJECT:
        return head
    return head + _U32.pack(content & 0xFFFFFFFF)


def _parse_asked(kind: Kind, transaction: int, packet: int, payload: bytes) -> Asked:
    at, single, repeats = 0, 0, 0
    if kind is Kind.GET_BULK:
        if len(payload) < 4:
            raise AgentxError("a GetBulk that ends too soon")
        single, repeats = _U16.unpack_from(payload)
        at = 4
    ranges = []
    while at < len(payload):
        start, inclusive, at = parse_oid(payload, at)
        end, _, at = parse_oid(payload, at)
        ranges.append(Range(start, end, inclusive))
        if len(ranges) > ANSWER_LIMIT:
            raise AgentxError(f"more than {ANSWER_LIMIT} variables asked for at once")
    return Asked(kind, transaction, packet, tuple(ranges), single, repeats)


def parse_oid(data: bytes, at: int) -> tuple[Oid, bool, int]:
    """Return (object identifier, its include flag, the offset behind it). AgentxError."""
    if at + 4 > len(data):
        raise AgentxError("an object identifier that ends too soon")
    count, prefix, include = data[at], data[at + 1], data[at + 2]
    end = at + 4 + 4 * count
    if count > SUBIDS_LIMIT or end > len(data):
        raise AgentxError(f"an object identifier of {count} parts")
    name: Oid = struct.unpack_from(f"!{count}I", data, at + 4)
    if prefix:
        name = (*_INTERNET, prefix, *name)
    return name, bool(include), end
