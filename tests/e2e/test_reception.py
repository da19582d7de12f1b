"""Reception as a client sees it: dialogue, limits, timeouts, line ends, relaying. Documented defaults, from an INI file,
wherever the default is what is promised.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, free_port
from tests.support.ini import IniGateway
from tests.support.mails import plain
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import CODE, Wire

SIZE_LIMIT = 10_485_760
"""The documented default, in bytes."""
RELAYS = pytest.mark.parametrize("relays", [1, 3])


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IniGateway]:
    """The documented defaults, two endpoints, and rules for an inside (127.0.0.1) and an outside."""
    access = [
        "RelayRule=allow from 127.0.0.1 to *",
        "RelayRule=allow from any to *@example.org",
        "RelayRule=deny from any to *",
    ]
    state = tmp_path_factory.mktemp("reception") / "gw"
    with IniGateway(state, sink.port, listeners=2, sections={"access": access}) as one:
        yield one


def arrived(sink: Sink, subject: str, recipient: str = "") -> Mail:
    """Wait for the mail with a subject; the sink is shared."""

    def look() -> Mail | None:
        wanted = f"\r\nSubject: {subject}\r\n".encode()
        found = [
            m for m in list(sink.mails) if wanted in m.header + b"\r\n" and (recipient in m.recipients or not recipient)
        ]
        return found[0] if found else None

    mail = wait_for(look, f"mail {subject!r}")
    assert mail is not None
    return mail


def grown(gateway: Gateway, before: dict[str, int], **changes: int) -> None:
    """Wait until counters have grown by exactly so much."""
    wanted = {name: before.get(name, 0) + change for name, change in changes.items()}
    wait_for(
        lambda: all(gateway.counter(name) >= value for name, value in wanted.items()), f"counters to reach {wanted}"
    )
    now = gateway.status()["counters"]
    assert {name: now.get(name, 0) for name in wanted} == wanted


def counters(gateway: Gateway) -> dict[str, int]:
    """Return the counters once what earlier tests sent has been settled."""

    def at_rest() -> dict[str, int] | None:
        status = gateway.status()
        busy = any(any(relay["in_work"].values()) for relay in status["relays"])
        return None if busy or status["queue"]["waiting"] or status["queue"]["ready"] else status["counters"]

    return wait_for(at_rest, "the gateway to come to rest")


# --- dialogue


@pytest.mark.feature("F-SMTP-01")
@pytest.mark.feature("F-CONF-01")
def test_every_listen_line_opens_a_port_that_takes_mail(gateway: IniGateway, sink: Sink) -> None:
    assert len(gateway.ports) == 2
    for number, port in enumerate(gateway.ports):
        with Wire(port) as wire:
            wire.begin()
            assert wire.data(plain(f"endpoint {number}")).startswith("250 ")
        arrived(sink, f"endpoint {number}")
    assert gateway.status()["listeners"] == [f"127.0.0.1:{port}" for port in gateway.ports]


@pytest.mark.feature("F-SMTP-02")
def test_documented_dialogue(gateway: IniGateway, sink: Sink) -> None:
    before = counters(gateway)
    with Wire(gateway.port) as wire:
        assert wire.reply() == "220 gw.example.org ESMTP"
        assert wire.ask("EHLO user") == (
            "250-gw.example.org hello user [127.0.0.1]\n250-ENHANCEDSTATUSCODES\n250-PIPELINING\n250-8BITMIME\n"
            f"250-SIZE {SIZE_LIMIT}\n250-CHUNKING\n250-SMTPUTF8\n250 DSN"
        )
        assert wire.ask("MAIL FROM:<a@example.net>") == "250 2.1.0 OK"
        assert wire.ask("RCPT TO:<b@example.org>") == "250 2.1.5 OK"
        assert wire.ask("DATA") == "354 Start mail input; end with <CRLF>.<CRLF>"
        wire.send(plain("dialogue"))
        assert re.fullmatch(r"250 2\.0\.0 OK queued as [0-9A-Z]{13}", wire.ask("."))
        assert wire.ask("QUIT").startswith("221 2.0.0 ")
        assert wire.reply() == ""
    assert arrived(sink, "dialogue").sender == "a@example.net"
    grown(gateway, before, mta_received_messages=1, antiviral_checked_messages_total=1, mta_sent_messages=1)


@pytest.mark.feature("F-SMTP-04")
def test_batched_commands_are_answered_in_order(gateway: IniGateway, sink: Sink) -> None:
    with Wire(gateway.port) as wire:
        wire.expect(("", "220"), ("EHLO client.example.net", "250"))
        wire.send(
            b"NOOP\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<one@example.org>\r\nRCPT TO:<\r\nBOGUS\r\n"
            b"RCPT TO:<two@example.org>\r\nDATA\r\n"
        )
        codes = [wire.reply()[:9] for _ in range(7)]
        assert codes == ["250 2.0.0", "250 2.1.0", "250 2.1.5", "501 5.5.4", "500 5.5.2", "250 2.1.5", "354 Start"]
        wire.send(plain("batch") + b".\r\nMAIL FROM:<a@example.net>\r\nRSET\r\nQUIT\r\n")
        assert [wire.reply()[:9] for _ in range(5)] == ["250 2.0.0", "250 2.1.0", "250 2.0.0", "221 2.0.0", ""]
    assert arrived(sink, "batch").recipients == ["one@example.org", "two@example.org"]


@pytest.mark.feature("F-SMTP-06")
def test_every_reply_after_ehlo_has_an_enhanced_code(gateway: IniGateway) -> None:
    commands = (
        "NOOP", "HELP", "VRFY user", "EXPN list", "ETRN x", "RSET", "BOGUS", "DATA", "RCPT TO:<a@example.org>", "MAIL FROM:<a",
        "MAIL FROM:<a@example.net> SIZE=99999999999", "MAIL FROM:<a@example.net> FOO=1", "MAIL FROM:<a@example.net>",
        "MAIL FROM:<a@example.net>", "RCPT TO:<b@other.example>", "RCPT TO:<>", "DATA", "RCPT TO:<b@example.org>",
    )  # fmt: skip
    with Wire(gateway.port, "127.0.0.6") as wire:
        wire.expect(("", "220"), ("EHLO client.example.net", "250"))
        answers = [wire.ask(command) for command in commands]
        answers += [wire.data(b"Subject: x\r\n\r\nbare\n.\r\n"), wire.ask("QUIT")]
    for answer in answers:
        assert re.match(r"([245])\d\d[ -]\1\.\d{1,3}\.\d{1,3} ", answer), answer
    assert {answer[0] for answer in answers} == {"2", "5"}


def test_old_clients_get_plain_codes(gateway: IniGateway, sink: Sink) -> None:
    with Wire(gateway.port) as wire:
        wire.expect(("", "220 "))
        assert wire.ask("HELO old.example.net") == "250 gw.example.org hello old.example.net [127.0.0.1]"
        wire.expect(("MAIL FROM:<a@example.net>", "250 OK"), ("RCPT TO:<b@example.org>", "250 OK"), ("BOGUS", "500 C"))
        assert wire.data(plain("helo")).startswith("250 OK")
    assert b" with SMTP id " in arrived(sink, "helo").header


# --- limits


@pytest.mark.feature("F-SMTP-03")
def test_size_limit_declared_and_real(gateway: IniGateway, sink: Sink) -> None:
    before = counters(gateway)
    with Wire(gateway.port) as wire:
        wire.expect(("", "220"))
        assert f"250-SIZE {SIZE_LIMIT}\n" in wire.ask("EHLO client.example.net")
        wire.expect((f"MAIL FROM:<a@example.net> SIZE={SIZE_LIMIT + 1}", "552 5.3.4"))
    grown(gateway, before, mta_receivings_refused_for_message_size_limit=1)
    head = plain("largest")
    largest = head + b"x" * 62 + b"\r\n" + (b"y" * 62 + b"\r\n") * ((SIZE_LIMIT - len(head) - 64) // 64)
    largest += b"z" * (SIZE_LIMIT - len(largest) - 2) + b"\r\n"
    with Wire(gateway.port) as wire:
        wire.begin()
        assert wire.data(b"a" + largest).startswith("552 5.3.4")
        wire.expect(("NOOP", "250"))
    grown(gateway, before, mta_receivings_refused_for_message_size_limit=2, mta_receivings_refused_total=2)
    with Wire(gateway.port) as wire:
        wire.expect(("", "220"), ("EHLO c.example", "250"), (f"MAIL FROM:<a@example.net> SIZE={SIZE_LIMIT}", "250"))
        wire.expect(("RCPT TO:<b@example.org>", "250"))
        assert wire.data(largest).startswith("250 ")
    assert arrived(sink, "largest").without_trace() == largest


@pytest.mark.feature("F-SMTP-07")
def test_limits_of_one_session(gateway: IniGateway, sink: Sink) -> None:
    before = counters(gateway)
    large = plain("session size", size=6_000_000)
    with Wire(gateway.port) as wire:
        wire.begin()
        assert wire.data(large).startswith("250 ")
        wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<b@example.org>", "250"))
        assert wire.data(large).startswith("452 4.3.1")
        assert wire.reply() == ""
    grown(gateway, before, mta_receivings_refused_for_session_size_limit=1, mta_received_messages=1)
    with Wire(gateway.port) as wire:
        wire.expect(("", "220"), ("EHLO c.example", "250"))
        for _ in range(100):
            wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RSET", "250"))
        wire.expect(("MAIL FROM:<a@example.net>", "452 4.5.3"))
    grown(gateway, before, mta_receivings_refused_for_messages_per_session_limit=1, mta_receivings_refused_total=2)


@pytest.mark.feature("F-SMTP-08")
def test_surplus_recipients_are_told_to_come_again(gateway: IniGateway, sink: Sink) -> None:
    before = counters(gateway)
    first = [f"r{number}@example.org" for number in range(100)]
    with Wire(gateway.port) as wire:
        wire.begin(first)
        wire.expect(("RCPT TO:<r100@example.org>", "452 4.5.3"))
        assert wire.data(plain("hundred")).startswith("250 ")
    arrived(sink, "hundred")
    wait_for(lambda: len([r for r in sink.recipients() if re.match(r"r\d+@", r)]) >= 100, "a hundred recipients")
    got = {r: n for r, n in sink.recipients().items() if re.match(r"r\d+@", r)}
    assert got == dict.fromkeys(first, 1)
    grown(gateway, before, mta_receivings_refused_total=1, mta_received_recipients=100, mta_sent_recipients=100)


@pytest.mark.feature("F-SMTP-10")
def test_hop_limit(gateway: IniGateway, sink: Sink) -> None:
    before = counters(gateway)
    hop = b"Received: from a.example by b.example; Mon, 2 Jan 2006 15:04:05 +0000\r\n"
    with Wire(gateway.port) as wire:
        wire.begin()
        assert wire.data(hop * 21 + plain("loop")).startswith("554 5.4.6")
        wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<b@example.org>", "250"))
        assert wire.data(hop * 20 + plain("far")).startswith("250 ")
    arrived(sink, "far")
    grown(gateway, before, mta_receivings_refused_for_hops_limit=1, mta_received_messages=1)


@pytest.mark.feature("F-SMTP-09")
@RELAYS
def test_session_limits_hold_across_relays(tmp_path: Path, relays: int) -> None:
    with Sink() as sink, IniGateway(tmp_path / "gw", sink.port, relays=relays) as gateway, ExitStack() as open_ones:

        def connect(source: str) -> tuple[Wire, str]:
            wire = open_ones.enter_context(Wire(gateway.port, source))
            return wire, wire.reply()

        held = [connect(f"127.0.1.{number // 4}") for number in range(96)]
        assert {greeting[:4] for _, greeting in held} == {"220 "}
        fifth, answer = connect("127.0.1.7")
        assert answer.startswith("421 ")
        assert "4.7.0" in answer
        assert fifth.reply() == ""
        held += [connect(f"127.0.2.{number}") for number in range(4)]
        assert {greeting[:4] for _, greeting in held} == {"220 "}
        assert gateway.counter("mta_incoming_connections_current") == 100
        surplus, answer = connect("127.0.3.1")
        assert answer.startswith("421 ")
        assert "4.3.2" in answer
        assert surplus.reply() == ""
        grown(
            gateway,
            {},
            mta_incoming_connections_refused_for_sessions_per_ip_limit=1,
            mta_incoming_connections_refused_for_sessions_limit=1,
            mta_incoming_connections_refused_total=2,
        )
        held[0][0].close()  # a place of 127.0.1.0 becomes free, for everybody
        wait_for(lambda: gateway.counter("mta_incoming_connections_current") == 99, "the place to become free")
        assert connect("127.0.1.0")[1].startswith("220 ")


def test_full_working_queue_slows_reception(tmp_path: Path) -> None:
    settings = {"queue_limit_messages = 100000": "queue_limit_messages = 3"}
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, replace=settings) as gateway:
        gateway.switch("scan", on=False)
        for number in range(3):
            gateway.send(plain(f"waits {number}"))
        assert [row["state"] for row in gateway.queue()] == ["WFC"] * 3
        with gateway.client() as client:
            code, text = client.mail("a@example.net")
            assert (code, text[:5]) == (452, b"4.3.1")
            gateway.switch("scan", on=True)
            wait_for(lambda: len(sink.mails) == 3, "the waiting mail")
            assert client.mail("a@example.net")[0] == 250
        grown(gateway, {}, mta_receivings_refused_total=1)


@pytest.mark.feature("F-SMTP-11")
def test_reception_pauses_while_the_queue_has_no_space(tmp_path: Path) -> None:
    setting = 'minimal_queue_free_space_size = "{} MiB"'
    # More than any machine of ours has free, then nothing.
    high, low = setting.format(1_000_000), setting.format(0)
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, replace={low: high}) as gateway:
        with gateway.client() as client:
            code, text = client.mail("a@example.net")
            assert (code, text[:5]) == (452, b"4.3.1")
        grown(gateway, {}, mta_receivings_refused_total=1)
        gateway.edit(high, low)
        assert gateway.command("reload").returncode == 0
        gateway.send(plain("space"))
        arrived(sink, "space")


# --- time


@pytest.mark.feature("F-SMTP-12")
def test_silent_clients_are_dropped_at_every_stage(tmp_path: Path) -> None:
    """Distinct times, so that it shows which one ran; all clients wait at once."""
    command, initiation, termination, read = 1.0, 2.0, 3.0, 2.0
    times = [
        "ReceivingCommandTimeout=1",
        "ReceivingDataInitiationTimeout=2",
        "ReceivingDataTerminationTimeout=3",
        "ReadTimeout=2",
    ]
    hello, mail = ("EHLO c.example", "250"), ("MAIL FROM:<a@example.net>", "250")
    recipient, data = ("RCPT TO:<b@example.org>", "250"), ("DATA", "354")

    def silent(gateway: Gateway, *dialogue: tuple[str, str], content: bytes = b"") -> tuple[str, float]:
        since = time.monotonic()  # before the gateway's own look at the clock, however late we are
        with Wire(gateway.port) as wire:
            wire.expect(("", "220"), *dialogue)
            wire.send(content)
            return wire.drain()[0], time.monotonic() - since

    def busy(gateway: Gateway, line: bytes, *dialogue: tuple[str, str]) -> tuple[str, float]:
        """Never silent for long, never done."""
        since = time.monotonic()
        with Wire(gateway.port) as wire:
            wire.expect(("", "220"), *dialogue)
            last = "250 "
            while last.startswith("250 "):
                if wire.silent_for(0.1):
                    wire.send(line)
                else:
                    last = wire.reply()
            assert wire.reply() == ""
            return last, time.monotonic() - since

    with (
        Sink() as sink,
        IniGateway(
            tmp_path / "gw", sink.port, extra={"timeouts": times, "limits": ["MaximalIncomingSessionsPerIP=20"]}
        ) as gateway,
        ThreadPoolExecutor(8) as pool,
    ):
        stages = {
            "greeting": (command, pool.submit(silent, gateway)),
            "half a command": (command, pool.submit(silent, gateway, hello, content=b"MAIL FR")),
            "mail": (command, pool.submit(silent, gateway, hello)),
            "first recipient": (command, pool.submit(silent, gateway, hello, mail)),
            "data": (initiation, pool.submit(silent, gateway, hello, mail, recipient)),
            "many recipients": (
                initiation,
                pool.submit(busy, gateway, b"RCPT TO:<c@example.org>\r\n", hello, mail, recipient),
            ),
            "content": (read, pool.submit(silent, gateway, hello, mail, recipient, data, content=b"Subject: x\r\n")),
            "trickle": (termination, pool.submit(busy, gateway, b"x\r\n", hello, mail, recipient, data)),
        }
        for stage, (seconds, future) in stages.items():
            last, after = future.result(30)
            assert last.startswith("421 4.4.2") or (stage == "greeting" and last.startswith("421 ")), (stage, last)
            assert seconds - 0.3 <= after < 20, stage
        assert gateway.counter("mta_received_messages") == 0
        assert not sink.mails


# --- content and addresses


@pytest.mark.feature("F-SMTP-14")
def test_bare_line_ends_are_mended_or_refused_as_the_listener_says(tmp_path: Path) -> None:
    mending = free_port()
    listener = f'\n[[listener]]\naddress = "127.0.0.1:{mending}"\nbare_line_feed = "fix"\n'
    # An end of data for lax servers, and a second message behind it: smuggling.
    crooked = plain("bare").replace(b"hello\r\n", b"one\ntwo\r\n\n.\nMAIL FROM:<x@example.net>\n\nend\r\n")
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, settings=listener) as gateway:
        with Wire(gateway.port) as wire:
            wire.begin()
            assert wire.data(crooked).startswith("550 5.5.2")
            wire.expect(("NOOP", "250"))
        grown(gateway, {}, mta_malformed_messages=1)
        with Wire(mending) as wire:
            wire.begin()
            assert wire.data(crooked).startswith("250 ")
            wire.expect(("QUIT", "221"))
        mail = arrived(sink, "bare")
        assert mail.without_trace() == re.sub(rb"\r?\n", b"\r\n", crooked)
        grown(gateway, {}, mta_malformed_messages=2, mta_received_messages=1)
        assert gateway.stop() == 0
        assert len(sink.mails) == 1


@pytest.mark.feature("F-SMTP-15")
def test_postmaster_is_mapped_for_everybody(gateway: IniGateway, sink: Sink) -> None:
    for number, address in enumerate(("postmaster", "PostMaster")):
        with Wire(gateway.port, "127.0.0.9") as wire:
            wire.begin([address])
            assert wire.data(plain(f"postmaster {number}")).startswith("250 ")
        assert arrived(sink, f"postmaster {number}").recipients == ["chief@example.org"]


def test_no_open_relay(gateway: IniGateway, sink: Sink) -> None:
    before = counters(gateway)
    foreign = (
        "user@other.example",
        "user%other.example@gw.invalid",
        '"user@other.example"@gw.invalid',
        "user@example.org.evil",
    )
    with Wire(gateway.port, "127.0.0.9") as wire:
        wire.begin(["inside@example.org"])
        for address in foreign:
            wire.expect((f"RCPT TO:<{address}>", "554 5.7.1"))
        assert CODE.match(wire.ask("RCPT TO:<@example.org:user@other.example>")).group(1) == "554"  # type: ignore[union-attr]
        assert wire.data(plain("outside")).startswith("250 ")
    assert arrived(sink, "outside").recipients == ["inside@example.org"]
    grown(gateway, before, mta_incoming_connections_refused_for_relaying=len(foreign) + 1)
    with Wire(gateway.port, "127.0.0.1") as wire:
        wire.begin(["user@other.example"])
        assert wire.data(plain("own")).startswith("250 ")
    assert arrived(sink, "own").recipients == ["user@other.example"]


def test_shipped_rules_are_no_open_relay(tmp_path: Path) -> None:
    narrow = {'"127.0.0.0/8", "::1/128",': '"127.0.0.1/32",'}
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, replace=narrow) as gateway:
        with Wire(gateway.port, "127.0.0.9") as wire:
            wire.begin(["user@example.org"])
            wire.expect(("RCPT TO:<user@other.example>", "554 5.7.1"))
        with Wire(gateway.port, "127.0.0.1") as wire:
            wire.begin(["user@other.example"])
        (line,) = wait_for(lambda: gateway.lines("REFUSED"), "the refusal in the log")
        assert "stage=rcpt, cause=relaying, client=[127.0.0.9], code=554" in line
        assert "rcpt=<user@other.example>" in line


def test_client_that_has_ended_its_own_side_gets_its_replies(gateway: IniGateway, sink: Sink) -> None:
    with Wire(gateway.port) as wire:
        wire.begin()
        wire.expect(("DATA", "354 "))
        wire.send(plain("ended early") + b".\r\nNOOP\r\n")
        wire.end()
        wire.expect(("", "250 2.0.0 OK queued as"), ("", "250 "))
        assert wire.reply() == ""
    assert arrived(sink, "ended early")
