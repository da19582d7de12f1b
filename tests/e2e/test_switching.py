"""Modules switched off and on, draining, and what keeps relays and listeners from coming up."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import GATEPOST, Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.control.channel import LISTENERS_LIMIT


def refuses(gateway: Gateway) -> bool:
    try:
        gateway.socket(2).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("switching") / "gw", sink.port, relays=3) as gateway:
        yield gateway


@pytest.mark.feature("F-MGMT-03")
def test_port_closes_and_opens(gateway: Gateway, sink: Sink) -> None:
    with Wire(gateway.port) as idle:
        idle.expect(("", "220"), ("EHLO c.example", "250"))
        assert gateway.command("recv-off").stdout == "recv is off\n"
        assert refuses(gateway)
        assert idle.reply().startswith("421 4.3.2")
    assert gateway.status()["modules"]["receiver"] is False
    # A relay that starts meanwhile, and a reload, keep to it.
    relay = gateway.status()["relays"][0]
    assert relay["pid"]
    os.kill(relay["pid"], signal.SIGKILL)
    wait_for(lambda: gateway.status()["relays"][0].get("in_work"), "the relay to be back")
    assert gateway.command("reload").returncode == 0
    assert refuses(gateway)
    assert gateway.command("recv-on").stdout == "recv is on\n"
    before = len(sink.mails)
    wait_for(lambda: not refuses(gateway), "the port to open")
    for number in range(9):  # all relays accept
        gateway.send(plain(f"open again {number}"))
    wait_for(lambda: len(sink.mails) == before + 9, "the mail")


@pytest.mark.feature("F-ARCH-01")
def test_each_module_stops_alone(gateway: Gateway, sink: Sink) -> None:
    names = {"recv": "receiver", "scan": "scanner", "spam": "antispam", "virus": "antivirus", "send": "sender"}
    relays = gateway.relay_pids()
    for module, name in names.items():
        gateway.switch(module, on=False)
        modules = gateway.status()["modules"]
        assert set(modules) == set(names.values())
        assert {each for each, on in modules.items() if not on} == {name}
        gateway.switch(module, on=True)
    assert gateway.relay_pids() == relays
    assert all(gateway.status()["modules"].values())
    text = gateway.command("status").stdout
    assert "receiver on, scanner on, antivirus on, antispam on, sender on" in text


def test_relay_that_restarts_keeps_to_what_is_off(gateway: Gateway, sink: Sink) -> None:
    gateway.switch("send", on=False)
    before = len(sink.mails)
    ids = [gateway.send(plain(f"kept back {number}")) for number in range(9)]
    wait_for(lambda: gateway.status()["queue"]["ready"] == len(ids), "all to be inspected")
    for pid in gateway.relay_pids():
        os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: all(relay.get("in_work") for relay in gateway.status()["relays"]),
        "the relays to be back",
    )
    assert gateway.status()["queue"]["ready"] == len(ids)
    ids.append(gateway.send(plain("received since")))
    wait_for(lambda: gateway.status()["queue"]["ready"] == len(ids), "it to be inspected too")
    assert len(sink.mails) == before
    gateway.switch("send", on=True)
    wait_for(lambda: len(sink.mails) == before + len(ids), "the mail")


def test_reception_that_cannot_have_its_port_back_says_so(gateway: Gateway) -> None:
    gateway.switch("recv", on=False)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", gateway.port))
        other.listen()
        refused = gateway.command("recv-on")
        assert refused.returncode != 0
        assert "is another program using the port" in refused.stderr
        assert gateway.status()["modules"]["receiver"] is False
    gateway.switch("recv", on=True)
    wait_for(lambda: not refuses(gateway), "the port to open")


# --- drain


def drained(gateway: Gateway, *options: str) -> "subprocess.CompletedProcess[str]":
    assert gateway.process is not None
    done = gateway.command("drain", *options)
    if done.returncode == 0 or "stopping" in done.stdout:
        assert gateway.process.wait(120) == 0
        gateway.process = None
    return done


def test_drain_empties_the_queue_and_stops(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.switch("send", on=False)
        for number in range(20):
            gateway.send(plain(f"last {number}"))
        refused = drained(gateway)
        assert (refused.returncode, "sender switched off" in refused.stderr) == (4, True)
        assert not refuses(gateway)
        gateway.switch("send", on=True)
        done = drained(gateway)
        assert (done.returncode, done.stdout) == (0, "stopping, the queue is empty\n")
        assert len(sink.mails) == 20


def test_drain_tells_what_remains_and_why(tmp_path: Path) -> None:
    def busy(step: str, argument: str, sink: Sink) -> str | None:
        return "451 4.3.0 busy as ever" if step == "rcpt" and argument.startswith("busy") else None

    with Sink(script=busy) as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        gateway.send(plain("goes"))
        stays = gateway.send(plain("stays"), "busy@example.org")
        wait_for(lambda: gateway.lines("DEFERRED", stays), "its deferral")
        done = drained(gateway, "--timeout", "1")
        assert done.returncode == 4
        assert "1 message(s) remain:" in done.stdout
        assert "1: due, or waits for its next attempt; last answer: 451 4.3.0 busy as ever" in done.stdout
        assert len(sink.mails) == 1
        gateway.start()
        assert [row["queue_id"] for row in gateway.queue()] == [stays]
        # Held and paused mail is not waited for.
        gateway.ask("pause", domain="example.org", paused=True)
        done = drained(gateway)
        assert (done.returncode, "1: destination paused by an operator" in done.stdout) == (4, True)


def test_drain_broken_off_leaves_reception_off(tmp_path: Path) -> None:
    def busy(step: str, argument: str, sink: Sink) -> str | None:
        return "451 4.3.0 busy" if step == "rcpt" else None

    with Sink(script=busy) as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        queue_id = gateway.send(plain("stays"))
        wait_for(lambda: gateway.lines("DEFERRED", queue_id), "its deferral")
        command = [*GATEPOST, "drain", "-c", str(gateway.config)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: refuses(gateway), "reception to end")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, "recv-on" in errors) == (4, True)
        assert gateway.status()["modules"]["receiver"] is False
        assert gateway.command("recv-on").returncode == 0
        wait_for(lambda: not refuses(gateway), "the port to open")


# --- what keeps it from coming up


def test_relay_that_cannot_start_says_why_in_log_and_status(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw", free_port())
    shard = gateway.state / "queue" / "relay-0"
    shard.parent.mkdir(parents=True)
    shard.write_text("in the way")
    gateway.process = subprocess.Popen([*GATEPOST, "run", "-c", str(gateway.config)], start_new_session=True)
    try:
        wait_for(lambda: gateway.lines("relay 0 cannot start"), "word in the log")
        assert str(shard) in gateway.lines("relay 0 cannot start")[0]
        (relay,) = gateway.status()["relays"]
        assert str(shard) in relay["error"]
        shown = gateway.command("status")
        assert shown.returncode == 0
        assert str(shard) in shown.stdout
        shard.unlink()
        wait_for(lambda: "error" not in gateway.status()["relays"][0], "the relay to come up")
        shard.rename(tmp_path / "aside")
        shard.write_text("in the way again")
        ended = "relay 0 ended (status 30), starts again"
        before = len(gateway.lines(ended))
        os.kill(gateway.relay_pids()[0], signal.SIGKILL)
        wait_for(lambda: len(gateway.lines(ended)) > before, "word of the next relay's end")
        assert gateway.stop() == 0  # although a relay cannot be started
    finally:
        gateway.kill_all()


def test_listeners_beyond_the_limit_are_a_configuration_error_and_many_work(tmp_path: Path) -> None:
    with Sink() as sink:
        gateway = Gateway(tmp_path / "gw", sink.port)
        text = gateway.config.read_text()
        more = "".join(f'\n[[listener]]\naddress = "127.0.1.{n}:{gateway.port}"\n' for n in range(1, LISTENERS_LIMIT))
        gateway.config.write_text(text + more + f'\n[[listener]]\naddress = "127.0.2.1:{gateway.port}"\n')
        refused = gateway.command("run")
        assert refused.returncode == 66
        assert f"a gateway may have {LISTENERS_LIMIT}" in refused.stderr
        gateway.config.write_text(text + more)
        with gateway:
            with Wire(gateway.port, host=f"127.0.1.{LISTENERS_LIMIT - 1}") as wire:
                wire.expect(("", "220 "))
            assert len(gateway.status()["listeners"]) == LISTENERS_LIMIT
