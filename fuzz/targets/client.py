"""The sending SMTP session: any server, in any pieces, over SMTP and LMTP, by DATA and BDAT, with TLS or without.

Five bytes say how (settings, transactions, how the bytes are cut, when the shell gives up), the rest is what the server
says; `~TLS~` in it is where it goes on under TLS if the session has asked for it. Every recipient must be accounted
for once, nothing may count as delivered that the server did not take, and what leaves must read, for a peer that knows
only the framing, as commands of ours and the very content.
"""

import functools
import re
from collections.abc import Iterator
from typing import Final

from gatepost.model.envelope import Body, Notify, Recipient, Ret
from gatepost.smtp.chunk_writer import CHUNK_SIZE
from gatepost.smtp.client import (
    ClientSession,
    ClientSettings,
    Closed,
    Event,
    Outcome,
    Phase,
    Ready,
    Refused,
    SendData,
    StartTls,
    TlsState,
    TlsUse,
    Transaction,
)
from gatepost.smtp.reply_parser import LINE_LIMIT, LINES_LIMIT

from .cutting import WHOLE, cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 500

_HEAD: Final = 5
_TLS: Final = b"~TLS~"
_LONG: Final = ((b"~L~", b"x" * LINE_LIMIT), (b"~M~", b"250-x\r\n" * LINES_LIMIT))
_COMMAND = re.compile(
    rb"(?:EHLO|HELO|LHLO) gate\.example\.com|STARTTLS|MAIL FROM:<[^<>\r\n]*>[ -~]*|RCPT TO:<[^<>\r\n]*>[ -~]*|DATA|RSET|QUIT"
)
_CHUNK = re.compile(rb"BDAT ([0-9]+)( LAST)?")
_CONTENTS: Final = (
    b"Subject: x\r\n\r\ntext\r\n",
    b"a\r\n.\r\nQUIT\r\n..\r\n.",
    b"\r.\n.\nBDAT 3 LAST\r\n\r",
    b"",
)
_BIG: Final = b"y" * (CHUNK_SIZE - 1) + b"\r"
"""Enough for a piece of its own, with a CR at its end of which nobody knows yet whether it is bare."""
_ADDRESSES: Final = ("b@example.org", "c@example.org", "d e@example.org", "\u00e4@\u00f6.example", "root")


@functools.lru_cache(maxsize=256)
def _settings(wanted: int) -> ClientSettings:
    return ClientSettings(
        "gate.example.com",
        pipelining=bool(wanted & 1),
        chunking=bool(wanted & 2),
        lmtp=bool(wanted & 4),
        tls=(TlsUse.NONE, TlsUse.MAY, TlsUse.ENCRYPT, TlsUse.MAY)[wanted >> 3 & 3],
    )


@functools.lru_cache(maxsize=4096)
def _transaction(kind: int, number: int) -> Transaction:
    count = 1 + (kind >> 2 & 3)
    first = (kind >> 4) + number
    return Transaction(
        ("a@example.com", "", "\u00e4@example.com", "a@example.com")[first & 3],
        tuple(
            Recipient(
                _ADDRESSES[(first + each * (1 + (kind & 1))) % 5], (Notify.NEVER,) if kind & 8 else (), "rfc822;x"
            )
            for each in range(count)
        ),
        size=(0, 20, 100_000)[(kind >> 1) % 3],
        body=(Body.SEVEN_BIT, Body.EIGHT_BIT, Body.BINARY)[(kind >> 3) % 3],
        ret=Ret.HEADERS if kind & 16 else None,
        envid="e" if kind & 32 else "",
        smtputf8=bool(kind & 64),
        header_utf8=bool(kind & 128),
    )


class _Visit:
    """A session and its shell, which starts transactions while it may."""

    def __init__(self, settings: ClientSettings, data: bytes) -> None:
        self.session = ClientSession(settings, tls_active=bool(data[0] & 64))
        self.events: list[Event] = []
        self.output: list[bytes] = []
        self._lmtp = settings.lmtp
        self._kind = data[1]
        self._wanted = data[2] & 3
        self._content = _CONTENTS[data[2] >> 2 & 3]
        self._big = data[2] & 0xF0 == 0xF0
        self._under_way: Transaction | None = None
        self.started = 0
        self.sent: list[bytes] = []
        """Content that was given, of each transaction that asked for it."""

    def work(self) -> None:
        session = self.session
        while (event := session.next_event()) is not None:
            self._take(event)
            if session.waiting is Phase.IDLE:  # at once: what the server has said too early is the same in any pieces
                self._go_on()
        self.output.append(session.take_output())
        assert session.closed or len(session._parser._buffer) < LINE_LIMIT
        assert session.closed or len(session._parser._lines) < LINES_LIMIT

    def _take(self, event: Event) -> None:
        self.events.append(event)
        session = self.session
        match event:
            case SendData():
                assert self._under_way is not None
                if not session.sending:
                    return
                self.sent.append(self._content)
                half = len(self._content) // 2
                session.send_data(self._content[:half])
                if self._big:
                    self.sent[-1] = self._content[:half] + _BIG + self._content[half:]
                    session.send_data(_BIG)
                    self.output.append(session.take_output())
                session.send_data(self._content[half:])
                session.finish_data()
                self.output.append(session.take_output())
            case Outcome() | Closed():
                under_way = self._under_way
                if under_way is None:
                    assert type(event) is Closed
                    assert not event.recipients
                else:
                    assert [each.index for each in event.recipients] == list(range(len(under_way.recipients)))
                    if type(event) is Closed and not self._lmtp:
                        assert not any(each.reply.positive for each in event.recipients)
                    assert type(event) is not Outcome or event.reusable or session.closed
                self._under_way = None
            case Refused():
                assert self._under_way is None
                assert not event.reply.positive
            case Ready():
                assert self._under_way is None

    def _go_on(self) -> None:
        session = self.session
        if self.started > self._wanted:
            session.quit()
            return
        assert self._under_way is None
        self._under_way = _transaction(self._kind, self.started)
        self.started += 1
        session.start(self._under_way)


def execute(data: bytes) -> None:
    """Let the server of the input talk to a session, and look at what became of it."""
    if len(data) < _HEAD:
        return
    settings = _settings(data[0] & 31)
    stream = data[_HEAD:]
    for short, long in _LONG:
        if short in stream:
            stream = stream.replace(short, long, 2)
    clear, _, encrypted = stream.partition(_TLS)
    visit = _talk(settings, data, clear, encrypted, data[3])
    ended = [event for event in visit.events if isinstance(event, Outcome | Closed) and event.recipients]
    assert len(ended) == visit.started
    output = b"".join(visit.output)
    _Reader(visit, output).read(settings)
    if data[4] & 7 == 7 and data[3] >= WHOLE and settings.tls is TlsUse.NONE:
        whole = _talk(settings, data, clear, encrypted, 0)
        assert b"".join(whole.output) == output
        assert whole.events == visit.events


def _talk(settings: ClientSettings, data: bytes, clear: bytes, encrypted: bytes, cuts: int) -> _Visit:
    visit = _Visit(settings, data)
    session = visit.session
    for piece in cut(clear, cuts):
        session.feed(piece)
        visit.work()
    if session.waiting is Phase.HANDSHAKE:
        assert type(visit.events[-1]) is StartTls
        session.tls_started()
        visit.work()
    for piece in cut(encrypted, cuts):
        session.feed(piece)
        visit.work()
    if data[4] & 8 and not session.closed:
        session.timeout()
    session.eof()
    visit.work()
    assert session.closed
    session.feed(b"250 ok\r\n")
    assert session.next_event() is None
    assert session.take_output() == b""
    return visit


class _Reader:
    """Reads what left by nothing but its framing."""

    def __init__(self, visit: _Visit, output: bytes) -> None:
        self._output = output
        self._sent = iter(visit.sent)
        self._visit = visit

    def read(self, settings: ClientSettings) -> None:
        """AssertionError when there is anything but commands and content that was given."""
        output = self._output
        position = 0
        mails = 0
        binary = False
        pieces: list[bytes] = []
        content = iter(self._sent)
        secure = self._visit.session.tls is TlsState.ACTIVE
        data_asked = False
        while position < len(output):
            end = output.find(b"\r\n", position)
            assert end >= 0, "half a command"
            line = output[position:end]
            chunk = _CHUNK.fullmatch(line)
            if chunk is not None:
                start = end + 2
                position = start + int(chunk[1])
                assert position <= len(output)
                pieces.append(output[start:position])
                if chunk[2]:
                    self._compare(b"".join(pieces), next(content), binary=binary)
                    pieces = []
                continue
            if _COMMAND.fullmatch(line) is None:
                # Content by DATA stands where the session was asked for it, an empty message for nobody included.
                assert data_asked, line
                stop = output.find(b"\r\n.\r\n", position)
                stop = position - 2 if output.startswith(b".\r\n", position) else stop
                assert stop >= 0
                raw = output[position : stop + 2]
                plain = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n")[2:] if raw else raw
                position = stop + 5
                data_asked = False
                if plain or stop >= position - 3:
                    self._compare(plain, next(content, b""), binary=False)
                continue
            position = end + 2
            if line.startswith(b"MAIL"):
                mails += 1
                binary = b" BODY=BINARYMIME" in line
                pieces = []
                assert settings.tls is not TlsUse.ENCRYPT or secure
            data_asked = data_asked or line == b"DATA"
        assert mails <= self._visit.started

    def _compare(self, found: bytes, given: bytes, *, binary: bool) -> None:
        if not binary:
            given = given.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
            if given and not given.endswith(b"\r\n"):
                given += b"\r\n"
        assert found == given


WORDS: Final = (
    b"220 hi\r\n", b"250 ok\r\n", b"250-x\r\n", b"250-PIPELINING\r\n", b"250-CHUNKING\r\n", b"250-BINARYMIME\r\n", b"250-STARTTLS\r\n",
    b"250-SMTPUTF8\r\n", b"250-8BITMIME\r\n", b"250-DSN\r\n", b"250-SIZE 50\r\n", b"250 DSN\r\n", b"354 go\r\n", b"421 bye\r\n",
    b"450 4.2.1 later\r\n", b"452 4.5.3 many\r\n", b"550 5.1.1 no\r\n", b"503 5.5.1 bad\r\n", b"221 bye\r\n", b"250 2.1.5 ok\r\n",
    b"220 go\r\n~TLS~", b"454 no\r\n", b"~TLS~", b"~L~", b"~M~", b"\r\n", b"\n", b"250", b"999 x\r\n", b"251 will\r\n", b"554 no\r\n",
)  # fmt: skip

_HELLO: Final = b"220 hi\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 DSN\r\n"
_OK: Final = b"250 ok\r\n"
_STREAMS: Final = (
    _HELLO + _OK * 2 + b"354 go\r\n" + _OK + b"221 bye\r\n",
    _HELLO + _OK * 3 + b"221 bye\r\n",
    _HELLO + b"220 go\r\n~TLS~" + _HELLO[8:] + _OK + b"550 no\r\n" + _OK * 3 + b"221 bye\r\n",
    b"220 hi\r\n500 what\r\n250 x\r\n" + _OK * 2 + b"354 go\r\n452 4.3.1 full\r\n" + _OK * 2 + b"450 later\r\n550 no\r\n",
    _HELLO + _OK + b"452 4.5.3 many\r\n250 ok\r\n354 go\r\n250 ok\r\n421 4.3.2 bye\r\n",
    b"554 no\r\n",
    b"220-hi\r\n220 hi\r\n250-x\r\n250 SIZE 50\r\n" + _OK * 4 + b"~L~\r\n",
    _HELLO + b"250 ok\r\n550 no\r\n354 go\r\n250 ok\r\n250 ok\r\n550 no\r\n550 no\r\n503 x\r\n",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield every stream for several settings and transactions."""
    for number, stream in enumerate(_STREAMS):
        for wanted, kind, how in (
            (1, 1, 1),
            (3, 5, 4),
            (7, 8, 9),
            (0, 64, 0xF5),
            (3, 5, 0xF9),
            (11, 22, 2),
            (19, 0, 1),
        ):
            yield bytes((wanted, kind, how, number * 30, 7)) + stream
