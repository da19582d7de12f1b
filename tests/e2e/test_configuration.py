"""The configuration in force: which file, what it includes, and what happens when it changes under a running gateway."""

import itertools
import os
import re
import signal
import smtplib
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, free_port
from tests.support.ini import IniGateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire


def hup(gateway: Gateway) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


@pytest.mark.feature("F-CONF-05")
@pytest.mark.feature("F-CONF-06")
def test_groups_and_lists_from_other_files(tmp_path: Path) -> None:
    addresses = [f"reader{number}@example.org" for number in range(100)]
    lists = tmp_path / "addresses.txt"
    lists.write_text("".join(f"{address}\n" for address in addresses))
    included = tmp_path / "group.conf"
    included.write_text(f"[mailgw.group:readers]\nRecipients=file:{lists}\nCheck=no\n")
    access = [f"RelayRule=allow from any to file:{lists}", "RelayRule=deny from any to *"]
    infected = with_attachment(EICAR, "eicar.com")
    with (
        Sink() as sink,
        IniGateway(tmp_path / "gw", sink.port, sections={"access": access}, tail=f"!include {included}\n") as gateway,
    ):
        with Wire(gateway.port) as wire:
            wire.begin([addresses[0], addresses[41], addresses[99]])
            wire.expect(("RCPT TO:<reader100@example.org>", "554 5.7.1"))
            assert wire.data(infected).startswith("250 ")
        wait_for(lambda: sink.mails, "the mail of a group that is not scanned")
        assert sink.mails[0].without_trace() == infected
        scanned = wait_for(lambda: gateway.lines("SCANNED"), "its line in the log")
        assert "group=<readers>, nrcpt=3" in scanned[0]


@pytest.mark.feature("F-CONF-03", "F-CONF-08")
def test_check_of_a_good_and_of_a_broken_file(tmp_path: Path) -> None:
    ini = IniGateway(tmp_path / "ini", 2526)
    toml = Gateway(tmp_path / "toml", 2526)
    for gateway, broken_line in ((ini, "MaximalIncomingHops=many\n"), (toml, 'maximal_incoming_hops = "many"\n')):
        good = gateway.command("config", "check")
        assert good.returncode == 0
        assert good.stdout.splitlines()[-1] == "Config OK !"
        header = "[mailgw.limits]\n" if gateway is ini else "[limits]\n"
        gateway.edit(header, header + broken_line)
        if gateway is toml:
            gateway.edit("maximal_incoming_hops = 50\n", "")
        number = gateway.config.read_text().splitlines().index(broken_line.rstrip()) + 1
        bad = gateway.command("config", "check")
        assert bad.returncode == 66
        assert re.search(
            rf"^{re.escape(str(gateway.config))}:{number}: error: .*hops", bad.stdout, re.MULTILINE | re.IGNORECASE
        )
        assert "Config OK" not in bad.stdout
    for line, name in (("Hostname=gw.example.org\n", "Hostname"), ("[mailgw.limits]\n", "IncomingSessions")):
        other = IniGateway(tmp_path / name, 2526)
        other.edit(line, "[mailgw.limits]\nIncomingSessions=0\n" if name == "IncomingSessions" else "")
        refused = other.command("start", "-k")
        assert (refused.returncode, name in refused.stdout + refused.stderr) == (66, True), name


@pytest.mark.feature("F-CONF-10")
def test_the_file_named_is_the_one_used(tmp_path: Path) -> None:
    with Sink() as sink:
        state = tmp_path / "gw"
        gateway = IniGateway(state, sink.port, name="other.conf")
        decoy = state / "mailgw.conf"
        decoy.write_text(gateway.config.read_text().replace("gw.example.org", "decoy.example.org"))
        with gateway:
            with Wire(gateway.port) as wire:
                assert wire.reply() == "220 gw.example.org ESMTP"
            assert gateway.status()["configuration"] == str(gateway.config)


@pytest.mark.feature("F-CONF-12")
@pytest.mark.parametrize("prefix", ["mailgw.", "smtpgw."])
def test_files_of_both_spellings_run(tmp_path: Path, prefix: str) -> None:
    limits = ["MaximalIncomingMessageSize=128"]
    with Sink() as sink, IniGateway(tmp_path / "gw", sink.port, prefix=prefix, extra={"limits": limits}) as gateway:
        with gateway.client() as client:
            assert client.esmtp_features["size"] == str(128 * 1024)
        gateway.send(plain("spelling"))
        wait_for(lambda: sink.mails, "mail")


# --- reload


@pytest.mark.feature("F-CONF-11")
@pytest.mark.parametrize("relays", [1, 3])
def test_reload_applies_changes_and_keeps_the_queue(tmp_path: Path, relays: int) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=relays) as gateway:
        gateway.switch("send", on=False)
        queued = {gateway.send(plain(f"queued {number}")) for number in range(6)}
        pids = sorted(gateway.relay_pids())
        template = gateway.status()["filter_template"]
        session = Wire(gateway.port)
        session.expect(("", "220"), ("EHLO c.example", "250"))
        gateway.edit('maximal_incoming_message_size = "50 MiB"', 'maximal_incoming_message_size = "64 KiB"')
        hup(gateway)

        def size() -> str:
            with gateway.client() as client:
                return client.esmtp_features["size"]

        wait_for(lambda: {size() for _ in range(3 * relays)} == {"65536"}, "the new limit to be active everywhere")
        with Wire(gateway.port) as wire:
            wire.expect(("", "220"), ("EHLO c.example", "250"))
            wire.expect(("MAIL FROM:<a@example.net> SIZE=65537", "552 5.3.4"))
        # The session from before goes on, under the rules it began with.
        session.expect(("MAIL FROM:<a@example.net> SIZE=65537", "250"), ("QUIT", "221"))
        session.close()
        assert sorted(gateway.relay_pids()) == pids
        assert {row["queue_id"] for row in gateway.queue()} == queued
        assert not sink.mails
        gateway.switch("send", on=True)
        wait_for(lambda: len(sink.mails) >= 6, "the queued mail")
        assert len(gateway.lines("configuration reloaded")) == 1
        # Nothing of it is for the filters: they go on as they are.
        assert gateway.status()["filter_template"] == template
        assert gateway.stop() == 0
        assert len(sink.mails) == 6


def test_broken_file_leaves_the_old_one_in_force_and_says_so(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        good = gateway.config.read_text()
        gateway.edit("maximal_incoming_hops = 50", "maximal_incoming_hops = 1000")
        gateway.edit('maximal_incoming_message_size = "50 MiB"', 'maximal_incoming_message_size = "1 MiB"')
        hup(gateway)
        wait_for(lambda: gateway.lines("the running one stays in force"), "word of the refusal")
        (line,) = [line for line in gateway.log().splitlines() if "maximal_incoming_hops" in line]
        assert " E]: " in line
        assert re.search(r"gatepost\.toml:\d+: error: ", line)
        by_command = gateway.command("reload")
        assert by_command.returncode == 66
        assert "the running one stays in force" in by_command.stderr
        assert "maximal_incoming_hops" in by_command.stderr
        # Commands reach the running gateway all the same.
        assert gateway.command("status").returncode == 0
        gateway.switch("send", on=True)
        with gateway.client() as client:
            assert client.esmtp_features["size"] == str(50 * 1024 * 1024)
        gateway.send(plain("still"))
        wait_for(lambda: sink.mails, "mail")
        gateway.config.write_text(good.replace('size = "50 MiB"', 'size = "2 MiB"'))
        assert gateway.command("reload").returncode == 0
        with gateway.client() as client:
            assert client.esmtp_features["size"] == str(2 * 1024 * 1024)


def test_reload_opens_and_closes_ports(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        old, new = gateway.port, free_port()
        gateway.edit(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        assert gateway.command("reload").returncode == 0
        gateway.port = new
        wait_for(lambda: _greeting(new) == "220", "the new port to answer")
        wait_for(lambda: _greeting(old) == "", "the old port to be closed")
        gateway.send(plain("moved"))
        wait_for(lambda: sink.mails, "mail")
        with Sink() as occupant:
            gateway.edit(f"127.0.0.1:{new}", f"127.0.0.1:{occupant.port}")
            refused = gateway.command("reload")
            assert refused.returncode != 0
            assert f"cannot listen on 127.0.0.1:{occupant.port}" in refused.stderr
            assert _greeting(new) == "220"


def test_reloads_in_quick_succession_end_in_the_last_one(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=3) as gateway:
        os.kill(gateway.relay_pids()[1], signal.SIGKILL)  # one of them hears of it while it is starting
        sizes = [f"{number} MiB" for number in range(2, 14)]
        for old, new in itertools.pairwise(["50 MiB", *sizes]):
            gateway.edit(f'maximal_incoming_message_size = "{old}"', f'maximal_incoming_message_size = "{new}"')
            gateway.ask("reload")
        wait_for(lambda: _serving(gateway, 3), "all relays to be there")

        def size() -> str:
            with gateway.client() as client:
                return client.esmtp_features["size"]

        wait_for(lambda: {size() for _ in range(12)} == {str(13 * 1024 * 1024)}, "the last limit to be active")
        gateway.send(plain("after"))
        wait_for(lambda: sink.mails, "mail")
        assert sum(row["restarts"] for row in gateway.status()["relays"]) == 1
        assert not gateway.lines("not taken")


@pytest.mark.parametrize("name", ["state_path", "queue_path"])
def test_reload_does_not_move_the_queue(tmp_path: Path, name: str) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.switch("send", on=False)
        gateway.send(plain("stays"))
        gateway.edit(f'{name} = "', f'{name} = "{tmp_path}/elsewhere')
        hup(gateway)
        (line,) = wait_for(lambda: gateway.lines("that needs a restart"), "the refusal")
        assert name in line
        gateway.ask("switch", module="send", on=True)
        wait_for(lambda: sink.mails, "the queued mail")


def _greeting(port: int) -> str:
    try:
        with Wire(port, timeout=5) as wire:
            return wire.reply()[:3]
    except OSError:
        return ""


def test_reload_changes_the_number_of_relays(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=1) as gateway:
        gateway.switch("send", on=False)
        gateway.send(plain("before"))
        gateway.edit("relays = 1\n", "relays = 3\n")
        assert gateway.command("reload").returncode == 0
        wait_for(lambda: _serving(gateway, 3), "three relays")
        queued = {gateway.send(plain(f"of three {number}")) for number in range(12)}
        gateway.edit("relays = 3\n", "relays = 1\n")
        assert gateway.command("reload").returncode == 0
        wait_for(lambda: _serving(gateway, 1), "one relay")
        assert gateway.status()["modules"]["sender"] is False
        gateway.switch("send", on=True)
        wait_for(lambda: len(sink.mails) >= 13, "everything queued, by whichever relay")
        ids = {match for mail in sink.mails for match in re.findall(rb"id ([0-9A-Z]{13});", mail.header)}
        assert {queue_id.encode() for queue_id in queued} <= ids
        assert gateway.stop() == 0
        assert len(sink.mails) == 13


def _serving(gateway: Gateway, relays: int) -> bool:
    rows = gateway.status()["relays"]
    return len(rows) == relays and all("error" not in row for row in rows)


def test_hup_opens_the_log_anew_after_rotation(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=3) as gateway:
        rotated = gateway.log_file.with_suffix(".1")
        gateway.log_file.rename(rotated)
        hup(gateway)
        wait_for(lambda: gateway.lines("configuration reloaded"), "the new log file")
        sent = {gateway.send(plain(f"rotated {number}")) for number in range(9)}
        wait_for(lambda: len(sink.mails) == 9, "mail")
        wait_for(lambda: len(gateway.lines("DELIVERED")) == 9, "the log lines of all relays in the new file")
        assert not [line for line in rotated.read_text().splitlines() if any(queue_id in line for queue_id in sent)]


def test_command_line_wins_over_the_file(tmp_path: Path) -> None:
    with Sink() as sink:
        gateway = Gateway(tmp_path / "gw", sink.port)
        shown = gateway.command("config", "show", "--set", "limits.IncomingSessions=7")
        assert "incoming_sessions = 7\n" in shown.stdout
        with gateway, smtplib.SMTP("127.0.0.1", gateway.port) as client:
            assert client.ehlo()[0] == 250
