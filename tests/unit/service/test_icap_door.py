"""The ICAP door: what web proxies are answered, by what the judge says of an object."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.scripted_judge import CLEAN, OpenDoor, ScriptedJudge, Talk, open_door, ruling

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Checks, Deed, Purpose, Ruling, Threat
from gatepost.model.finding import BareObject
from gatepost.service import icap_door
from gatepost.service.gathered import MEMORY_BYTES
from gatepost.service.held_bytes import HeldBytes
from gatepost.service.judge import Unjudged

REQUEST = b"GET http://example.org/<b>setup.exe HTTP/1.1\r\nHost: example.org\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n%b\r\n"
INFECTED = ruling(
    objects=("infected",), threats=(Threat("<i>Worm", "infected", "setup.exe"),), body_changed=True, queue_id="0AB"
)
LAST = b"0\r\n\r\n"
Scene = Callable[[Talk, OpenDoor], Awaitable[None]]


def respmod(body: bytes, *fields: bytes, http: bytes = b"", service: bytes = b"respmod") -> bytes:
    """Return a request up to the end of `body`, which is as it goes over the wire."""
    response = RESPONSE % http
    lines = [
        b"RESPMOD icap://localhost/%b ICAP/1.0" % service,
        b"Host: localhost",
        b"X-Client-IP: 192.0.2.9",
        b"X-Client-Username: ann",
        *fields,
        b"Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d" % (len(REQUEST), len(REQUEST) + len(response)),
        b"\r\n",
    ]
    return b"\r\n".join(lines) + REQUEST + response + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def play(scene: Scene, judge: ScriptedJudge, **settings: object) -> None:
    door = Door(name="web", kind=DoorKind.ICAP, **settings)  # type: ignore[arg-type]

    async def run() -> None:
        async with open_door(icap_door.make, judge, door) as opened:
            await scene(await opened.talk(), opened)

    asyncio.run(run())


def answer_of(stream: bytes, judge: ScriptedJudge, **settings: object) -> bytes:
    """Return all a client hears that says `stream` and nothing more."""
    heard = b""

    async def scene(talk: Talk, _: OpenDoor) -> None:
        nonlocal heard
        talk.send(stream)
        talk.end()
        heard = await talk.rest()

    play(scene, judge, **settings)
    return heard


def test_options_tell_what_is_served() -> None:
    ask = b"OPTIONS icap://h/%b ICAP/1.0\r\nHost: h\r\n\r\n"
    judge = ScriptedJudge()
    heard = answer_of(ask % b"avscan" + ask % b"reqmod", judge, connections=7)
    first, second = heard.split(b"ICAP/1.0 200 OK\r\n")[1:]
    assert b"Methods: RESPMOD, REQMOD\r\n" in first
    assert b"Methods: REQMOD\r\n" in second
    for each in (first, second):
        for field in (b"Allow: 204", b"Preview: 4096", b"Max-Connections: 7", b"Options-TTL: 300", b'ISTag: "GP-'):
            assert field in each
    assert judge.asked == []


def test_a_clean_object_passes_without_being_sent_back() -> None:
    judge = ScriptedJudge()
    heard = answer_of(respmod(chunk(b"abc") + chunk(b"def") + LAST, b"Allow: 204"), judge)
    assert heard.startswith(b"ICAP/1.0 204 No Content\r\n")
    assert heard.endswith(b"\r\n\r\n")
    asked = judge.last
    assert asked.content == b"abcdef"
    assert asked.request.bare == BareObject("<b>setup.exe", "application/octet-stream")
    assert (asked.request.client.ip, asked.request.client.user, asked.request.client.listener) == (
        "192.0.2.9", "ann", "web",
    )  # fmt: skip
    assert (asked.request.checks, asked.request.purpose, asked.request.recipients) == (Checks.VIRUS, Purpose.ASK, ())


def test_a_client_that_cannot_keep_it_gets_it_back_byte_for_byte() -> None:
    heard = answer_of(respmod(chunk(b"abcdef") + LAST), ScriptedJudge())
    head, _, rest = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"ICAP/1.0 200 OK\r\n")
    response = RESPONSE % b""
    assert b"Encapsulated: res-hdr=0, res-body=%d" % len(response) in head
    assert rest == response + chunk(b"abcdef") + LAST


def test_what_is_whole_in_the_preview_needs_no_allow() -> None:
    heard = answer_of(respmod(chunk(b"abc") + b"0; ieof\r\n\r\n", b"Preview: 4096"), ScriptedJudge())
    assert heard.startswith(b"ICAP/1.0 204 ")


def test_preview_and_the_rest_over_one_connection() -> None:
    judge = ScriptedJudge()

    async def scene(talk: Talk, _: OpenDoor) -> None:
        for _round in range(2):
            talk.send(respmod(chunk(b"abc") + LAST, b"Preview: 3"))
            assert await talk.until(b"\r\n\r\n") == b"ICAP/1.0 100 Continue\r\n\r\n"
            assert len(judge.asked) == _round, "nothing is asked before all of it is there"
            talk.send(chunk(b"def") + LAST)
            assert (await talk.until(b"\r\n\r\n")).startswith(b"ICAP/1.0 200 ")  # 204 was not allowed any more
            assert (await talk.until(LAST)).endswith(chunk(b"abcdef") + LAST)

    play(scene, judge)
    assert [each.content for each in judge.asked] == [b"abcdef"] * 2


def test_malware_is_replaced_by_a_page() -> None:
    heard = answer_of(respmod(chunk(b"evil") + LAST, b"Allow: 204"), ScriptedJudge(INFECTED))
    assert heard.startswith(b"ICAP/1.0 200 OK\r\n")
    assert b"X-Infection-Found: Type=0; Resolution=2; Threat=<i>Worm;\r\n" in heard
    assert b"X-Virus-ID: <i>Worm\r\n" in heard
    assert b"HTTP/1.1 403 Forbidden\r\n" in heard
    page = heard.partition(b"<!DOCTYPE")[2]
    assert b"&lt;i&gt;Worm" in page
    assert b"http://example.org/&lt;b&gt;setup.exe" in page
    assert b"<i>" not in page
    assert b"<b>" not in page
    assert b"evil" not in heard


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (ruling(objects=("protected",), threats=(Threat("", "protected", "a.zip"),)), False),
        (ruling(objects=("suspicious",), threats=(Threat("Odd", "suspicious"),)), True),
        (ruling(objects=("disinfected",), threats=(Threat("Worm", "disinfected"),)), True),
        (ruling(objects=("filtered",), threats=(Threat("*.exe", "filtered"),), body_changed=True), True),
        (ruling(deed=Deed.REJECT, objects=("error",), threats=(Threat("", "error"),)), True),
        (ruling(deed=Deed.DISCARD, reason="rule 7"), True),
        (ruling(info="Not processed"), False),
    ],
)
def test_what_is_refused(said: Ruling, refused: bool) -> None:
    heard = answer_of(respmod(chunk(b"x") + LAST, b"Allow: 204"), ScriptedJudge(said))
    assert heard.startswith(b"ICAP/1.0 200 " if refused else b"ICAP/1.0 204 ")
    assert (b"403 Forbidden" in heard) == refused


@pytest.mark.parametrize(
    ("on_error", "status", "page"),
    [
        (OnError.ACCEPT, b"ICAP/1.0 204 ", b""),
        (OnError.TEMPFAIL, b"ICAP/1.0 200 ", b"HTTP/1.1 503 Service Unavailable\r\n"),
        (OnError.REJECT, b"ICAP/1.0 200 ", b"HTTP/1.1 403 Forbidden\r\n"),
    ],
)
def test_what_cannot_be_judged(on_error: OnError, status: bytes, page: bytes) -> None:
    judge = ScriptedJudge(Unjudged("no filter"))
    heard = answer_of(respmod(chunk(b"x") + LAST, b"Allow: 204"), judge, on_error=on_error)
    assert heard.startswith(status)
    assert page in heard
    assert (b"Retry-After: " in heard) == (on_error is OnError.TEMPFAIL)
    assert b"X-Infection-Found" not in heard


def test_a_coding_that_no_filter_opens_is_not_clean() -> None:
    judge = ScriptedJudge()
    heard = answer_of(respmod(chunk(b"x") + LAST, b"Allow: 204", http=b"Content-Encoding: br\r\n"), judge)
    assert b"HTTP/1.1 503 " in heard
    assert judge.asked == []
    assert answer_of(respmod(chunk(b"x") + LAST, b"Allow: 204", http=b"Content-Encoding: gzip\r\n"), judge).startswith(
        b"ICAP/1.0 204 "
    )


def test_a_name_that_cannot_be_written_is_refused_all_the_same() -> None:
    judge = ScriptedJudge(ruling(threats=(Threat("a\ud800\r\nX-Evil: b", "infected"),)))
    heard = answer_of(respmod(chunk(b"x") + LAST, b"Allow: 204"), judge)
    assert b"\r\nHTTP/1.1 403 " in heard
    assert b"\nX-Evil" not in heard.partition(b"<!DOCTYPE")[0]


@pytest.mark.parametrize(
    "http",
    [
        b"Content-Encoding: identity\r\nContent-Encoding: br\r\n",
        b"Content-Encoding:\r\n br\r\n",
        b"X: y\rContent-Encoding: br\r\n",
        b"content-encoding : gzip, gzip\r\n",
        b"A:\r\n" * 1000 + b"Content-Encoding: br\r\n",
        b"Content-Encoding: gzip" + b" " * 5000 + b", br\r\n",
        b"Content-Encoding: " + b"identity, " * 500 + b"br\r\n",
    ],
)
def test_a_coding_is_found_wherever_a_browser_would_find_it(http: bytes) -> None:
    judge = ScriptedJudge()
    assert b"HTTP/1.1 503 " in answer_of(respmod(chunk(b"x") + LAST, b"Allow: 204", http=http), judge)
    assert judge.asked == []


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: multipart/form-data; boundary=x\r\nContent-Encoding: gzip\r\n",
        b"Content-Type: multipart/form-data; boundary=\xe9\r\n",
        b"Content-Type: multipart/form-data; boundary=a\x01b\r\n",
        b"Content-Type: multipart/form-data; boundary=" + b"x" * 4096 + b"\r\n",
    ],
)
def test_a_form_whose_parts_cannot_be_told_is_not_clean(fields: bytes) -> None:
    judge = ScriptedJudge()
    heard = answer_of(reqmod(b"POST http://h/up HTTP/1.1\r\n" + fields + b"\r\n", chunk(b"x") + LAST), judge)
    assert b"HTTP/1.1 503 " in heard
    assert judge.asked == []


def test_above_the_size_limit_it_passes_as_it_comes() -> None:
    judge = ScriptedJudge(INFECTED)
    big = chunk(b"a" * 1000) + chunk(b"b" * 100) + chunk(b"c" * 999) + LAST
    heard = answer_of(respmod(big), judge, size_limit=1024)
    body = heard.partition(RESPONSE % b"")[2]
    assert b"".join(line for line in body.split(b"\r\n") if len(line) > 4) == b"a" * 1000 + b"b" * 100 + b"c" * 999
    assert body.endswith(LAST)
    assert answer_of(respmod(big, b"Allow: 204"), judge, size_limit=1024).startswith(b"ICAP/1.0 204 ")
    assert judge.asked == []


def test_above_the_size_limit_by_its_header_it_need_not_come() -> None:
    async def scene(talk: Talk, _: OpenDoor) -> None:
        for _round in range(2):
            talk.send(respmod(chunk(b"a") + LAST, b"Preview: 1", http=b"Content-Length: 1025\r\n"))
            assert (await talk.until(b"\r\n\r\n")).startswith(b"ICAP/1.0 204 ")

    judge = ScriptedJudge()
    play(scene, judge, size_limit=1024)
    assert judge.asked == []


def test_what_nobody_can_hold_is_not_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icap_door, "OBJECT_LIMIT", 10)
    heard = answer_of(respmod(chunk(b"a" * 11) + LAST, b"Allow: 204"), ScriptedJudge())
    assert b"HTTP/1.1 503 " in heard
    assert b"Connection: close" in heard
    passed = answer_of(respmod(chunk(b"a" * 11) + LAST, b"Allow: 204"), ScriptedJudge(), on_error=OnError.ACCEPT)
    assert passed.startswith(b"ICAP/1.0 204 ")


def test_large_objects_go_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    judge = ScriptedJudge()
    data = b"0123456789abcdef" * (MEMORY_BYTES // 16) + b"!"
    heard = answer_of(respmod(chunk(data[:70_000]) + chunk(data[70_000:]) + LAST), judge)
    assert judge.last.was_file
    assert judge.last.content == data
    body = heard.partition(RESPONSE % b"")[2]
    got, rest = b"", body
    while not rest.startswith(LAST):
        length, _, rest = rest.partition(b"\r\n")
        got, rest = got + rest[: int(length, 16)], rest[int(length, 16) + 2 :]
    assert got == data
    assert list(tmp_path.iterdir()) == []


def test_with_no_memory_left_small_objects_go_through_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icap_door, "HeldBytes", lambda: HeldBytes(limit=8))
    judge = ScriptedJudge()

    async def scene(talk: Talk, _: OpenDoor) -> None:
        for data in (b"small", b"0123456789", b"after"):  # what was held is given back
            talk.send(respmod(chunk(data[:3]) + chunk(data[3:]) + LAST, b"Allow: 204"))
            assert (await talk.until(b"\r\n\r\n")).startswith(b"ICAP/1.0 204 ")

    play(scene, judge)
    assert [(each.content, each.was_file) for each in judge.asked] == [
        (b"small", False),
        (b"0123456789", True),
        (b"after", False),
    ]


def reqmod(http: bytes, body: bytes | None, *fields: bytes) -> bytes:
    end = (b"null-body=%d" if body is None else b"req-body=%d") % len(http)
    lines = [b"REQMOD icap://h/reqmod ICAP/1.0", *fields, b"Encapsulated: req-hdr=0, " + end, b"\r\n"]
    return b"\r\n".join(lines) + http + (body or b"")


def test_requests_without_a_body_pass() -> None:
    judge = ScriptedJudge(INFECTED)
    http = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n"
    assert answer_of(reqmod(http, None, b"Allow: 204"), judge).startswith(b"ICAP/1.0 204 ")
    heard = answer_of(reqmod(http, None), judge)
    assert b"Encapsulated: req-hdr=0, null-body=%d\r\n" % len(http) in heard
    assert heard.endswith(b"\r\n\r\n" + http)
    assert judge.asked == []


def test_forms_are_read_as_what_they_are_and_go_on_unchanged() -> None:
    http = b"POST http://h/up HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.exe"\r\n\r\nMZ\r\n--x--\r\n'
    judge = ScriptedJudge(CLEAN)
    heard = answer_of(reqmod(http, chunk(form) + LAST), judge)
    assert judge.last.request.bare is None
    assert judge.last.content == (b"MIME-Version: 1.0\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n" + form)
    assert heard.endswith(b"\r\n\r\n" + http + chunk(form) + LAST)


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"OPTIONS icap://h/other ICAP/1.0\r\n\r\n", b"404"),
        (reqmod(b"", None).replace(b"/reqmod", b"/respmod"), b"405"),
        (b"HELLO\r\n\r\n", b"400"),
    ],
)
def test_wrong_requests_end_the_connection(stream: bytes, status: bytes) -> None:
    async def scene(talk: Talk, opened: OpenDoor) -> None:
        talk.send(stream)
        assert (await talk.rest()).startswith(b"ICAP/1.0 " + status)
        await opened.settle()
        assert opened.ended == [None]
        assert opened.reported[0][0] == "W"

    play(scene, ScriptedJudge())


def test_a_client_that_goes_in_the_middle_is_not_judged() -> None:
    judge = ScriptedJudge()
    assert answer_of(respmod(chunk(b"abc")), judge) == b""
    assert judge.asked == []
