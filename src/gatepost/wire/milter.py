"""The milter protocol, filter side: what Sendmail and Postfix say to a filter, versions 2 to 6.

Called by `service.milter_door`. Bytes in, messages out. Promises: a message is put together as the mail system has it,
byte for byte where the protocol carries it (exact header values from version 6 on; earlier the blank behind a colon is
guessed); memory is bounded by the limits below, whatever a mail system sends; what breaks the protocol raises
`MilterError`, and the connection is to be closed.

The least traffic that serves us is asked for: no steps we have no use for, no answers of ours before the end of a
message, only the macros in `_ASKED`. Answers are built by `wire.milter_answers`.
"""

import enum
import struct
from collections.abc import Callable
from typing import Final

from gatepost.wire.milter_values import (
    Actions,
    Dropped,
    Ended,
    Event,
    Family,
    MilterClient,
    MilterError,
    MilterMessage,
    Piece,
    Steps,
)

VERSION: Final = 6
"""Newest version there is (Sendmail 8.14)."""
OLDEST: Final = 2
"""Sendmail 8.12 and 8.13."""
PACKET_LIMIT: Final = 2 * 1024 * 1024
"""Octets of one packet. Bodies come in pieces of 64 KiB; a header field of any size is one packet of Postfix."""
ENVELOPE_LIMIT: Final = 4 * 1024 * 1024
"""Octets of a message's recipients: 50,000 of ordinary length."""
PIECE_BYTES: Final = 256 * 1024
"""So much of a message is gathered before it is handed on; smaller messages come in one."""
MACRO_LIMIT: Final = 1000
"""Octets kept of a macro's value."""
WORD_LIMIT: Final = 4096
"""Octets kept of a host name, a HELO name or an address: RFC 5321 §4.5.3.1 allows some hundreds."""

_HEAD: Final = struct.Struct("!Ic")
_LONG: Final = struct.Struct("!I")
_OPTIONS: Final = struct.Struct("!III")
_PORT: Final = struct.Struct("!H")
_OPTNEG: Final = b"O"
_CONTINUE: Final = _HEAD.pack(1, b"c")
_SKIP: Final = _HEAD.pack(1, b"s")
_BODY: Final = ord("B")
_HEADER: Final = ord("L")
_ACTION_BITS: Final = 0x1FF
_FAMILIES: Final = frozenset(family.value for family in Family)
_RECIPIENT_COST: Final = 64
"""Octets a recipient counts for besides its text."""


NEEDED: Final = (
    Actions.ADD_HEADERS
    | Actions.CHANGE_BODY
    | Actions.ADD_RECIPIENTS
    | Actions.DELETE_RECIPIENTS
    | Actions.CHANGE_HEADERS
)
"""Without these a verdict could not be carried out; every mail system since Sendmail 8.12 offers them."""
_WISHED: Final = (
    Steps.NO_UNKNOWN | Steps.NO_DATA | Steps.NO_END_OF_HEADER | Steps.SILENT_HEADER | Steps.SILENT_CONNECT
    | Steps.SILENT_HELO | Steps.SILENT_MAIL | Steps.SILENT_RCPT | Steps.SILENT_DATA | Steps.SILENT_UNKNOWN
    | Steps.SILENT_END_OF_HEADER | Steps.SKIP | Steps.EXACT_VALUES
)  # fmt: skip
_ASKED: Final = (
    (0, b"{client_resolve}"),
    (1, b""),
    (2, b"i {auth_authen} {tls_version} {cipher}"),
    (3, b""),
    (5, b"i"),
)
"""Macros by stage: connect, HELO, MAIL, RCPT, end of message (SETSYMLIST of SMFIC_OPTNEG). Sendmail tells its queue id
at MAIL, Postfix has none before the end.
"""
_KEPT: Final = frozenset({b"{client_resolve}", b"{auth_authen}", b"{tls_version}", b"{cipher}", b"i"})


class State(enum.IntEnum):
    """Where a conversation is."""

    START = 0
    """Nothing is agreed yet."""
    READY = 1
    """No client has come."""
    SESSION = 2
    """A client has come."""
    ENVELOPE = 3
    """MAIL was said."""
    HEADER = 4
    BODY = 5
    ANSWER = 6
    """The message is complete; the mail system waits."""
    CLOSED = 7


_ANY: Final = frozenset(set(State) - {State.START, State.ANSWER, State.CLOSED})
_TALK: Final = frozenset({State.SESSION, State.ENVELOPE})
_LATE: Final = frozenset({State.ENVELOPE, State.HEADER, State.BODY})
_COMMANDS: Final[dict[int, tuple[frozenset[State], Steps | None]]] = {
    ord("O"): (frozenset({State.START}), None),
    ord("D"): (_ANY, None),
    ord("C"): (frozenset({State.READY}), Steps.SILENT_CONNECT),
    ord("H"): (_TALK, Steps.SILENT_HELO),
    ord("M"): (_TALK, Steps.SILENT_MAIL),
    ord("R"): (frozenset({State.ENVELOPE}), Steps.SILENT_RCPT),
    ord("T"): (frozenset({State.ENVELOPE}), Steps.SILENT_DATA),
    ord("U"): (_TALK, Steps.SILENT_UNKNOWN),
    ord("L"): (frozenset({State.ENVELOPE, State.HEADER}), Steps.SILENT_HEADER),
    ord("N"): (frozenset({State.ENVELOPE, State.HEADER}), Steps.SILENT_END_OF_HEADER),
    ord("B"): (_LATE, Steps.SILENT_BODY),
    ord("E"): (_LATE, None),
    ord("A"): (_ANY, None),
    ord("K"): (_ANY, None),
    ord("Q"): (_ANY | {State.START}, None),
}
"""Each command: the states it is legal in, and the agreement by which it goes unanswered (None: it always does)."""


class _Draft:
    """The message that is coming."""

    __slots__ = (
        "envelope_size", "gathered", "handed_on", "header_size", "macros", "parts", "recipients", "sender", "size",
        "too_large",
    )  # fmt: skip

    def __init__(self, macros: dict[bytes, bytes]) -> None:
        self.macros = macros
        self.sender = b""
        self.recipients: list[bytes] = []
        self.envelope_size = 0
        self.parts: list[bytes] = []
        self.gathered = 0
        """Octets of the parts."""
        self.handed_on = False
        self.size = 0
        self.header_size = 0
        self.too_large = False

    def keep(self, data: bytes, limit: int) -> None:
        """Take the next bytes of the content."""
        self.size += len(data)
        if self.size > limit:
            self.too_large = True
            self.parts.clear()
        else:
            self.parts.append(data)
            self.gathered += len(data)

    def piece(self) -> Piece | None:
        """Return what has gathered when it is enough to be handed on."""
        if self.gathered < PIECE_BYTES or self.too_large:
            return None
        content = b"".join(self.parts)
        self.parts.clear()
        self.gathered = 0
        self.handed_on = True
        return Piece(content)


class MilterSession:
    """One conversation with a mail system: any number of clients, and of messages of each, one after the other."""

    def __init__(self, size_limit: int = 0, content_limit: int = 0) -> None:
        """Of a message larger than `size_limit` or `content_limit` octets nothing is kept (0: no such limit). With a
        `size_limit` the mail system is told to skip the rest, for which it waits for an answer to each piece of a body.
        """
        self._limit = min(limit for limit in (size_limit, content_limit, 1 << 62) if limit)
        self._may_skip = bool(size_limit)
        self._rest = bytearray()
        self._output = bytearray()
        self._spoken: frozenset[int] = frozenset()
        """Commands the mail system waits for an answer to."""
        self._skips = False
        self._client = MilterClient()
        self._helo = b""
        self._client_macros: dict[bytes, bytes] = {}
        self._draft = _Draft({})
        self._acts: dict[int, Callable[[bytes], Event | None]] = {
            ord("O"): self._negotiate,
            ord("D"): self._macros,
            ord("C"): self._connect,
            ord("H"): self._hello,
            ord("M"): self._mail,
            ord("R"): self._recipient,
            ord("N"): self._end_of_header,
            ord("B"): self._body,
            ord("E"): self._end_of_message,
            ord("A"): self._abort,
            ord("K"): self._next_client,
            ord("Q"): self._quit,
        }
        """DATA and unknown SMTP commands tell nothing we need."""
        self.state = State.START
        self.version = 0
        self.exact_values = False
        """Whether header values are told, and taken, with the blank behind the colon."""

    @property
    def partial(self) -> bool:
        """Whether a packet has begun and is not complete."""
        return bool(self._rest)

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        self._rest += data

    def take_output(self) -> bytes:
        """Return what is to be sent now, once."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def finish(self) -> None:
        """Note that the answer to the `MilterMessage` is given; the next message may come."""
        self._draft = _Draft({})
        self.state = State.SESSION

    def next_event(self) -> Event | None:
        """Return what has happened, None when more bytes are needed or an answer is due. MilterError."""
        rest = self._rest
        at = 0
        event: Event | None = None
        try:
            while event is None and self.state < State.ANSWER and (end := self._packet_end(at)):
                command = rest[at + 4]
                self._check(command)
                if command == _HEADER:
                    at += self._headers(bytes(rest[at:]) if at else bytes(rest))
                    event = self._draft.piece()
                    continue
                data = bytes(rest[at + 5 : end])
                at = end
                event = self._take(command, data)
        except MilterError:
            self.state = State.CLOSED
            raise
        finally:
            del rest[:at]
        return event

    # --- commands

    def _packet_end(self, at: int) -> int:
        """Return where the packet at `at` ends, 0 while it is not complete. MilterError."""
        rest = self._rest
        if len(rest) < at + _HEAD.size:
            return 0
        size, _ = _HEAD.unpack_from(rest, at)
        _check_size(size)
        end = at + 4 + int(size)
        return end if len(rest) >= end else 0

    def _check(self, command: int) -> None:
        rule = _COMMANDS.get(command)
        if rule is None:
            raise MilterError(f"command {chr(command)!a} is unknown")
        if self.state not in rule[0]:
            raise MilterError(f"command {chr(command)!a} in state {self.state.name}")

    def _take(self, command: int, data: bytes) -> Event | None:
        act = self._acts.get(command)
        event = act(data) if act is not None else None
        if command in self._spoken:
            self._output += _SKIP if command == _BODY and self._skips and self._draft.too_large else _CONTINUE
        return event

    def _headers(self, data: bytes) -> int:
        """Take the complete header packets that `data` begins with; return their octets. MilterError.

        They are most of a message's packets: one loop for all of them takes a fifth of the time (`make bench`).
        """
        fields: list[bytes] = []
        at = 0
        limit = len(data)
        while at + _HEAD.size <= limit:
            size, command = _HEAD.unpack_from(data, at)
            end = at + 4 + size
            if command != b"L" or end > limit:
                break
            start = at + 5
            zero = data.find(b"\0", start, end)
            if zero <= start or data[end - 1] or zero == end - 1:
                if fields:
                    break  # those before it count
                raise MilterError("a header field without name or value")
            colon = b":" if self.exact_values or zero == end - 2 else b": "
            fields.append(data[start:zero] + colon + data[zero + 1 : end - 1])
            at = end
        block = b"\n".join(fields)
        if b"\r" in block:  # of folded values; another one is the mail's own
            block = b"\n".join([field.replace(b"\r\n", b"\n") for field in fields])
        self.state = State.HEADER
        self._draft.keep(block.replace(b"\n", b"\r\n") + b"\r\n", self._limit)
        if _HEADER in self._spoken:
            self._output += _CONTINUE * len(fields)
        return at

    def _negotiate(self, data: bytes) -> None:
        if len(data) < _OPTIONS.size:
            raise MilterError("options are cut off")
        version, raw_actions, raw_steps = _OPTIONS.unpack_from(data)
        if version < OLDEST:
            raise MilterError(f"version {version} is too old")
        if missing := NEEDED & ~Actions(raw_actions & _ACTION_BITS):
            raise MilterError(f"the mail system does not allow {missing!r}")
        steps = (_WISHED if self._may_skip else _WISHED | Steps.SILENT_BODY) & raw_steps
        actions = (NEEDED | Actions.QUARANTINE | Actions.ASK_MACROS) & raw_actions
        self.version = min(version, VERSION)
        self.exact_values = Steps.EXACT_VALUES in steps
        self._skips = Steps.SKIP in steps
        self._spoken = frozenset(
            command for command, (_, silent) in _COMMANDS.items() if silent is not None and silent not in steps
        )
        answer = _OPTIONS.pack(self.version, actions, steps)
        if Actions.ASK_MACROS in actions:
            answer += b"".join(_LONG.pack(stage) + names + b"\0" for stage, names in _ASKED)
        self._output += _HEAD.pack(len(answer) + 1, _OPTNEG) + answer
        self.state = State.READY

    def _connect(self, data: bytes) -> None:
        name, zero, rest = data.partition(b"\0")
        if not zero or not rest or rest[0] not in _FAMILIES:
            raise MilterError("a client without name or family")
        family = Family(rest[0])
        address, port = b"", 0
        if family is not Family.UNKNOWN:
            if len(rest) < 1 + _PORT.size:
                raise MilterError("a client's address is cut off")
            (port,) = _PORT.unpack_from(rest, 1)
            address = rest[1 + _PORT.size :].partition(b"\0")[0]
        self._client = MilterClient(name[:WORD_LIMIT], family, address[:WORD_LIMIT], port)
        self.state = State.SESSION

    def _macros(self, data: bytes) -> None:
        if not data:
            raise MilterError("macros of no command")
        words = data[1:].split(b"\0")
        kept = self._client_macros if data[0] in b"CH" else self._draft.macros
        for name, value in zip(words[::2], words[1::2], strict=False):
            if name in _KEPT:
                kept[name] = value[:MACRO_LIMIT]

    def _hello(self, data: bytes) -> None:
        self._helo = _texts(data)[0][:WORD_LIMIT]

    def _mail(self, data: bytes) -> None:
        # A second MAIL: another filter refused the sender before, and nobody told us.
        self._draft = _Draft(self._draft.macros)
        self._draft.sender = _texts(data)[0][:WORD_LIMIT]
        self.state = State.ENVELOPE

    def _recipient(self, data: bytes) -> None:
        address = _texts(data)[0]
        draft = self._draft
        draft.envelope_size += len(address) + _RECIPIENT_COST
        if draft.envelope_size > ENVELOPE_LIMIT:
            raise MilterError(f"recipients of more than {ENVELOPE_LIMIT} bytes")
        draft.recipients.append(address)

    def _end_of_header(self, _: bytes = b"") -> None:
        self.state = State.BODY
        self._draft.keep(b"\r\n", self._limit)
        self._draft.header_size = self._draft.size

    def _body(self, data: bytes) -> Piece | None:
        if self.state is not State.BODY:
            self._end_of_header()
        self._draft.keep(data, self._limit)
        return self._draft.piece()

    def _end_of_message(self, data: bytes) -> MilterMessage:
        draft = self._draft
        if self.state is not State.BODY:
            self._end_of_header()
        draft.keep(data, self._limit)
        self.state = State.ANSWER
        return MilterMessage(
            self._client,
            self._helo,
            draft.sender,
            tuple(draft.recipients),
            self._client_macros | draft.macros,
            b"".join(draft.parts),
            draft.size,
            draft.header_size,
            draft.too_large,
        )

    def _abort(self, _: bytes = b"") -> Dropped | None:
        dropped = Dropped() if self._draft.handed_on else None
        self._draft = _Draft({})
        if self.state is not State.READY:
            self.state = State.SESSION
        return dropped

    def _next_client(self, _: bytes) -> Dropped | None:
        dropped = self._abort()
        self._client = MilterClient()
        self._helo = b""
        self._client_macros = {}
        self.state = State.READY
        return dropped

    def _quit(self, _: bytes) -> Ended:
        self.state = State.CLOSED
        return Ended()


def _check_size(size: int) -> None:
    if not 1 <= size <= PACKET_LIMIT:
        raise MilterError(f"a packet of {size} bytes")


def _texts(data: bytes) -> list[bytes]:
    """Return the texts of a packet, each of which ends with a NUL. MilterError."""
    if not data or data[-1]:
        raise MilterError("a text without an end")
    return data[:-1].split(b"\0")
