"""The milter protocol, filter side: what Sendmail and Postfix say to a filter, versions 2 to 6.

Called by `service.milter_door`. Bytes in, messages out. Promises: a message is put together as the mail system has it,
byte for byte where the protocol carries it (exact header values from version 6 on; earlier the blank behind a colon is
guessed); memory is bounded by the limits below, whatever a mail system sends; what breaks the protocol raises
`MilterError`, and the connection is to be closed.

The least traffic that serves us is asked for: no steps we have no use for, no answers of ours before the end of a
message, only the macros in `_ASKED`. Answers are built by `wire.milter_answers`.
"""

import enum
import functools
import struct
from collections.abc import Callable
from typing import Final

import msgspec

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

_HEAD: Final = struct.Struct("!IB")
_LONG: Final = struct.Struct("!I")
_OPTIONS: Final = struct.Struct("!III")
_PORT: Final = struct.Struct("!H")
_OPTNEG: Final = ord("O")
_CONTINUE: Final = _HEAD.pack(1, ord("c"))
_SKIP: Final = _HEAD.pack(1, ord("s"))
_BODY: Final = ord("B")
_HEADER: Final = ord("L")
_MACROS: Final = ord("D")
_ACTION_BITS: Final = 0x1FF
_FAMILIES: Final = {family.value: family for family in Family}
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
    (3, b"i"),
    (5, b"i"),
)
"""Macros by stage: connect, HELO, MAIL, RCPT, end of message (SETSYMLIST of SMFIC_OPTNEG). Sendmail tells its queue id
at MAIL, Postfix has none before the end. To Postfix an empty list means its own, which at RCPT has it resolve the
address.
"""
_TELLING: Final = b"CHME"
"""Steps whose macros are looked at: others tell no more, and Postfix repeats them with every header field."""
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


# Tuples: a member is found by its identity, where a set would ask for its hash, which is a call.
_ANY: Final = (State.READY, State.SESSION, State.ENVELOPE, State.HEADER, State.BODY)
_TALK: Final = (State.SESSION, State.ENVELOPE)
_LATE: Final = (State.ENVELOPE, State.HEADER, State.BODY)
_DEAF: Final = (State.ANSWER, State.CLOSED)
"""Nothing is taken: an answer is due, or it is over."""
_SILENT: Final = {
    ord("C"): Steps.SILENT_CONNECT.value,
    ord("H"): Steps.SILENT_HELO.value,
    ord("M"): Steps.SILENT_MAIL.value,
    ord("R"): Steps.SILENT_RCPT.value,
    ord("T"): Steps.SILENT_DATA.value,
    ord("U"): Steps.SILENT_UNKNOWN.value,
    ord("L"): Steps.SILENT_HEADER.value,
    ord("N"): Steps.SILENT_END_OF_HEADER.value,
    ord("B"): Steps.SILENT_BODY.value,
}
"""The agreement by which a command goes unanswered; those that are not here always do."""


class _Agreement(msgspec.Struct, frozen=True):
    """What mail system and filter have agreed on."""

    version: int
    steps: Steps
    spoken: frozenset[int]
    """Commands the mail system waits for an answer to."""
    answer: bytes
    """The packet that says so."""


@functools.lru_cache(maxsize=16)  # the same again with every connection of a mail system
def _agree(offered: bytes, *, may_skip: bool) -> _Agreement:
    """Return what is agreed with a mail system that offers these options. MilterError."""
    version, raw_actions, raw_steps = _OPTIONS.unpack(offered)
    if version < OLDEST:
        raise MilterError(f"version {version} is too old")
    if missing := NEEDED & ~Actions(raw_actions & _ACTION_BITS):
        raise MilterError(f"the mail system does not allow {missing!r}")
    steps = (_WISHED if may_skip else _WISHED | Steps.SILENT_BODY) & raw_steps
    actions = (NEEDED | Actions.QUARANTINE | Actions.ASK_MACROS) & raw_actions
    version = min(version, VERSION)
    answer = _OPTIONS.pack(version, actions, steps)
    if Actions.ASK_MACROS in actions:
        answer += b"".join(_LONG.pack(stage) + names + b"\0" for stage, names in _ASKED)
    spoken = frozenset(command for command, silent in _SILENT.items() if not silent & steps)
    return _Agreement(version, Steps(steps), spoken, _HEAD.pack(len(answer) + 1, _OPTNEG) + answer)


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
        self._rest = b""
        self._at = 0
        """So much of it has been taken."""
        self._fed = bytearray()
        self._unread = 0
        """Octets behind `_at`, in `_rest` and `_fed`."""
        self._wanted = _HEAD.size
        """Octets without which the next packet is not complete."""
        self._output = bytearray()
        self._spoken: frozenset[int] = frozenset()
        """Commands the mail system waits for an answer to."""
        self._skips = False
        self._client = MilterClient()
        self._helo = b""
        self._client_macros: dict[bytes, bytes] = {}
        self._draft = _Draft({})
        self.state = State.START
        self.version = 0
        self.exact_values = False
        """Whether header values are told, and taken, with the blank behind the colon."""

    @property
    def partial(self) -> bool:
        """Whether a packet has begun and is not complete."""
        return self._unread > 0

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        self._fed += data
        self._unread += len(data)

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
        if self._unread < self._wanted or self.state in _DEAF:
            return None
        if self._fed:
            self._rest = self._rest[self._at :] + bytes(self._fed)
            self._fed.clear()
            self._at = 0
        try:
            return self._read_on()
        except MilterError:
            self.state = State.CLOSED
            raise

    # --- commands

    def _read_on(self) -> Event | None:
        """Take packets up to the one that makes an event."""
        rest, at = self._rest, self._at
        limit = len(rest)
        event: Event | None = None
        self._wanted = _HEAD.size
        while event is None and self.state not in _DEAF and at + _HEAD.size <= limit:
            size, command = _HEAD.unpack_from(rest, at)
            if not 1 <= size <= PACKET_LIMIT:
                raise MilterError(f"a packet of {size} bytes")
            end = at + 4 + size
            if end > limit:
                self._wanted = end - at
                break
            rule = _COMMANDS.get(command)
            if rule is None:
                raise MilterError(f"command {chr(command)!a} is unknown")
            states, act = rule
            if self.state not in states:
                raise MilterError(f"command {chr(command)!a} in state {self.state.name}")
            if command == _HEADER:
                at = self._headers(rest, at)
                event = self._draft.piece()
                continue
            event = act(self, rest[at + 5 : end]) if act is not None else None
            at = end
            if command in self._spoken:
                self._output += _SKIP if command == _BODY and self._skips and self._draft.too_large else _CONTINUE
        self._unread = limit - at
        self._rest, self._at = (rest, at) if at < limit else (b"", 0)
        return event

    def _headers(self, data: bytes, at: int) -> int:
        """Take the complete header packets that stand at `at`; return where they end. MilterError.

        They, and the macros between them, are most of a message's packets: one loop for all of them takes a fifth of
        the time (`make bench`).
        """
        fields: list[bytes] = []
        limit = len(data)
        while at + _HEAD.size <= limit:
            size, command = _HEAD.unpack_from(data, at)
            end = at + 4 + size
            if end > limit:
                break
            start = at + 5
            if command == _HEADER:
                zero = data.find(b"\0", start, end)
                if zero <= start or data[end - 1] or zero == end - 1:
                    if fields:
                        break  # those before it count
                    raise MilterError("a header field without name or value")
                colon = b":" if self.exact_values or zero == end - 2 else b": "
                fields.append(data[start:zero] + colon + data[zero + 1 : end - 1])
            elif command != _MACROS or size < 2 or data[start] in _TELLING:
                break
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
        agreed = _agree(data[: _OPTIONS.size], may_skip=self._may_skip)
        self.version = agreed.version
        self.exact_values = Steps.EXACT_VALUES in agreed.steps
        self._skips = Steps.SKIP in agreed.steps
        self._spoken = agreed.spoken
        self._output += agreed.answer
        self.state = State.READY

    def _connect(self, data: bytes) -> None:
        name, _, rest = data.partition(b"\0")
        family = _FAMILIES.get(rest[0]) if rest else None
        if family is None:
            raise MilterError("a client without name or family")
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
        if data[0] not in _TELLING:
            return
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


def _texts(data: bytes) -> list[bytes]:
    """Return the texts of a packet, each of which ends with a NUL. MilterError."""
    if not data or data[-1]:
        raise MilterError("a text without an end")
    return data[:-1].split(b"\0")


_COMMANDS: Final[dict[int, tuple[tuple[State, ...], Callable[[MilterSession, bytes], Event | None] | None]]] = {
    ord("O"): ((State.START,), MilterSession._negotiate),
    ord("D"): (_ANY, MilterSession._macros),
    ord("C"): ((State.READY,), MilterSession._connect),
    ord("H"): (_TALK, MilterSession._hello),
    ord("M"): (_TALK, MilterSession._mail),
    ord("R"): ((State.ENVELOPE,), MilterSession._recipient),
    ord("T"): ((State.ENVELOPE,), None),
    ord("U"): (_TALK, None),
    ord("L"): ((State.ENVELOPE, State.HEADER), None),
    ord("N"): ((State.ENVELOPE, State.HEADER), MilterSession._end_of_header),
    ord("B"): (_LATE, MilterSession._body),
    ord("E"): (_LATE, MilterSession._end_of_message),
    ord("A"): (_ANY, MilterSession._abort),
    ord("K"): (_ANY, MilterSession._next_client),
    ord("Q"): ((*_ANY, State.START), MilterSession._quit),
}
"""Each command: the states it is legal in, and what is done about it. DATA and unknown SMTP commands tell nothing we
need; header fields are read by `MilterSession._headers`.
"""
