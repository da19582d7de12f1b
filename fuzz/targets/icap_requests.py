"""ICAP requests: however they arrive, the same events, bodies are never longer than what came, and no other error."""

from collections.abc import Iterable, Iterator
from typing import Final

from gatepost.wire.icap_answers import Found, Service, build_page, build_same
from gatepost.wire.icap_server import (
    HTTP_LIMIT,
    End,
    IcapRequest,
    IcapRequestError,
    IcapServerSession,
    Piece,
    PreviewEnd,
)

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2_000
_SERVICE: Final = Service("fuzz", "tag")


def execute(data: bytes) -> None:
    """Read the input whole and in pieces."""
    if not data:
        return
    stream = data[1:]
    whole = _read([stream], data[0])
    assert _read(cut(stream, data[0]), data[0]) == whole


def _read(pieces: Iterable[bytes], seed: int) -> list[object]:
    """Return what was understood: heads, bodies, ends, and the status of what was not."""
    session = IcapServerSession()
    found: list[object] = []
    fed = 0
    try:
        for piece in pieces:
            fed += len(piece)
            session.feed(piece)
            while (event := session.next_event()) is not None:
                _take(session, event, found, seed)
            assert len(session._pending) <= max(HTTP_LIMIT, fed)
    except IcapRequestError as error:
        if found and isinstance(found[-1], bytes):
            del found[-1]  # how much of a body comes before what is wrong in it depends on the pieces
        found.append(error.status)
    assert sum(len(each) for each in found if isinstance(each, bytes)) <= fed
    return found


def _take(session: IcapServerSession, event: object, found: list[object], seed: int) -> None:
    match event:
        case Piece(data):
            assert data
            before = found.pop() if found and isinstance(found[-1], bytes) else b""
            assert isinstance(before, bytes)
            found.append(before + data)
        case PreviewEnd():
            found.append("preview")
            if seed % 2:
                session.go_on()
            else:
                session.drop()
        case End():
            found.append("end")
        case IcapRequest():
            found.append(event)
            assert "/" not in event.name
            assert "\n" not in event.name + event.user + event.client_ip
            head = build_same(_SERVICE, event).partition(b"\r\n\r\n")[0]
            assert head.count(b"\r\n") == 3
            page = build_page(_SERVICE, "403 Forbidden", "x", Found(event.name + event.request.url))
            assert page.partition(b"\r\n\r\n")[0].count(b"\r\n") == 5


WORDS: Final = (
    b"RESPMOD icap://h/avscan ICAP/1.0\r\n", b"REQMOD /reqmod ICAP/1.0\r\n", b"OPTIONS icap://h/x?a=b ICAP/1.0\r\n", b"Encapsulated: ", b"req-hdr=0", b"res-hdr=",
    b"res-body=", b"req-body=", b"null-body=", b"opt-body=", b", ", b"\r\n\r\n", b"0\r\n\r\n", b"0; ieof\r\n\r\n", b"3\r\nabc\r\n", b"Preview: 0\r\n", b"Allow: 204\r\n",
    b"HTTP/1.1 200 OK\r\n", b"GET http://h/a%2fb HTTP/1.1\r\n", b"Content-Disposition: x; filename*=utf-8''%0a", b"X-Authenticated-User: V2luTlQ6Ly9hL2I=\r\n",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield requests of every kind, alone and behind each other."""
    request = b"GET http://h/f.exe HTTP/1.1\r\n\r\n"
    response = b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="x\\y"\r\n\r\n'
    respmod = b"RESPMOD icap://h/avscan ICAP/1.0\r\n%bEncapsulated: req-hdr=0, res-hdr=%d, res-body=%d\r\n\r\n%b%b"
    sizes = (len(request), len(request) + len(response), request, response)
    streams = (
        respmod % (b"", *sizes) + b"3\r\nabc\r\n0\r\n\r\n",
        respmod % (b"Preview: 3\r\nAllow: 204\r\n", *sizes) + b"3\r\nabc\r\n0\r\n\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n",
        respmod % (b"Preview: 9\r\n", *sizes) + b"3\r\nabc\r\n0; ieof\r\n\r\n",
        b"REQMOD icap://h/reqmod ICAP/1.0\r\nEncapsulated: req-hdr=0, null-body=%d\r\n\r\n%b" % (len(request), request),
        b"OPTIONS icap://h/avscan ICAP/1.0\r\nConnection: close\r\n\r\n",
        b"OPTIONS icap://h/avscan ICAP/1.0\r\nEncapsulated: opt-body=0\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    )
    for stream in streams:
        for seed in (0, 101):
            yield bytes((seed,)) + stream + streams[3]
