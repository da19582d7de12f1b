"""Reception under pressure, and peers that speak for others: pauses, early talkers, XCLIENT, XFORWARD, load shedding, a
queue that fills.
"""

import contextlib
from collections.abc import Iterator

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

OURS = {'"127.0.0.0/8", "::1/128",': '"127.0.0.1/32",'}
STRANGER = "127.0.0.9"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def pausing(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Greets strangers after a second; believes what 127.0.0.1 and 127.0.0.2 tell about their clients."""
    replace = OURS | {
        "[access]\n": '[access]\ngreeting_pause = "1 s"\nxclient_networks = ["127.0.0.1/32"]\n',
        "[network]\n": '[network]\ntrusted_networks = ["127.0.0.1/32"]\nfront_relays = ["127.0.0.2/32"]\n',
        "maximal_incoming_sessions_per_ip = 50": "maximal_incoming_sessions_per_ip = 3",
    }
    with StrictGateway(tmp_path_factory.mktemp("pausing") / "gw", sink.port, replace=replace) as one:
        yield one


class StrictGateway(Gateway):
    """With the number of sessions for one address that the test says."""

    def __init__(self, state, sink_port: int, *, replace: dict[str, str]) -> None:
        wanted = replace.pop("maximal_incoming_sessions_per_ip = 50")
        changes = {"maximal_incoming_sessions_per_ip = 50": wanted, **replace}
        super().__init__(state, sink_port, replace=changes)


def arrived(sink: Sink, subject: str) -> Mail:
    def look() -> list[Mail]:
        return [m for m in list(sink.mails) if f"\r\nSubject: {subject}\r\n".encode() in m.header]

    return wait_for(look, f"mail {subject!r}")[0]


# --- the greeting


def test_strangers_wait_for_their_greeting_and_early_talkers_never_get_one(pausing: Gateway) -> None:
    with Wire(pausing.port, STRANGER) as patient, Wire(pausing.port, "127.0.0.8") as early:
        early.send(b"EHLO client.example.net\r\n")
        assert early.reply() == "554 Error: you talked before the greeting"
        assert early.reply() == ""
        assert patient.silent_for(0.2)
        patient.expect(("", "220 gw.example.org ESMTP"), ("EHLO c.example", "250"))
    wait_for(lambda: pausing.lines("cause=early-talker, client=[127.0.0.8]"), "the early talker in the log")


def test_our_own_clients_are_greeted_at_once(pausing: Gateway) -> None:
    with Wire(pausing.port) as wire:
        wire.send(b"EHLO client.example.net\r\nNOOP\r\n")
        wire.expect(("", "220 "), ("", "250-"), ("", "250 "))


# --- peers that speak for others


def test_xclient_makes_the_session_that_of_another_client(pausing: Gateway, sink: Sink) -> None:
    with Wire(pausing.port) as wire:
        wire.expect(("", "220 "))
        assert any(line.startswith("250-XCLIENT ") for line in wire.ask("EHLO proxy.example").splitlines())
        wire.expect(("XCLIENT ADDR=127.0.0.66 NAME=far.example.net PORT=4711", "220 "))
        assert "[127.0.0.66]" in wire.ask("EHLO far.example.net")
        wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<b@elsewhere.example>", "554 5.7.1"))
        wire.expect(("RCPT TO:<b@example.org>", "250"))
        assert wire.data(plain("xclient")).startswith("250 ")
    assert b"from far.example.net (far.example.net [127.0.0.66])" in arrived(sink, "xclient").header
    with Wire(pausing.port, "127.0.0.2") as wire:
        wire.expect(("", "220 "), ("EHLO c.example", "250"), ("XCLIENT ADDR=127.0.0.1", "550"))


def test_limits_count_the_client_that_xclient_names(pausing: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(4):
            wire = stack.enter_context(Wire(pausing.port))
            wire.expect(("", "220 "), ("EHLO proxy.example", "250"))
            wire.expect(("XCLIENT ADDR=127.0.0.70", "220 " if number < 3 else "421 4.7.0"))
        wire = stack.enter_context(Wire(pausing.port))
        wire.expect(("", "220 "))
    wait_for(lambda: pausing.counter("mta_incoming_connections_current") == 0, "all to be forgotten")
    with contextlib.ExitStack() as stack:  # nothing is left counted, for neither of them
        for source in ("127.0.0.1", "127.0.0.70"):
            for _ in range(3):
                stack.enter_context(Wire(pausing.port, source)).expect(("", "220 "))


def test_xforward_holds_for_one_message(pausing: Gateway, sink: Sink) -> None:
    with Wire(pausing.port, "127.0.0.2") as wire:
        wire.expect(("", "220 "))
        assert any(line.startswith("250-XFORWARD ") for line in wire.ask("EHLO front.example").splitlines())
        for number in range(2):
            if number == 0:
                wire.expect(("XFORWARD NAME=[UNAVAILABLE] ADDR=127.0.0.44 HELO=far.example.net", "250 "))
            wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<b@example.org>", "250"))
            assert wire.data(plain(f"xforward {number}")).startswith("250 ")
    assert b"from far.example.net (unknown [127.0.0.44])" in arrived(sink, "xforward 0").header
    assert b"127.0.0.44" not in arrived(sink, "xforward 1").header


# --- too many sessions, too much mail


@pytest.fixture(scope="module")
def loaded(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Twenty sessions, eight for each address, shedding from ten on; a working queue of ten messages."""
    replace = OURS | {
        "maximal_incoming_sessions_per_ip = 50": "maximal_incoming_sessions_per_ip = 8\nshed_load_at = 50",
        "incoming_sessions = 500": "incoming_sessions = 20",
        "[network]\n": '[network]\ntrusted_networks = ["127.0.0.1/32"]\n',
        "queue_limit_messages = 100000": "queue_limit_messages = 10\nqueue_slow_at = 50",
    }
    with StrictGateway(tmp_path_factory.mktemp("loaded") / "gw", sink.port, replace=replace) as one:
        yield one


def test_the_busiest_address_is_refused_first_then_everybody(loaded: Gateway) -> None:
    def greeted(stack: contextlib.ExitStack, source: str) -> str:
        return stack.enter_context(Wire(loaded.port, source)).reply()[:9]

    def shedding() -> dict[str, int]:
        return loaded.status()["relays"][0]["shedding"]

    with contextlib.ExitStack() as stack:
        assert shedding() == {}
        assert {greeted(stack, STRANGER) for _ in range(8)} == {"220 gw.ex"}
        assert {greeted(stack, f"127.0.1.{n}") for n in range(5)} == {"220 gw.ex"}
        # 13 of 20: an address may have 4 + (8 - 4) * 7 / 10 = 6 now.
        assert shedding() == {"sessions_per_address": 6, "refused_since_start": 0}
        assert greeted(stack, STRANGER) == "421 4.7.0"
        assert {greeted(stack, "127.0.2.1") for _ in range(5)} == {"220 gw.ex"}
        assert greeted(stack, "127.0.2.1") == "421 4.7.0"
        assert shedding()["refused_since_start"] == 2
        assert {greeted(stack, "127.0.0.1") for _ in range(2)} == {"220 gw.ex"}
        assert greeted(stack, "127.0.3.1") == "421 4.3.2"
        assert greeted(stack, "127.0.0.1") == "421 4.3.2"
    wait_for(lambda: shedding() == {}, "shedding to be over")
    wait_for(lambda: loaded.counter("mta_incoming_connections_current") == 0, "all to be forgotten")


def test_a_filling_queue_slows_reception_then_pauses_it(loaded: Gateway, sink: Sink) -> None:
    assert loaded.command("avir-off").returncode == 0
    for number in range(6):
        loaded.send(plain(f"filling {number}"))
    assert loaded.status()["relays"][0]["shedding"] == {"working_queue_percent": 60, "reception": "slowed"}
    with Wire(loaded.port) as wire:
        wire.expect(("", "220 "), ("EHLO c.example", "250"))
        wire.send(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n")
        assert wire.silent_for(0.3)
        with Wire(loaded.port) as other:  # one who goes meanwhile does no harm
            other.expect(("", "220 "), ("EHLO c.example", "250"))
            other.send(b"MAIL FROM:<a@example.net>\r\n")
        wire.expect(("", "250 2.1.0"), ("", "250 2.1.5"))
    loaded.edit("queue_slow_at = 50", 'queue_slow_at = 0\nqueue_limit_age = "1 s"')
    assert loaded.command("reload").returncode == 0
    with Wire(loaded.port) as wire:
        wire.expect(("", "220 "), ("EHLO c.example", "250"))
        wait_for(
            lambda: wire.ask("MAIL FROM:<a@example.net>").startswith("452 4.3.1") or wire.ask("RSET") == "",
            "its age",
            pause_s=0.1,
        )
        assert loaded.command("avir-on").returncode == 0
        wait_for(lambda: len([m for m in sink.mails if b"Subject: filling" in m.header]) == 6, "the waiting mail")
        wait_for(
            lambda: wire.ask("MAIL FROM:<a@example.net>").startswith("250 ") or wire.ask("RSET") == "",
            "room again",
            pause_s=0.1,
        )
