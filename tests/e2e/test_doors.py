"""Doors of the filtering server on a gateway that has no listener: judged, stored, recorded and shown as mail is."""

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, with_attachment
from tests.support.ports import free_port
from tests.support.waiting import join, wait_for

from gatepost.client.remote import RemoteJudge, RemoteSettings
from gatepost.model.envelope import Client
from gatepost.model.filtering import Checks, Deed, Purpose, Request, Ruling
from gatepost.service.judge import Unjudged

CLEAN = (
    b"From: a@example.net\r\nSubject: hello\r\nMessage-ID: <one@example.net>\r\n"
    b"Date: Mon, 02 Jan 2006 15:04:05 +0000\r\n\r\nbody\r\n"
)
VIRUS = with_attachment(EICAR, "eicar.com")
GROUPS = """
[[group]]
name = "cutting"
recipients = ["*@cut.example.org"]
action_infected = "remove"
block_message = []
[[group]]
name = "showing"
recipients = ["*@show.example.org"]
action_infected = "placeholder"
block_message = []
[[group]]
name = "away"
recipients = ["*@away.example"]
block_message = []
"""


GNOMES = "dear friend our garden gnomes are made by hand of red clay and cost less than you think when ordered now"
LONG = [f"w{'abcdefghij'[at % 10]}{'klmnopqr'[at // 10 % 8]}{'stuvwxyz'[at // 80 % 8]}s" for at in range(9000)]
NO_DNS = "".join(f"use_{name} = false\n" for name in ("dnsbl", "reverse_dns", "spf", "surbl", "authentication"))


class Doors:
    """A filtering server and ways to ask it."""

    def __init__(self, state: Path) -> None:
        self.local = state / "f.sock"
        self.licence = state / "licence.sock"
        self.port = free_port()
        self.spamd = free_port()
        rules = state / "rules" / "samples"
        rules.mkdir(parents=True)
        (rules.parent / "profiles.toml").touch()
        (rules / "garden.toml").write_text(f'category = "Goods/Garden"\ntext = "{GNOMES}"\n')
        for at in range(2):  # more than a line of settings takes
            (rules / f"long{at}.toml").write_text(f'category = "goods"\ntext = "{" ".join(LONG)}"\n')
        self.gateway = Gateway(
            state,
            9,
            relays=2,
            antispam=True,
            spam_fields=True,
            replace={"[policy]\n": f"[policy]\n{NO_DNS}"},
            settings=(
                f'[[door]]\nname = "local"\nkind = "filter"\naddress = "unix:{self.local}"\nsocket_mode = "660"\n'
                f'[[door]]\nname = "net"\nkind = "filter"\naddress = "tcp:127.0.0.1:{self.port}"\n'
                'allow = ["127.0.0.0/25"]\ndefault_domain = "example.org"\n'
                f'[[door]]\nname = "sa"\nkind = "spamd"\naddress = "tcp:127.0.0.1:{self.spamd}"\n'
                f'[licence_daemon]\nlicense_listen = "{self.licence}"\n'
                f'filter_license_connect_to = "{self.licence}"\n[profiles]\nenabled = true\n{GROUPS}'
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

    def check(self, content: bytes, host: str) -> bytes:
        """Ask the spamd door from an address of this host."""
        with socket.create_connection(("127.0.0.1", self.spamd), source_address=(host, 0), timeout=120) as client:
            client.sendall(b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(content) + content)
            client.shutdown(socket.SHUT_WR)
            said = b""
            while piece := client.recv(65536):
                said += piece
        return said

    def counted(self, name: str) -> int:
        return self.gateway.counter(name)

    def answered(self) -> int:
        counters = self.gateway.status()["counters"]
        return sum(counters.get(f"service_answered_{name}", 0) for name in ("deliver", "reject", "discard", "unjudged"))


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    doors = Doors(tmp_path_factory.mktemp("doors"))
    with doors.gateway:
        yield doors


def test_mail_like_a_sample_of_the_rule_set_has_its_category(doors: Doors) -> None:
    mail = CLEAN.replace(b"body", b"Hello!\r\n" + GNOMES.encode())
    assert doors.judge(mail, recipients=("user@example.org",)).whole.categories == ("goods/garden",)
    assert doors.judge(CLEAN, recipients=("user@example.org",)).whole.categories == ()


@pytest.mark.feature("F-ASD-05")
def test_both_kinds_of_sockets_filter_mail(doors: Doors) -> None:
    asked = doors.counted("service_asked_messages")
    for address in (f"unix:{doors.local}", f"tcp:127.0.0.1:{doors.port}"):
        ruling = doors.judge(CLEAN, address=address, recipients=("user@example.org",), queue_id="4xYz")
        assert (ruling.whole.deed, ruling.whole.objects, ruling.info) == (Deed.DELIVER, ("clean",), "")
        ruling = doors.judge(VIRUS, address=address, recipients=("user@example.org",), purpose=Purpose.ASK)
        assert "infected" in ruling.whole.objects
    wait_for(lambda: doors.counted("service_asked_messages") == asked + 4, "all to be counted")
    assert doors.answered() == doors.counted("service_asked_messages")
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


@pytest.mark.feature("F-ARCH-07")
def test_two_mail_servers_ask_one_server_at_a_time(doors: Doors) -> None:
    said: dict[str, bytes] = {}
    hosts = ("127.0.0.71", "127.0.0.72")
    threads = [
        threading.Thread(target=lambda host=host: said.update({host: doors.check(CLEAN, host)})) for host in hosts
    ]
    for thread in threads:
        thread.start()
    join(*threads)
    for host in hosts:
        assert b"Spam: False" in said[host]
        wait_for(lambda host=host: doors.gateway.lines(f"asker=[{host}]"), f"{host} in the log")  # type: ignore[misc]


def test_a_message_of_several_groups_goes_on_one_copy_where_it_cannot_be_divided(doors: Doors) -> None:
    to = ("a@cut.example.org", "b@show.example.org", "c@example.org")
    ruling = doors.judge(VIRUS, recipients=to)
    assert [part.deed for part in ruling.parts] == [Deed.DELIVER, Deed.DELIVER, Deed.REJECT]
    whole = ruling.whole
    assert (whole.deed, whole.recipients, whole.body_changed) == (Deed.DELIVER, to[:2], True)
    assert whole.prefix.count(b"X-SpamTest-Group-ID:") == 2
    text = b"".join(splice.data for splice in whole.splices)
    assert text == b""  # removed for one of them, so nothing stands in its place
    assert any(splice.data for splice in ruling.parts[1].splices)
    divided = doors.judge(VIRUS, recipients=to, divided=True)
    assert [part.recipients for part in divided.parts] == [(each,) for each in to]
    assert divided.parts[2].reply is not None
    assert divided.parts[2].reply.code == 550


def test_what_the_asker_carries_out_is_stored_and_what_it_only_asks_is_not(doors: Doors) -> None:
    for purpose, stored in ((Purpose.ASK, 0), (Purpose.HANDLE, 1)):
        ruling = doors.judge(VIRUS, recipients=("a@cut.example.org",), purpose=purpose)
        wait_for(lambda: doors.gateway.lines("ANSWERED", ruling.queue_id), "the answer in the log")  # noqa: B023
        assert len(doors.gateway.lines("SAVED", ruling.queue_id)) == stored


@pytest.mark.feature("F-ASD-07")
def test_only_protected_domains_are_filtered_for_spam(doors: Doors) -> None:
    ruling = doors.judge(CLEAN, recipients=("who@away.example",))
    assert ruling.info == "Not protected"
    assert b"X-SpamTest-Info: Not protected\r\n" in ruling.whole.prefix
    assert ruling.whole.status == ""
    assert doors.judge(CLEAN, recipients=("who",), address=f"tcp:127.0.0.1:{doors.port}").info == ""


@pytest.mark.feature("F-ASD-06")
def test_without_the_licensing_daemon_mail_passes_and_says_so(doors: Doors) -> None:
    doors.gateway.edit(f'filter_license_connect_to = "{doors.licence}"', 'filter_license_connect_to = "/nowhere/l"')
    doors.gateway.ask("reload")
    ruling = doors.judge(CLEAN, recipients=("user@example.org",))
    assert (ruling.whole.deed, ruling.info, ruling.whole.status) == (Deed.DELIVER, "Not processed", "")
    assert b"X-SpamTest-Info: Not processed\r\n" in ruling.whole.prefix
    assert doors.judge(VIRUS, recipients=("user@example.org",)).whole.deed is Deed.REJECT
    doors.gateway.edit('filter_license_connect_to = "/nowhere/l"', f'filter_license_connect_to = "{doors.licence}"')
    doors.gateway.ask("reload")
    assert doors.judge(CLEAN, recipients=("user@example.org",)).info == ""
    wait_for(lambda: doors.counted("service_not_processed_messages") == 2, "them to be counted")


@pytest.mark.feature("F-ASD-04")
def test_a_reload_under_load_loses_nothing(doors: Doors) -> None:
    asked, answered = doors.counted("service_asked_messages"), 0

    async def load() -> list[Ruling]:
        remote = RemoteJudge(RemoteSettings(addresses=(f"unix:{doors.local}",)), lambda *_: None)
        request = Request(client=Client("203.0.113.5"), sender="s@example.net", recipients=("user@example.org",))
        asking = [asyncio.create_task(remote.judge(request, CLEAN, 30.0)) for _ in range(150)]
        assert doors.gateway.process is not None
        doors.gateway.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(doors.gateway.ask, "reload")
        rulings = await asyncio.gather(*asking)
        remote.close()
        return rulings

    rulings = asyncio.run(load())
    answered = len({ruling.queue_id for ruling in rulings})
    assert answered == 150
    assert all(ruling.whole.objects == ("clean",) for ruling in rulings)
    wait_for(lambda: doors.counted("service_asked_messages") >= asked + 150, "all to be counted")
    assert doors.answered() == doors.counted("service_asked_messages")


def test_who_is_not_allowed_is_closed_at_once(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.port), source_address=("127.0.0.200", 0), timeout=120) as client:
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


def rows_of(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.feature("F-LOG-11")
def test_facility_level_and_the_logs_of_messages_are_visible_settings(doors: Doors) -> None:
    shown = doors.gateway.command("config", "show").stdout
    for name in ("log_facility", "log_level", "json_file", "filter_stat_log_file", "filter_user_log_file"):
        assert f"{name} = " in shown

    # The logs of messages are written as they are set.
    files = [doors.gateway.state / each for each in ("verdicts.log", "users.log")]
    doors.gateway.edit(
        "[licence_daemon]\n",
        f'[antispam]\nfilter_stat_log_file = "{files[0]}"\nfilter_user_log_file = "{files[1]}"\n[licence_daemon]\n',
    )
    doors.gateway.ask("reload")
    doors.judge(CLEAN, sender="logs@example.net", recipients=("user@example.org", "other@example.org"))

    def written() -> tuple[list[str], list[list[str]]] | None:
        # Records of mail that other tests asked about may still come: relays send them some at a time.
        verdicts = [row for row in rows_of(files[0]) if "logs@example.net" in row]
        users = [row for row in rows_of(files[1]) if verdicts and row[1] == verdicts[0][1]]
        return (verdicts[0], users) if len(users) == 2 else None

    verdict, users = wait_for(written, "their lines")
    assert verdict[3:8] == ["203.0.113.5", "logs@example.net", "2", "policy", "not_detected"]
    assert [row[2:5] for row in users] == [
        [f"{each}@example.org", "policy", "not_detected"] for each in ("user", "other")
    ]
