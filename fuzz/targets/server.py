"""The receiving SMTP session: any bytes, in any pieces, under any settings and any decisions of its shell.

Six bytes say how (settings, limits, what the shell decides, how the bytes are cut, what happens besides), the rest is
what the client sends; `~TLS~` in it is where the client goes on under TLS if the session has agreed to it. Checked
against a reader of its own, which knows nothing but the framing of RFC 5321 and RFC 3030: one reply for each command,
content to the octet, nothing behind the end.
"""

import functools
import re
from collections.abc import Iterator
from typing import Final

from gatepost.model.reply import Reply, reply
from gatepost.smtp.content import LineFeedPolicy
from gatepost.smtp.input import COMMAND_LIMIT, SIGN_IN_LIMIT
from gatepost.smtp.server import (
    ClientOverride,
    DataAborted,
    DataBegin,
    DataChunk,
    DataEnd,
    Event,
    Hello,
    MailFrom,
    RcptTo,
    ServerSession,
    ServerSettings,
    SignIn,
    StartTls,
    Waiting,
)
from gatepost.smtp.server_core import Phase

from .cutting import WHOLE, cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 400
"""A dozen commands and some content: longer inputs are slower and reach nothing more."""

_HEAD: Final = 6
_TLS: Final = b"~TLS~"
_LONG: Final = ((b"~L~", b"x" * (COMMAND_LIMIT - 2)), (b"~XL~", b"x" * SIGN_IN_LIMIT))
"""Stand for lines that are too long, so that inputs can stay short."""

_REPLIES = re.compile(rb"(?:[2-5][0-9][0-9]-[ -~]{0,506}\r\n)*([2-5][0-9][0-9]) ([ -~]{0,506})\r\n")
_AT_END: Final = "at the end"
_BARE: Final = b"lines must end with <CRLF>"
_DECISIONS: Final = (
    reply(550, "5.7.1", "no"),
    reply(451, "4.7.1", "later"),
    reply(421, "4.3.2", "gone"),
    reply(250, "2.0.0", "yes"),
)
_END_DECISIONS: Final = tuple(Reply(each.code, each.enhanced, (_AT_END,)) for each in _DECISIONS)
_STEP_DECISIONS: Final = (*_DECISIONS[:3], None)  # a shell has no words of its own for going on with content or TLS


@functools.lru_cache(maxsize=4096)
def _settings(wanted: int, more: int) -> ServerSettings:
    small = bool(more & 4)
    return ServerSettings(
        "mx.example.com",
        size_limit=90 if small else 6000,
        session_bytes_limit=200 if small else 15000,
        messages_limit=3 if small else 8,
        recipients_limit=2 if small else 4,
        hops_limit=2,
        bare_line_feed=LineFeedPolicy.REJECT if wanted & 128 else LineFeedPolicy.FIX,
        starttls=bool(wanted & 1),
        auth=("PLAIN", "LOGIN") if wanted & 2 else (),
        chunking=bool(wanted & 4),
        binarymime=bool(wanted & 8),
        smtputf8=bool(wanted & 16),
        xclient=bool(wanted & 32),
        xforward=bool(wanted & 64),
        require_tls=bool(more & 1),
        require_auth=bool(more & 2),
    )


class _Visit:
    """A session, what its shell heard of it, and what must hold between two events."""

    def __init__(self, settings: ServerSettings, decisions: int, *, encrypted: bool) -> None:
        self.session = ServerSession(settings, "192.0.2.1", ("TLSv1.3", "AES") if encrypted else None)
        self.output: list[bytes] = []
        self.contents: list[tuple[bytes, bool]] = []
        """Content and whether it was declared binary, of every message that came to its end."""
        self.events: list[Event] = []
        """All but pieces of content."""
        self.closed_itself = False
        """The session ended before its client did."""
        self._settings = settings
        self._decisions = decisions
        self._asked = 0
        self._content: list[bytes] | None = None
        self._sender: MailFrom | None = None
        self._recipients = 0
        self._messages = 0
        self._bytes = 0

    def work(self) -> None:
        session = self.session
        while (event := session.next_event()) is not None:
            if type(event) is DataChunk:
                assert self._content is not None
                assert event.data
                self._content.append(event.data)
                continue
            self.events.append(event)
            if session.waiting is Waiting.DECISION:
                decision = self._decide(event)
                self._check(event, decision is None or decision.positive)
                session.answer(decision)
            else:
                assert session.closed or not isinstance(event, Hello | MailFrom | RcptTo | DataBegin | DataEnd | SignIn)
                if type(event) is DataAborted:
                    assert self._content is not None
                    self._content = None
        self.output.append(session.take_output())
        held = session._input
        assert len(held._bytes) - held._position <= SIGN_IN_LIMIT

    def _decide(self, event: Event) -> Reply | None:
        self._asked += 1
        if not self._decisions:
            return None
        number = ((self._decisions * (self._asked + 6) * 73) >> 3) & 15
        if number > 3:
            return None
        if isinstance(event, DataBegin | StartTls):
            return _STEP_DECISIONS[number]
        return (_END_DECISIONS if type(event) is DataEnd else _DECISIONS)[number]

    def _check(self, event: Event, accepted: bool) -> None:
        """Look whether the event may come here, and note what it leads to."""
        settings = self._settings
        session = self.session
        match event:
            case StartTls():
                assert settings.starttls
                assert not session.tls
            case ClientOverride():
                assert settings.xclient
            case MailFrom():
                assert session._phase is Phase.READY
                assert not settings.require_tls or session.tls
                assert not settings.require_auth or session.user
                assert event.smtputf8 <= settings.smtputf8
                assert event.address.isascii() or event.smtputf8
                assert self._messages < settings.messages_limit
                if accepted:
                    self._sender = event
                    self._recipients = 0
                    self._messages += 1
            case RcptTo():
                assert session._phase in {Phase.SENDER, Phase.RECIPIENTS}
                assert self._sender is not None
                assert event.recipient.address.isascii() or self._sender.smtputf8
                assert self._recipients < settings.recipients_limit
                self._recipients += accepted
            case DataBegin():
                assert session._phase is Phase.RECIPIENTS
                assert self._recipients
                assert self._content is None
                if accepted:
                    self._content = []
            case DataEnd():
                assert self._content is not None
                content = b"".join(self._content)
                self._bytes += len(content)
                assert event.size == len(content) <= settings.size_limit
                assert self._bytes <= settings.session_bytes_limit
                assert event.received_fields <= settings.hops_limit
                assert event.nul == (b"\0" in content)
                assert event.eight_bit != content.isascii()
                self.contents.append((content, event.binary))
                self._content = None
            case SignIn():
                assert session.tls
                assert settings.auth
                assert 0 < len(event.user.encode()) <= 255


def execute(data: bytes) -> None:
    """Serve the input, and compare what came out with what went in."""
    if len(data) < _HEAD:
        return
    settings = _settings(data[0], data[1] & 7)
    besides = data[4]
    stream = data[_HEAD:]
    for short, long in _LONG:
        if short in stream:
            stream = stream.replace(short, long, 2)
    clear, _, encrypted = stream.partition(_TLS)
    interrupted = besides & 7
    visit = _serve(settings, data, clear, encrypted, data[3])
    if interrupted not in {1, 2}:
        _Reader(settings, visit, clear, encrypted).read()
        if besides & 0x70 == 0x70 and data[3] >= WHOLE:
            whole = _serve(settings, data, clear, encrypted, 0)
            assert whole.output == visit.output or b"".join(whole.output) == b"".join(visit.output)
            assert whole.contents == visit.contents
            assert whole.events == visit.events


def _serve(settings: ServerSettings, data: bytes, clear: bytes, encrypted: bytes, cuts: int) -> _Visit:
    besides = data[4]
    interrupted = besides & 7
    visit = _Visit(settings, data[2], encrypted=bool(data[1] & 8))
    session = visit.session
    visit.output.append(session.greeting())
    for number, piece in enumerate(cut(clear, cuts), 1):
        session.feed(piece)
        visit.work()
        if interrupted == 1 and number == data[5] & 15:
            session.shutdown()
            visit.work()
        elif interrupted == 2 and number == data[5] & 15:
            session.timeout()
            visit.work()
            assert session.closed
    if session.waiting is Waiting.HANDSHAKE:
        session.tls_started("TLSv1.3", "AES", "CN=a" if besides & 8 else "")
    for piece in cut(encrypted, cuts):
        session.feed(piece)
        visit.work()
    visit.closed_itself = session.closed
    if not session.closed:
        session.eof()
        visit.work()
        assert session.closed
    session.feed(b"NOOP\r\nQUIT\r\n")
    if session.closed:
        assert session.next_event() is None
        assert session.take_output() == b""
    return visit


class _Reader:
    """Reads what the client sent by nothing but its framing, with the session's replies at hand."""

    def __init__(self, settings: ServerSettings, visit: _Visit, clear: bytes, encrypted: bytes) -> None:
        self._settings = settings
        self._stream = clear + encrypted
        self._boundary = len(clear)
        self._visit = visit
        self._replies = _split(b"".join(visit.output))
        next(self._replies)  # the greeting
        self._contents = iter(visit.contents)
        self._pieces: list[bytes] = []

    def read(self) -> None:
        """Walk over the stream; AssertionError when replies or contents do not fit."""
        stream = self._stream
        position = 0
        code = 0
        while (end := stream.find(b"\r\n", position)) >= 0:
            line = stream[position:end]
            position = end + 2
            in_exchange = code == 334
            chunk = None if in_exchange else self._chunk(line)
            if chunk is not None:
                octets, last = chunk
                code, text = next(self._replies, (0, b""))
                if code and not self._ended(code, text):
                    assert len(stream) - position >= octets, "a reply before the end of a chunk"
                elif not code:
                    assert len(stream) - position < octets or self._visit.closed_itself
                    break
                self._take_chunk(stream[position : position + octets], code, text, last=last)
                position += octets
                continue
            code, text = next(self._replies, (0, b""))
            if not code:
                assert self._visit.closed_itself, "a command without a reply"
                break
            verb = line[:9].rstrip(b" ").upper()
            if code == 354:
                position, code = self._take_data(position)
                if not code:
                    break
            elif code == 220 and verb == b"STARTTLS" and not in_exchange:
                self._pieces = []
                if position > self._boundary:
                    break
                position = self._boundary
            elif code < 400 and line[:4].upper() in {b"RSET", b"HELO", b"EHLO"} and not in_exchange:
                self._pieces = []
        else:
            tail = stream[position:]
            if b"\n" in tail or len(tail) >= COMMAND_LIMIT:
                next(self._replies, None)
        assert next(self._replies, None) is None, "a reply to nothing"
        assert next(self._contents, None) is None, "a message out of nothing"

    def _ended(self, code: int, text: bytes) -> bool:
        """Tell whether a reply may have come before the octets of a chunk: it closed the session."""
        return self._visit.closed_itself and (code in {421, 452, 552, 554} or text.endswith(b"at the end"))

    def _chunk(self, line: bytes) -> tuple[int, bool] | None:
        if not self._settings.chunking or line[:5].upper() != b"BDAT " or len(line) > COMMAND_LIMIT - 2:
            return None
        words = line.split(b" ")
        words = [word for word in words[1:] if word]
        if not words or len(words) > 2 or not words[0].isdigit() or len(words[0]) > 20:
            return None
        if len(words) == 2 and words[1].upper() != b"LAST":
            return None
        return int(words[0]), len(words) == 2

    def _take_chunk(self, octets: bytes, code: int, text: bytes, *, last: bool) -> None:
        if code == 550 and text.endswith(_BARE):
            self._blame(b"".join([*self._pieces, octets]), last=last)
        if last and (code == 250 or text.endswith(_AT_END.encode())):
            self._compare(b"".join([*self._pieces, octets]))
            self._pieces = []
        elif code == 250:
            self._pieces.append(octets)
        else:
            self._pieces = []

    def _take_data(self, position: int) -> tuple[int, int]:
        """Return where the content ends, and the code given for it, 0 when there is none."""
        stream = self._stream
        end = position - 2 if stream.startswith(b".\r\n", position) else stream.find(b"\r\n.\r\n", position)
        if end < 0:
            return len(stream), 0
        code, text = next(self._replies, (0, b""))
        if not code:
            assert self._visit.closed_itself, "content without a reply"
            return len(stream), 0
        raw = stream[position : end + 2]
        content = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n")[2:] if raw else raw
        if code == 250 or text.endswith(_AT_END.encode()):
            self._compare(content)
        elif code == 550 and text.endswith(_BARE):
            self._blame(content, last=True)
        return end + 5, code

    def _blame(self, content: bytes, *, last: bool) -> None:
        """What was refused for a bare CR or LF has one."""
        assert self._settings.bare_line_feed is LineFeedPolicy.REJECT
        assert re.search(rb"\r(?!\n)|(?<!\r)\n", content if last else content.removesuffix(b"\r")), (
            "refused for nothing"
        )

    def _compare(self, expected: bytes) -> None:
        content, binary = next(self._contents)
        if not binary:
            normal = expected.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
            if self._settings.bare_line_feed is LineFeedPolicy.REJECT:
                assert normal == expected, "accepted with a bare CR or LF"
            expected = normal
        assert content == expected


def _split(output: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and last line of every reply; all of the output must be replies."""
    position = 0
    while position < len(output):
        match = _REPLIES.match(output, position)
        assert match is not None, "no reply"
        position = match.end()
        yield int(match[1]), match[2]


WORDS: Final = (
    b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b.c>", b"MAIL FROM:<>\r\n", b"RCPT TO:<d@e.f>\r\n", b"DATA\r\n", b"RSET\r\n",
    b"NOOP\r\n", b"HELP\r\n", b"VRFY x\r\n", b"QUIT\r\n", b"STARTTLS\r\n~TLS~", b"AUTH PLAIN AGEAYg==\r\n", b"AUTH LOGIN\r\n",
    b"AUTH PLAIN\r\n", b"YQ==\r\n", b"*\r\n", b"BDAT 5\r\n", b"BDAT 3 LAST\r\n", b"BDAT 0 LAST\r\n", b"XCLIENT ADDR=192.0.2.9\r\n",
    b"XCLIENT LOGIN=a\r\n", b"XFORWARD NAME=a IDENT=b\r\n", b" SIZE=9", b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8",
    b" RET=HDRS", b" ENVID=a", b" NOTIFY=NEVER", b" ORCPT=rfc822;a", b" AUTH=<>", b"<\xc3\xa4@\xc3\xb6.example>", b"\r\n.\r\n",
    b"\r\n..", b"\n.\n", b"\r\n", b"\n", b"\r", b".", b"\0", b"\xff", b"Received: x\r\n", b"~L~", b"~XL~", b"~TLS~", b"GET / HTTP/1.1\r\n",
    b"EXPN x\r\n",
)  # fmt: skip

_MAIL: Final = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n"
_STREAMS: Final = (
    b"EHLO a\r\n" + _MAIL + b"DATA\r\nSubject: x\r\n\r\n..a\r\n.\r\nQUIT\r\n",
    b"HELO a\r\n" + _MAIL + b"DATA\r\n.\r\n" + _MAIL + b"DATA\r\n\n.\n\r\n.\r\nRSET\r\n",
    b"EHLO a\r\n" + _MAIL + b"BDAT 5\r\na\r\nb\rBDAT 3\r\n\nxyBDAT 0 LAST\r\n" + _MAIL + b"BDAT 9 LAST\r\n\r\n.\r\nQUITNOOP\r\n",
    b"EHLO a\r\nMAIL FROM:<a@b.c> BODY=BINARYMIME SIZE=9\r\nRCPT TO:<d@e.f> NOTIFY=NEVER\r\nBDAT 4\r\n\0\n\r\xffRSET\r\n",
    b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<evil@b.c>\r\n~TLS~EHLO a\r\nAUTH PLAIN AGEAYg==\r\n" + _MAIL + b"DATA\r\nx\r\n.\r\n",
    b"EHLO a\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nAUTH PLAIN\r\n*\r\nAUTH LOGIN\r\n~XL~\r\n" + _MAIL,
    b"XCLIENT ADDR=192.0.2.9 LOGIN=a\r\nEHLO a\r\nXFORWARD NAME=a SOURCE=LOCAL\r\n" + _MAIL + b"BDAT 2 LAST\r\nab",
    b"EHLO a\r\nMAIL FROM:<\xc3\xa4@\xc3\xb6.example> SMTPUTF8\r\nRCPT TO:<\xc3\xa4@b.c> ORCPT=utf-8;\xc3\xa4\r\nDATA\r\n\xc3\xa4\r\n.\r\n",
    b"EHLO a\r\n~L~\r\nNOOP\r\nfoo\nMAIL\r\nVRFY x\r\nHELP\r\nBDAT x\r\n",
    b"EHLO a\r\nMAIL FROM:<a@b.c> RET=FULL ENVID=x\r\nRCPT TO:<d@e.f>\r\nDATA\r\nReceived: a\r\nReceived: b\r\nReceived: c\r\n\r\n.\r\n",
    b"EHLO a\r\n" + _MAIL + b"BDAT 2\r\nx\rBDAT 1 LAST\r\ny" + _MAIL + b"BDAT 6\r\nNOOP\r\nBDAT 2 LAST\r\nx\rNOOP\r\n",
    b"EHLO a\r\nDATA\r\nBDAT 4\r\nQUITRCPT TO:<d@e.f>\r\n" + b"MAIL\r\n" * 22,
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield every stream under settings that let much, and under those that let little."""
    for number, stream in enumerate(_STREAMS):
        for wanted, more in ((0x7F, 8), (0xFF, 0), (0xFF, 12), (0, 7)):
            yield bytes((wanted, more, 0, number * 20, 0x70 if number == 1 else 0, 0)) + stream
        for decisions in range(1, 250, 31):
            yield bytes((0x7F, 8, decisions, number * 20, 0, 0)) + stream
        yield bytes((0x7F, 8, 77, 250, number & 3, 4)) + stream
