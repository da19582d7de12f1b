"""ICAP: requests as RFC 3507 wants them, responses whole, in pieces and wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.icap import (
    BODY_LIMIT,
    CHUNK_LINE_LIMIT,
    FIELDS_LIMIT,
    HEAD_LIMIT,
    PREVIEW_LIMIT,
    Continue,
    IcapError,
    IcapOptions,
    IcapReader,
    IcapReply,
    build_options,
    build_respmod,
    parse_options,
    parse_threat,
    parse_url,
)

SERVICE = parse_url("icap://Scan.example.org/avscan")
HTTP = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n"


def ok(body: bytes, *fields: bytes, http: bytes = HTTP, chunk: int = 7) -> bytes:
    head = [b"ICAP/1.0 200 OK", b'ISTag: "t1"', *fields, b"Encapsulated: res-hdr=0, res-body=%d" % len(http), b"\r\n"]
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    return b"\r\n".join(head) + http + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def reply_to(raw: bytes, data: bytes = b"") -> IcapReply:
    reader = IcapReader()
    reader.expect(data)
    got = reader.feed(raw)
    assert isinstance(got, IcapReply)
    return got


# --- addresses and requests


def test_urls() -> None:
    assert (SERVICE.host, SERVICE.port, SERVICE.authority) == ("scan.example.org", 1344, "Scan.example.org:1344")
    six = parse_url("icap://[::1]:99/x/y?z=1")
    assert (six.host, six.port, six.authority) == ("::1", 99, "[::1]:99")


@pytest.mark.parametrize(
    "text",
    ["", "http://h/x", "icap://h", "icap:///x", "icap://h:0/x", "icap://h:65536/x", "icap://h/x y", "icap://h/\r\nx"],
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ValueError, match="icap://"):
        parse_url(text)


def test_options_question() -> None:
    raw = build_options(SERVICE)
    assert raw.startswith(b"OPTIONS icap://Scan.example.org/avscan ICAP/1.0\r\nHost: Scan.example.org:1344\r\n")
    assert raw.endswith(b"Encapsulated: null-body=0\r\n\r\n")


def request(data: bytes, options: IcapOptions, name: str = "a b.pdf") -> tuple[bytes, bytes]:
    first, rest = build_respmod(SERVICE, data, name=name, content_type="application/pdf", options=options)
    return b"".join(first), b"".join(rest)


def test_a_request_without_preview() -> None:
    first, rest = request(b"hello", IcapOptions(allow_204=True))
    head, _, body = first.partition(b"\r\n\r\n")
    get = b"GET http://mail.invalid/a%20b.pdf HTTP/1.1\r\nHost: mail.invalid\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: 5\r\n\r\n"
    assert b"Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d" % (len(get), len(get + answer)) in head
    assert b"Allow: 204" in head
    assert b"Preview" not in head
    assert body == get + answer + b"5\r\nhello\r\n0\r\n\r\n"
    assert not rest


def test_a_preview_and_the_rest() -> None:
    first, rest = request(b"hello world", IcapOptions(preview=4))
    assert b"\r\nPreview: 4\r\n" in first
    assert b"Allow" not in first
    assert first.endswith(b"\r\n\r\n4\r\nhell\r\n0\r\n\r\n")
    assert rest == b"7\r\no world\r\n0\r\n\r\n"


def test_an_object_that_fits_into_the_preview_says_so() -> None:
    first, rest = request(b"hell", IcapOptions(preview=4))
    assert first.endswith(b"4\r\nhell\r\n0; ieof\r\n\r\n")
    assert not rest


def test_a_preview_of_nothing() -> None:
    first, rest = request(b"hell", IcapOptions(preview=0))
    assert first.endswith(b"\r\n\r\n0\r\n\r\n")
    assert rest == b"4\r\nhell\r\n0\r\n\r\n"


def test_a_preview_is_bounded() -> None:
    first, _ = request(b"x" * (PREVIEW_LIMIT + 1), IcapOptions(preview=10**9 - 1))
    assert b"Preview: %d\r\n" % PREVIEW_LIMIT in first


@given(st.text(max_size=300), st.text(max_size=60))
def test_names_and_types_cannot_add_lines(name: str, content_type: str) -> None:
    first, _ = build_respmod(SERVICE, b"x", name=name, content_type=content_type, options=IcapOptions())
    head = b"".join(first).partition(b"1\r\nx")[0]
    assert head.count(b"\r\n") == 4 + 3 + 4, head
    head.decode("ascii")


# --- responses


@given(st.lists(st.integers(1, 60), max_size=30), st.binary(max_size=80), st.integers(1, 30))
def test_pieces_make_no_difference(cuts: list[int], body: bytes, chunk: int) -> None:
    raw = ok(body, b"X-Virus-ID: Eicar", chunk=chunk)
    reader = IcapReader()
    reader.expect(body)
    got: Continue | IcapReply | None = None
    rest = raw
    for cut in (*cuts, len(raw)):
        piece, rest = rest[:cut], rest[cut:]
        if piece:
            assert got is None
            got = reader.feed(piece)
    assert isinstance(got, IcapReply)
    assert (got.status, got.http_status, got.same) == (200, 403, True)
    assert got.fields["x-virus-id"] == "Eicar"


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_only_the_same_body_is_the_same(data: bytes, body: bytes) -> None:
    assert reply_to(ok(body), data).same == (data == body)


def test_continue_then_the_answer() -> None:
    reader = IcapReader()
    reader.expect(b"data")
    assert isinstance(reader.feed(b"ICAP/1.0 100 Continue\r\n\r\n"), Continue)
    got = reader.feed(b'ICAP/1.0 204 No Content\r\nISTag: "x"\r\nConnection: close\r\n\r\n')
    assert isinstance(got, IcapReply)
    assert (got.status, got.last, got.same) == (204, True, False)
    assert reader.empty


def test_headers_of_the_request_may_come_back_first() -> None:
    get = b"GET http://x/ HTTP/1.1\r\n\r\n"
    http = b"HTTP/1.1 200 OK\r\n\r\n"
    raw = b"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, res-hdr=%d, null-body=%d\r\n\r\n" % (len(get), len(get + http))
    got = reply_to(raw + get + http)
    assert (got.http_status, got.same) == (200, False)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"ICAP/1.0 2000 OK\r\n\r\n",
        b"ICAP/1.0 20\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nno field\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nbad name: x\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=5, res-body=5\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=9, res-body=10\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=-3\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, res-hdr=9, res-body=3\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: other=0, res-body=3\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n" % (HEAD_LIMIT + 1),
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\nxyz\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n-1\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n%x\r\n" % (BODY_LIMIT + 1),
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n2\r\nabcd",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n0\r\nX: y\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n" + b"1" * (CHUNK_LINE_LIMIT + 2),
        b"ICAP/1.0 200 OK\r\n" + b"A: b\r\n" * (FIELDS_LIMIT + 1) + b"\r\n",
        b"ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 No Content\r\n\r\n",
        b"x" * (HEAD_LIMIT + 4),
        b"x" * (HEAD_LIMIT + 1) + b"\r\n\r\n",
    ],
)
def test_what_is_no_response(raw: bytes) -> None:
    reader = IcapReader()
    reader.expect(b"data")
    with pytest.raises(IcapError):
        reader.feed(raw)


@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_for(noise: bytes) -> None:
    reader = IcapReader()
    reader.expect(b"data")
    try:
        got = reader.feed(b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=4\r\n\r\nabcd" + noise)
    except IcapError:
        return
    assert got is None or (isinstance(got, IcapReply) and b"\r\n" in noise)


def test_a_server_that_speaks_unasked_is_left() -> None:
    reader = IcapReader()
    reader.expect(b"")
    reader.feed(b"ICAP/1.0 204 No\r\n\r\nICAP/1.0 204 No\r\n\r\n")
    with pytest.raises(IcapError):
        reader.expect(b"next")


# --- what it says


def test_options() -> None:
    raw = (
        b'ICAP/1.0 200 OK\r\nMethods: RESPMOD, REQMOD\r\nService: C-ICAP/0.5\r\nISTag: "CI0001-x"\r\nMax-Connections: 600'
        b"\r\nAllow: 204, trailers\r\nPreview: 1024\r\nEncapsulated: null-body=0\r\n\r\n"
    )
    assert parse_options(reply_to(raw)) == IcapOptions("CI0001-x", "C-ICAP/0.5", 1024, allow_204=True, connections=600)


def test_options_with_little_or_nonsense() -> None:
    got = parse_options(
        reply_to(b"ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nPreview: -4\r\nMax-Connections: many\r\n\r\n")
    )
    assert got == IcapOptions()


@pytest.mark.parametrize("raw", [b"ICAP/1.0 404 Not Found\r\n\r\n", b"ICAP/1.0 200 OK\r\nMethods: REQMOD\r\n\r\n"])
def test_a_service_that_cannot_scan(raw: bytes) -> None:
    with pytest.raises(IcapError):
        parse_options(reply_to(raw))


@pytest.mark.parametrize(
    ("field", "name", "infected"),
    [
        (b"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;", "Eicar-Test", True),
        (
            b"X-Infection-Found: Type=2; Resolution=2; Threat=Container size violation;",
            "Container size violation",
            False,
        ),
        (b"X-Infection-Found: nonsense", "unnamed", True),
        (b"X-Virus-ID: Eicar", "Eicar", True),
        (b"X-Violations-Found: 1\r\n\ta.txt\r\n\tEicar\r\n\t11\r\n\t2", "a.txt Eicar 11 2", True),
    ],
)
def test_threats(field: bytes, name: str, infected: bool) -> None:
    threat = parse_threat(reply_to(ok(b"blocked", field)))
    assert threat is not None
    assert (threat.name, threat.infected) == (name, infected)


@pytest.mark.parametrize("field", [b"X-Virus-ID: no threats", b"X-Virus-ID: ", b"X-Violations-Found: 0"])
def test_no_threat(field: bytes) -> None:
    assert parse_threat(reply_to(ok(b"x", field))) is None
