"""ICAP, server side: requests whole, byte by byte, followed by others, and wrong."""

import base64

import pytest

from gatepost.wire.http import HEAD_LIMIT
from gatepost.wire.icap import Continue, IcapReader, IcapReply, parse_options, parse_threat
from gatepost.wire.icap_answers import (
    PREVIEW_BYTES,
    TAG_LIMIT,
    Found,
    Service,
    build_options,
    build_page,
    build_same,
    build_status,
)
from gatepost.wire.icap_server import (
    HTTP_LIMIT,
    End,
    IcapEvent,
    IcapRequest,
    IcapRequestError,
    IcapServerSession,
    Method,
    Piece,
    PreviewEnd,
)

REQUEST = b"GET http://example.org/a/setup%20file.exe?x=/y HTTP/1.1\r\nHost: example.org\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-Thing; q=1\r\nX: 1\r\n\r\n"
SERVICE = Service("Test", "t" * 40)


def respmod(*fields: str, request: bytes = REQUEST, response: bytes = RESPONSE, body: bytes | None = b"") -> bytes:
    """Return a request; `body` is put behind it as it is, None: it has none."""
    at = len(request) + len(response)
    last = f"null-body={at}" if body is None else f"res-body={at}"
    sections = [*(["req-hdr=0"] if request else []), f"res-hdr={len(request)}", last]
    lines = ["RESPMOD icap://h/avscan ICAP/1.0", "Host: h", *fields, f"Encapsulated: {', '.join(sections)}", "\r\n"]
    return "\r\n".join(lines).encode() + request + response + (body or b"")


def events_of(session: IcapServerSession) -> list[IcapEvent]:
    found: list[IcapEvent] = []
    while (event := session.next_event()) is not None:
        found.append(event)
    return found


def read(stream: bytes, step: int = 0) -> list[IcapEvent]:
    """Return all events, with pieces of a body joined."""
    session = IcapServerSession()
    found: list[IcapEvent] = []
    for at in range(0, len(stream), step or len(stream)):
        session.feed(stream[at : at + (step or len(stream))])
        for event in events_of(session):
            if isinstance(event, Piece) and found and isinstance(found[-1], Piece):
                found[-1] = Piece(found[-1].data + event.data)
            else:
                found.append(event)
    return found


def head_of(stream: bytes) -> IcapRequest:
    event = read(stream)[0]
    assert isinstance(event, IcapRequest)
    return event


@pytest.mark.parametrize("step", [0, 1, 7])
def test_requests_behind_each_other_however_they_come(step: int) -> None:
    one = respmod("Allow: 204, trailers", body=b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n")
    two = respmod(body=None)
    options = b"OPTIONS icap://h:1344/Respmod/?a=b ICAP/1.0\r\nConnection: close\r\n\r\n"
    found = read(one + b"\r\n" + two + options, step)
    first, data, end, second, end_2, third, end_3 = found
    assert isinstance(first, IcapRequest)
    assert isinstance(second, IcapRequest)
    assert isinstance(third, IcapRequest)
    assert (first.method, first.service, first.has_body, first.preview) == (Method.RESPMOD, "avscan", True, -1)
    assert (first.allow_204, first.last) == (True, False)
    assert (first.raw_request, first.raw_response) == (REQUEST, RESPONSE)
    assert (first.name, first.subject.content_type) == ("setup file.exe", "application/x-thing")
    assert data == Piece(b"abcdefg")
    assert end == end_2 == end_3 == End()
    assert not second.has_body
    assert (third.method, third.service, third.last) == (Method.OPTIONS, "respmod", True)


def test_preview_goes_on_when_asked() -> None:
    session = IcapServerSession()
    session.feed(respmod("Preview: 4", body=b"4\r\nabcd\r\n0\r\n\r\n"))
    head, piece, end = events_of(session)
    assert isinstance(head, IcapRequest)
    assert (head.preview, piece, end) == (4, Piece(b"abcd"), PreviewEnd())
    reader = IcapReader()
    reader.expect()
    assert reader.feed(session.go_on()) == Continue()
    session.feed(b"2\r\nef\r\n0\r\n\r\n")
    assert events_of(session) == [Piece(b"ef"), End()]


def test_preview_can_be_enough() -> None:
    session = IcapServerSession()
    session.feed(respmod("Preview: 0", body=b"0\r\n\r\n") + respmod(body=None))
    assert isinstance(events_of(session)[-1], PreviewEnd)
    session.drop()
    again = events_of(session)
    assert isinstance(again[0], IcapRequest)
    assert again[1:] == [End()]
    assert session.idle


def test_a_preview_that_is_all() -> None:
    assert read(respmod("Preview: 9", body=b"4\r\nabcd\r\n0; ieof\r\n\r\n"))[1:] == [Piece(b"abcd"), End()]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (b'Content-Disposition: attachment; filename="a b.doc"\r\n', "a b.doc"),
        (b"Content-Disposition: attachment; filename*=UTF-8''%e2%82%ac.exe; filename=x\r\n", "€.exe"),
        (b"content-disposition: inline; filename=..\\..\\x.exe\r\n", "x.exe"),
        (b"no field at all\r\n: nor this\r\n", "setup file.exe"),
    ],
)
def test_names(fields: bytes, name: str) -> None:
    assert head_of(respmod(response=b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")).name == name


@pytest.mark.parametrize(
    ("field", "user"),
    [
        ("X-Client-Username: ann", "ann"),
        (f"X-Authenticated-User: {base64.b64encode(b'WinNT://site/ann').decode()}", "ann"),
        ("X-Authenticated-User: Local://ann", "ann"),
        ("X-Other: 1", ""),
    ],
)
def test_who_asks(field: str, user: str) -> None:
    head = head_of(respmod("X-Client-IP: 192.0.2.7", field, body=None))
    assert (head.client_ip, head.user) == ("192.0.2.7", user)


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"RESPMOD icap://h/avscan ICAP/2.0\r\n\r\n", 505),
        (b"FETCH icap://h/avscan ICAP/1.0\r\n\r\n", 501),
        (b"RESPMOD icap://h/avscan ICAP/1.0\r\n\r\n", 400),
        (b"RESPMOD icap://h/avscan ICAP/1.0\r\nno field\r\n\r\n", 400),
        *(
            (f"RESPMOD icap://h/avscan ICAP/1.0\r\nEncapsulated: {sections}\r\n\r\n".encode(), 400)
            for sections in (
                "", "res-hdr=0", "res-body=1", "res-hdr=0, res-body=x", "res-body=0, res-hdr=0", "req-body=0",
                "req-hdr=0, res-hdr=9, res-body=8", f"res-hdr=0, res-body={HTTP_LIMIT + 1}", "res-hdr=0, res-body=5, null-body=5",
            )
        ),
        (respmod("Preview: many"), 400),
        (respmod(body=b"xyz\r\n"), 400),
        (respmod(body=b"3\r\nabcd\r\n"), 400),
        (respmod(body=b"FFFFFFFFF\r\n"), 400),
        (respmod(body=b"1" * 2000), 400),
        (b"x" * (HEAD_LIMIT + 4), 400),
    ],
)  # fmt: skip
def test_what_is_no_request(stream: bytes, status: int) -> None:
    with pytest.raises(IcapRequestError) as caught:
        read(stream)
    assert caught.value.status == status


def test_heads_up_to_their_limit() -> None:
    long = b"HTTP/1.1 200 OK\r\nX: " + b"y" * (HTTP_LIMIT - len(REQUEST) - 24) + b"\r\n\r\n"
    assert len(REQUEST + long) <= HTTP_LIMIT
    assert head_of(respmod(response=long, body=None)).raw_response == long


# --- answers, read by the client's side


def reply_to(raw: bytes, data: bytes = b"") -> IcapReply:
    reader = IcapReader()
    reader.expect(data)
    reply = reader.feed(raw)
    assert isinstance(reply, IcapReply)
    assert reader.empty
    return reply


def test_options() -> None:
    reply = reply_to(build_options(SERVICE, [Method.RESPMOD, Method.REQMOD], 50, 300))
    said = parse_options(reply)
    assert (said.tag, said.service, said.preview, said.allow_204, said.connections) == (
        "t" * TAG_LIMIT, "Test", PREVIEW_BYTES, True, 50,
    )  # fmt: skip


def test_statuses() -> None:
    assert reply_to(build_status(SERVICE, 204)).status == 204
    refused = reply_to(build_status(SERVICE, 404, close=True))
    assert (refused.status, refused.last) == (404, True)


def test_the_same_object_goes_back() -> None:
    request = head_of(respmod(body=b""))
    raw = build_same(SERVICE, request) + b"3\r\nabc\r\n0\r\n\r\n"
    reply = reply_to(raw, b"abc")
    assert (reply.status, reply.http_status, reply.same) == (200, 200, True)
    assert RESPONSE in raw
    assert REQUEST not in raw


def test_a_name_cannot_write_fields() -> None:
    page = build_page(SERVICE, "403 Forbidden", "<p>", Found('x;y\r\nX-Evil: 1\n"é'))
    reply = reply_to(page)
    assert (reply.status, reply.http_status) == (200, 403)
    assert "x-evil" not in reply.fields
    threat = parse_threat(reply)
    assert threat is not None
    assert (threat.name, threat.infected) == ('x_y__X-Evil: 1_"_', True)
    other = parse_threat(reply_to(build_page(SERVICE, "403 Forbidden", "", Found("n", infected=False))))
    assert other is not None
    assert not other.infected
