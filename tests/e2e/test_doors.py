"""Doors of the filtering server on a gateway that has no listener: judged, stored, recorded and shown as mail is."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, with_attachment
from tests.support.ports import free_port
from tests.support.waiting import wait_for

from gatepost.client.remote import RemoteJudge, RemoteSettings
from gatepost.model.envelope import Client
from gatepost.model.filtering import Checks, Deed, Purpose, Request, Ruling
from gatepost.service.judge import Unjudged

CLEAN = b"From: a@example.net\r\nSubject: hello\r\nMessage-ID: <one@example.net>\r\n\r\nbody\r\n"
VIRUS = with_attachment(EICAR, "eicar.com")


class Doors:
    """A filtering server and ways to ask it."""

    def __init__(self, state: Path) -> None:
        self.local = state / "f.sock"
        self.port = free_port()
        self.other = free_port()
        self.gateway = Gateway(
            state,
            9,
            relays=2,
            settings=(
                f'[[door]]\nname = "local"\nkind = "filter"\naddress = "unix:{self.local}"\nsocket_mode = "660"\n'
                f'[[door]]\nname = "net"\nkind = "filter"\naddress = "tcp:0.0.0.0:{self.port}"\n'
                'allow = ["127.0.0.0/25"]\ndefault_domain = "example.org"\n'
            ),
        )
        self.gateway.edit(f'[[listener]]\naddress = "127.0.0.1:{self.gateway.port}"\n', "")
        self.gateway.edit('bare_line_feed = "reject"\n', "")
        self.gateway.edit("[network]\n", "[network]\nlisten_on = []\n")

    def judge(self, content: bytes, *, address: str = "", deadline_s: float = 20.0, **request: object) -> Ruling:
        """Ask over the own protocol."""
        asked = {"client": Client("203.0.113.5", helo="there"), "sender": "sender@example.net"} | request

        async def ask() -> Ruling:
            settings = RemoteSettings(addresses=(address or f"unix:{self.local}",))
            remote = RemoteJudge(settings, lambda *_: None)
            try:
                return await remote.judge(Request(**asked), content, deadline_s)  # type: ignore[arg-type]
            finally:
                remote.close()

        return asyncio.run(ask())

    def counted(self, name: str) -> int:
        return self.gateway.counter(name)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    doors = Doors(tmp_path_factory.mktemp("doors"))
    with doors.gateway:
        yield doors


@pytest.mark.feature("F-ASD-05")
def test_both_kinds_of_sockets_filter_mail(doors: Doors) -> None:
    asked = doors.counted("service_asked_messages")
    for address in (f"unix:{doors.local}", f"tcp:127.0.0.1:{doors.port}"):
        ruling = doors.judge(CLEAN, address=address, recipients=("user@example.org",), queue_id="4xYz")
        assert (ruling.whole.deed, ruling.whole.objects) == (Deed.DELIVER, ("clean",))
        ruling = doors.judge(VIRUS, address=address, recipients=("user@example.org",), purpose=Purpose.ASK)
        assert "infected" in ruling.whole.objects
    wait_for(lambda: doors.counted("service_asked_messages") == asked + 4, "all to be counted")
    answered = {name: doors.counted(f"service_answered_{name}") for name in ("deliver", "reject", "discard")}
    assert sum(answered.values()) == doors.counted("service_asked_messages")
    assert doors.counted("mta_received_messages") == 0


def test_it_is_followed_like_mail_by_either_queue_id(doors: Doors) -> None:
    ruling = doors.judge(CLEAN, recipients=("seen@example.org",), queue_id="4AbCd")
    wait_for(lambda: doors.gateway.lines("ANSWERED", ruling.queue_id), "the answer in the log")
    received = doors.gateway.lines("RECEIVED", ruling.queue_id)[0]
    assert "door=<local>, reference=4AbCd" in received

    def found() -> bool:
        told = doors.gateway.command("trace", "--json", "4AbCd").stdout
        return ruling.queue_id in told and '"passed"' in told

    wait_for(found, "the trace to tell of it")


def test_who_is_not_allowed_is_closed_at_once(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.port), source_address=("127.0.0.200", 0), timeout=10) as client:
        assert client.recv(100) == b""
    assert next(door for door in doors.gateway.status()["doors"] if door["name"] == "net")["refused"] >= 1


def test_scanning_switched_off_is_no_judgement(doors: Doors) -> None:
    doors.gateway.switch("scan", on=False)
    try:
        with pytest.raises(Unjudged):
            doors.judge(CLEAN, recipients=("user@example.org",))
    finally:
        doors.gateway.switch("scan", on=True)
    wait_for(lambda: doors.counted("service_answered_unjudged") >= 1, "it to be counted")


def test_reception_switched_off_closes_doors_and_opens_them_again(doors: Doors) -> None:
    doors.gateway.switch("recv", on=False)
    assert not doors.local.exists()
    with pytest.raises(Unjudged):
        doors.judge(CLEAN, address=f"tcp:127.0.0.1:{doors.port}")
    doors.gateway.switch("recv", on=True)
    assert doors.local.stat().st_mode & 0o777 == 0o660
    wait_for(lambda: _answers(doors, f"unix:{doors.local}"), "the local door")
    wait_for(lambda: _answers(doors, f"tcp:127.0.0.1:{doors.port}"), "the other door")


def _answers(doors: Doors, address: str) -> bool:
    try:
        return doors.judge(CLEAN, address=address, checks=Checks.VIRUS).whole.objects == ("clean",)
    except Unjudged:
        return False


def test_status_and_doctor_know_doors(doors: Doors) -> None:
    told = doors.gateway.command("status").stdout
    assert f"door local: filter at unix:{doors.local}" in told
    assert "no port" in told
    found = doors.gateway.command("doctor").stdout
    assert "door local is open" in found
