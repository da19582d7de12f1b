"""Whether recipients exist: the list and its file, the dialogue with a next hop, and what is remembered of it."""

import asyncio
import os
import threading

import pytest
from access_visits import (
    BASE,
    OPEN_TO_OURS,
    OURS,
    Clock,
    TableResolver,
    access_of,
    causes,
    found,
    mail_host,
    services_of,
)
from tests.support.ports import free_port
from tests.support.sink import CLOSE, Sink

from gatepost.config.load import load_text
from gatepost.relay import verification
from gatepost.relay.probe import ProbeSession, Verdict
from gatepost.relay.verification import AnswersOfHops, CallAhead, KnownRecipients, parse_recipients
from gatepost.resolver.answers import Mx


def test_list_in_the_configuration():
    text = (
        f"[access]\n{OPEN_TO_OURS}recipient_verification = 'list'\nknown_recipients = ['joe@example.org', 'info-*@*']\n"
    )
    access = access_of(text)
    recipients = ("joe@example.org", "INFO-x@example.org", "jim@example.org", "postmaster", "PostMaster@example.org")
    assert causes(access, recipients=recipients)[3:] == ["", "", "unknown-recipient", "", ""]
    # Ours may write to anybody; what is elsewhere is not ours to know.
    assert causes(access, OURS, recipients=("jim@example.org", "jim@elsewhere.example"))[3:] == ["", ""]


def test_file_of_recipients_is_read_anew_when_it_changes(tmp_path):
    file, clock = tmp_path / "recipients", Clock()
    file.write_text("# ours\njoe@example.org\n\n*@sub.example.org\n")
    known = KnownRecipients((), str(file), clock)

    async def look(recipient):
        known.exists(recipient)
        if known._reading is not None:
            await asyncio.wait([known._reading])
        return known.exists(recipient)

    async def story():
        assert await look("joe@example.org") is True
        assert await look("ann@example.org") is False
        file.write_text("ann@example.org\n")
        os.utime(file, ns=(1, 1))
        assert await look("ann@example.org") is False  # not looked at again so soon
        clock.now += 2
        assert await look("ann@example.org") is True
        assert await look("joe@example.org") is False
        file.unlink()
        clock.now += 2
        assert await look("ann@example.org") is True  # what was read last holds

    asyncio.run(story())


def test_a_reload_goes_on_with_the_list_and_reads_it_beside_the_mail(tmp_path, monkeypatch):
    file, clock = tmp_path / "recipients", Clock()
    file.write_text("joe@example.org\n")
    services = services_of(clock=clock)
    text = f"[access]\n{OPEN_TO_OURS}recipient_verification = 'list'\nknown_recipients_file = '{file}'\n"
    access_of(text, services=services)
    file.write_text("ann@example.org\n")
    os.utime(file, ns=(1, 1))
    read, readers = KnownRecipients._read, []

    def noted(known):
        readers.append(threading.current_thread())
        return read(known)

    monkeypatch.setattr(KnownRecipients, "_read", noted)
    access_of(text, services=services)
    assert not readers
    known = services.verifier
    assert isinstance(known, KnownRecipients)

    async def story():
        assert known.exists("joe@example.org") is not None  # by the old list or already by the new one
        assert known._reading is not None
        await asyncio.wait([known._reading])
        assert known.exists("ann@example.org") is True
        assert known.exists("joe@example.org") is False

    asyncio.run(story())
    assert [reader is threading.main_thread() for reader in readers] == [False]


def test_missing_file_is_no_reason_to_refuse_for_good(tmp_path):
    told = []
    known = KnownRecipients(("joe@example.org",), str(tmp_path / "none"), Clock(), told.append)
    assert [str(tmp_path / "none") in text for text in told] == [True]
    assert known.exists("joe@example.org") is True
    assert known.exists("ann@example.org") is None
    text = f"[access]\n{OPEN_TO_OURS}recipient_verification = 'list'\nknown_recipients_file = '{tmp_path / 'none'}'\n"
    assert causes(access_of(text))[-1] == "verification"


def test_lines_that_are_no_address_match_nobody():
    assert parse_recipients("joe@example.org\nbad line here\n<x>\n  ann@example.org  \n#c\n") == [
        "joe@example.org",
        "ann@example.org",
    ]


# The dialogue.


def dialogue(*replies, lmtp=False):
    session = ProbeSession("gw.example.org", "joe@example.org", lmtp=lmtp)
    said = []
    for answer in replies:
        session.feed(answer.encode() + b"\r\n")
        said.append(session.take_output().decode())
    return session.verdict, said


def test_dialogue():
    verdict, said = dialogue("220 mx", "250-mx\r\n250 SIZE", "250 ok", "250 ok")
    assert verdict is Verdict.EXISTS
    assert said == ["EHLO gw.example.org\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<joe@example.org>\r\n", "RSET\r\nQUIT\r\n"]


@pytest.mark.parametrize(
    ("replies", "verdict"),
    [
        (["220 mx", "250 mx", "250 ok", "550 5.1.1 no"], Verdict.ABSENT),
        (["220 mx", "250 mx", "250 ok", "450 4.2.0 later"], Verdict.UNDECIDED),
        (["220 mx", "502 what", "250 mx", "250 ok", "250 ok"], Verdict.EXISTS),
        (["220 mx", "502 what", "502 what"], Verdict.UNDECIDED),
        (["554 go away"], Verdict.UNDECIDED),
        (["421 later"], Verdict.UNDECIDED),
        (["220 mx", "250 mx", "530 5.7.0 Must issue STARTTLS"], Verdict.UNDECIDED),
        (["rubbish"], Verdict.UNDECIDED),
        (["220 mx", "250 mx", "250 ok"], None),
    ],
)
def test_only_a_no_to_the_recipient_is_a_no(replies, verdict):
    assert dialogue(*replies)[0] is verdict


def test_dialogue_byte_by_byte_and_cut_off():
    session = ProbeSession("gw", "joe@example.org")
    for byte in b"220 mx\r\n250 mx\r\n250 ok\r\n":
        session.feed(bytes((byte,)))
    assert session.take_output().count(b"\r\n") == 3
    session.eof()
    assert session.verdict is Verdict.UNDECIDED


def test_lmtp_says_lhlo():
    assert dialogue("220 mx", "250 mx", lmtp=True)[1][0] == "LHLO gw.example.org\r\n"


# Call-ahead over real sockets of 127.0.0.1.


def ahead(port, clock=None, answers=None, resolver=None, route=True):
    text = BASE + "[access]\nrecipient_verification = 'call_ahead'\nverification_ttl = '1 h'\n"
    if route:
        text += f"[[route]]\nrecipients = ['*@example.org']\nnext_hop = ['[127.0.0.1:{port}]']\n"
    config = load_text(text, "x.toml").config
    resolver = resolver or TableResolver({("addresses", "127.0.0.1"): found("127.0.0.1")})
    return CallAhead(config, resolver, answers or AnswersOfHops(), clock or Clock())


async def exists(verifier, recipient):
    answer = verifier.exists(recipient)
    return answer if isinstance(answer, bool) else await answer


def only_joe(step, argument, _sink):
    return "550 5.1.1 unknown" if step == "rcpt" and "joe" not in argument else None


def test_call_ahead_asks_once_and_remembers():
    clock = Clock()
    with Sink(script=only_joe) as sink:
        verifier = ahead(sink.port, clock)

        async def story():
            together = await asyncio.gather(*(exists(verifier, "joe@EXAMPLE.org") for _ in range(5)))
            assert together == [True] * 5
            assert await exists(verifier, "jim@example.org") is False
            assert verifier.exists("joe@example.org") is True
            assert verifier.exists("jim@example.org") is False
            assert sink.connections == 2
            clock.now += 3601
            assert await exists(verifier, "joe@example.org") is True
            assert sink.connections == 3

        asyncio.run(story())
        assert sink.mails == []


def closing(step, _argument, _sink):
    return CLOSE if step == "rcpt" else None


@pytest.mark.parametrize("script", [closing, None])
def test_next_hop_without_a_verdict_takes_the_recipient(script):
    clock, answers = Clock(), AnswersOfHops()
    with Sink(script=script) as sink:
        verifier = ahead(sink.port if script else 1, clock, answers)
        assert asyncio.run(exists(verifier, "jim@example.org")) is True
    assert answers.find("jim@example.org", clock.now) is True
    assert answers.find("jim@example.org", clock.now + verification.UNDECIDED_TTL_S) is None


def test_without_a_route_the_mail_hosts_are_asked():
    resolver = TableResolver({("MX", "example.org"): mail_host("mx.example.org")})
    verifier = ahead(0, resolver=resolver, route=False)
    assert asyncio.run(exists(verifier, "jim@example.org")) is True
    assert resolver.asked[("addresses", "mx.example.org")] == 1


def test_a_domain_whose_mail_host_we_are_is_not_asked_about_at_ourselves():
    resolver = TableResolver({("MX", "example.org"): mail_host("gw.example.org")})
    assert asyncio.run(exists(ahead(0, resolver=resolver, route=False), "jim@example.org")) is True
    assert resolver.asked[("addresses", "gw.example.org")] == 0


@pytest.mark.parametrize(
    ("better", "probed"), [("127.0.0.1", []), ("::ffff:127.0.0.1", []), ("0.0.0.0", []), ("192.0.2.9", ["192.0.2.9"])]
)
def test_a_mail_host_that_is_ourselves_by_address_is_not_asked_nor_any_worse_one(monkeypatch, better, probed):
    """Delivery would not go there either (RFC 5321 §5.1): we would ask ourselves, who would ask ourselves."""
    asked = []

    async def probe(address, _port, _session):
        asked.append(address)

    monkeypatch.setattr(verification, "probe", probe)
    resolver = TableResolver(
        {
            ("MX", "example.org"): found(
                Mx(10, "better.example.org"), Mx(20, "ours.example.org"), Mx(30, "last.example.org")
            ),
            ("addresses", "better.example.org"): found(better),
            ("addresses", "ours.example.org"): found("127.0.0.1"),
            ("addresses", "last.example.org"): found("192.0.2.10"),
        }
    )
    config = load_text(BASE + "[[listener]]\naddress = '127.0.0.1:25'\n", "x.toml").config
    verifier = CallAhead(config, resolver, AnswersOfHops(), Clock())
    assert asyncio.run(exists(verifier, "jim@example.org")) is True
    assert asked == probed


def test_too_many_questions_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(verification, "WAITING_LIMIT", 3)

    async def story():
        verifier = ahead(1)
        answers = [verifier.exists(f"u{n}@example.org") for n in range(5)]
        assert [answer is True for answer in answers] == [False, False, False, True, True]
        assert await asyncio.gather(*answers[:3]) == [True] * 3

    asyncio.run(story())


def test_memory_of_answers_is_bounded(monkeypatch):
    monkeypatch.setattr(verification, "REMEMBERED_LIMIT", 10)
    answers = AnswersOfHops()
    for n in range(30):
        answers.keep(f"u{n}@x", exists=True, until=10)
    assert [answers.find(f"u{n}@x", 5) for n in (0, 19, 20, 29)] == [None, None, True, True]


def test_one_client_that_goes_away_does_not_take_the_answer_from_another():
    async def story():
        verifier = ahead(sink.port)
        first = asyncio.ensure_future(verifier.exists("jim@example.org"))
        second = asyncio.ensure_future(verifier.exists("jim@example.org"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second is False
        assert first.cancelled()

    with Sink(script=only_joe) as sink:
        asyncio.run(story())


def test_lmtp_routes_are_asked_by_lmtp():
    said = []

    async def serve(reader, writer):
        writer.write(b"220 lmtp\r\n")
        said.append(await reader.readline())
        writer.close()

    async def story():
        server = await asyncio.start_server(serve, "127.0.0.1", free_port())
        port = server.sockets[0].getsockname()[1]
        text = BASE + f"[[route]]\nrecipients = ['*@*']\nnext_hop = ['[127.0.0.1:{port}]']\ntransport = 'lmtp'\n"
        resolver = TableResolver({("addresses", "127.0.0.1"): found("127.0.0.1")})
        verifier = CallAhead(load_text(text, "x.toml").config, resolver, AnswersOfHops(), Clock())
        assert await exists(verifier, "jim@example.org") is True
        server.close()

    asyncio.run(story())
    assert said == [b"LHLO gw.example.org\r\n"]
