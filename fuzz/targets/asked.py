"""What clients of other filters ask (spamd, rspamd, clamd): the same however it arrives, within its limits, and answerable."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from gatepost.service.mail_copy import read_mail
from gatepost.wire import clamd_server, rspamd, spamd

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1_500

_LIMIT: Final = 600
_REQUESTS: Final = 50


def execute(data: bytes) -> None:
    """Read the input whole and in pieces."""
    if len(data) < 2:
        return
    read = _KINDS[data[1] % len(_KINDS)]
    whole, pieces = read(data[2:], 0), read(data[2:], data[0])
    assert whole == pieces, (whole, pieces)


def _spamd(stream: bytes, seed: int) -> object:
    session = spamd.SpamdSession(_LIMIT)
    try:
        for piece in cut(stream, seed):
            if (request := session.feed(piece)) is not None:
                return _judge_spamd(request)
        return _judge_spamd(session.end())
    except spamd.SpamdError as error:
        answer = spamd.build_error(error.code, str(error))
        assert answer.count(b"\n") == 1
        # What is too large, and a head that is none, may be seen earlier in pieces.
        return "refused"


def _judge_spamd(request: spamd.SpamdRequest) -> object:
    assert len(request.content) <= _LIMIT
    copy = read_mail(request.content)
    assert copy.restore(copy.content) == request.content or not copy.line_feeds
    assert b"\n" not in copy.content.replace(b"\r\n", b"")
    return request


def _rspamd(stream: bytes, seed: int) -> object:
    session = rspamd.RspamdSession(_LIMIT)
    found: list[object] = []
    try:
        for piece in cut(stream, seed):
            request = session.feed(piece)
            while request is not None:
                assert len(request.content) <= _LIMIT
                found.append(request)
                if session.is_text or len(found) > _REQUESTS:
                    return found
                session.frame(200, b"{}", "application/json", "x")
                if not session.lasts:
                    return found
                request = session.next()
        found.append(session.end())
    except rspamd.RspamdError as error:
        session.frame(error.status, b"{}", "application/json", "x")
        found.append("refused")
    except spamd.SpamdError:
        found.append("refused")
    return found


def _clamd(stream: bytes, seed: int) -> object:
    session = clamd_server.ClamdServerSession(_LIMIT)
    found: list[object] = []
    size = 0

    def take() -> None:
        nonlocal size
        while (event := session.next_event()) is not None:
            if isinstance(event, clamd_server.Piece):
                size += len(event.data)
                if found and isinstance(found[-1], bytes):
                    found[-1] += event.data
                else:
                    found.append(event.data)
            else:
                found.append(event)
            if isinstance(event, clamd_server.Ask):
                size = 0
                assert event.reply("x").endswith(event.end)
            assert size <= _LIMIT

    try:
        for piece in cut(stream, seed):
            session.feed(piece)
            take()
        session.close()
        take()
    except clamd_server.ClamdRequestError as error:
        assert error.answer.endswith((b"\n", b"\0"))
        found.append(error.answer)
    return found


_KINDS: Final[tuple[Callable[[bytes, int], object], ...]] = (_spamd, _rspamd, _clamd)

WORDS: Final = (
    b"CHECK SPAMC/1.2\r\n", b"PROCESS SPAMC/1.5\r\n", b"CHECK RSPAMC/1.3\r\n", b"TELL SPAMC/1.5\r\n", b"PING SPAMC/1.2\r\n", b"Content-length: ", b"Compress: zlib\r\n", b"User: x\r\n", b"\r\n\r\n", b"\n\n",
    b"POST /checkv2 HTTP/1.1\r\nHost: x\r\n", b"GET /ping HTTP/1.0\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Compression: zstd\r\n", b"Message-Length: ", b"Expect: 100-continue\r\n",
    b"zIDSESSION\0", b"zINSTREAM\0", b"zEND\0", b"nPING\n", b"zFILDES\0", b"zSCAN /", b"\0\0\0\0", b"\0\0\0\3", b"From a@b x\n", b"X-Envelope-To: a@b\n", b"Return-Path: <a@b>\r\n",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield sound requests of all three."""
    packed = zlib.compress(b"Subject: x\n\nbody\n")
    mail = b"From a@b x\nX-Envelope-To: c@d\nSubject: x\n\nbody\n"
    streams = (
        (0, b"CHECK SPAMC/1.5\r\nContent-length: %d\r\nUser: bob\r\n\r\n" % len(mail) + mail), (0, b"PING SPAMC/1.2\r\n"),
        (0, b"PROCESS SPAMC/1.2\r\n\r\nSubject: x\r\n\r\nbody\r\n"), (0, b"TELL SPAMC/1.5\nMessage-class: spam\nSet: local\nContent-length: 4\n\nA: b"),
        (0, b"CHECK SPAMC/1.5\r\nCompress: zlib\r\nContent-length: %d\r\n\r\n" % len(packed) + packed),
        (1, b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nFrom: <a@b>\r\n\r\nA: bGET /ping HTTP/1.0\r\n\r\n"), (1, b"CHECK RSPAMC/1.3\r\nContent-length: 4\r\nRcpt: <c@d>\r\n\r\nA: b"),
        (1, b"POST /symbols HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nA: b\r\n0\r\n\r\n"), (1, b'POST /check HTTP/1.0\r\nContent-Length: 18\r\nMessage-Length: 4\r\n\r\n{"from": "a@b"}A: b'),
        (2, b"zIDSESSION\0zPING\0zINSTREAM\0\0\0\0\3abc\0\0\0\0zFILDES\0\0zSCAN /x\0zEND\0"), (2, b"nINSTREAM\n\0\0\0\1x\0\0\0\0"), (2, b"SCAN /a b\n"), (2, b"PING"),
    )  # fmt: skip
    for kind, stream in streams:
        for seed in (100, 251):
            yield bytes((seed, kind)) + stream
