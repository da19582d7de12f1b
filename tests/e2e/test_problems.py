"""A gateway that watches itself: three states, one mail about each new error, doctor and top beside it."""

import functools
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.dns import StubDns, Trouble
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import join, wait_for

ADMIN = "keeper@example.org"


class ServiceManager:
    """Listens as systemd would: all the time."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._said: list[str] = []
        self._heard = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def listen(self, place: Path) -> None:
        self.socket.bind(str(place))
        self._thread.start()

    def _listen(self) -> None:
        while said := self.socket.recv(4096):
            self._said.append(said.decode().splitlines()[0])

    def hear(self, *wanted: str) -> None:
        """Return when these have been said in this order, behind what was heard before."""
        for line in wanted:
            wait_for(functools.partial(self._was_said, line), line)
            self._heard = self._said.index(line, self._heard) + 1

    def _was_said(self, line: str) -> bool:
        return line in self._said[self._heard :]

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RD)
        join(self._thread)
        self.socket.close()


@pytest.fixture(scope="module")
def service_manager() -> Iterator[ServiceManager]:
    manager = ServiceManager()
    yield manager
    manager.close()


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def engine_port() -> int:
    """Where nobody listens."""
    return free_port()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, sink: Sink, engine_port: int, service_manager: ServiceManager
) -> Iterator[Gateway]:
    with StubDns() as dns:
        dns.add("gw.example.org", "A", "127.0.0.1")
        dns.add("example.org", "MX", "10 gw.example.org.")
        settings = (
            f'\n[watch]\ninterval = "1s"\naddresses = ["{ADMIN}"]\n\n[resolve]\nname_servers = ["{dns.address}"]\n'
            f'\n[[engine]]\nname = "stopped"\nkind = "clamd"\naddress = "127.0.0.1:{engine_port}"\ntimeout = "1s"\n'
            'on_failure = "error"\n'
        )
        directory = tmp_path_factory.mktemp("problems")
        service_manager.listen(directory / "notify")
        env = {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "600000"}
        with Gateway(directory / "gw", sink.port, settings=settings, env=env) as gateway:
            yield gateway


def test_the_service_manager_hears_of_a_start_a_reload_and_that_it_lives(
    gateway: Gateway, service_manager: ServiceManager
) -> None:
    service_manager.hear("READY=1", "WATCHDOG=1")
    assert gateway.command("reload").returncode == 0
    service_manager.hear("RELOADING=1", "READY=1", "WATCHDOG=1")


def row_of(gateway: Gateway, key: str) -> dict[str, Any]:
    """Wait for a problem and return it."""
    return wait_for(lambda: problems(gateway).get(key, {}), f"the problem {key}")


def problems(gateway: Gateway) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in gateway.ask("problems")["problems"]}


def mails_about(sink: Sink, what: bytes) -> list[Mail]:
    return [mail for mail in list(sink.mails) if mail.recipients == [ADMIN] and what in mail.content]


@pytest.mark.feature("F-WEB-06")
def test_a_stopped_daemon_is_an_error_and_one_mail(gateway: Gateway, sink: Sink) -> None:
    gateway.send(plain("makes the engine be asked"))
    row = row_of(gateway, "engine:stopped")
    assert row["state"] == "error"
    assert row["text"].startswith("engine stopped is down: ")
    assert row["mend"]
    assert gateway.ask("problems")["state"] == "error"
    (mail,) = wait_for(lambda: mails_about(sink, b"engine stopped is down"), "the mail")
    assert mail.sender == ""
    assert b"Subject: [gw.example.org] " in mail.header
    assert b"Auto-Submitted: auto-generated\r\n" in mail.header
    assert b"To mend it: " in mail.content
    # A problem that comes again within the day is not mailed again, over a restart neither.
    assert gateway.stop() == 0
    gateway.start()
    gateway.send(plain("asks it again"))
    wait_for(lambda: "engine:stopped" in problems(gateway), "the problem")
    gateway.ask("switch", module="recv", on=False)
    wait_for(lambda: mails_about(sink, b"reception is switched off"), "the next mail")
    assert len(mails_about(sink, b"engine stopped is down")) == 1
    gateway.ask("switch", module="recv", on=True)
    wait_for(lambda: "switch:receiver" not in problems(gateway), "the end of it")
    over = gateway.ask("problems")["over"]
    assert over[0]["key"] == "switch:receiver"
    assert over[0]["until"] >= over[0]["since"]
    assert len(gateway.lines("problem is over: reception is switched off")) == 1
    gateway.ask("switch", module="recv", on=False)
    wait_for(lambda: "switch:receiver" in problems(gateway), "the problem once more")
    gateway.ask("switch", module="recv", on=True)
    wait_for(lambda: "switch:receiver" not in problems(gateway), "the end of it")
    assert len(gateway.lines("problem is over: reception is switched off")) == 2, "each end is told once"


def test_a_relay_that_cannot_start(gateway: Gateway, sink: Sink) -> None:
    snapshot = next(path for path in sorted((gateway.state / "run").glob("config-*.bin")) if path.exists())
    good = snapshot.read_bytes()
    snapshot.write_bytes(b"nonsense")
    try:
        os.kill(gateway.relay_pids()[0], signal.SIGKILL)
        row = row_of(gateway, "process:relay 0")
        assert row["state"] == "error"
    finally:
        snapshot.write_bytes(good)
    wait_for(lambda: gateway.status()["relays"][0].get("in_work"), "the relay to be back")
    # There was nobody to send it: it was over before it could be told, or is told now.
    wait_for(lambda: "process:relay 0" not in problems(gateway), "the end of it")
    assert len(mails_about(sink, b"relay 0 cannot start")) <= 1


def test_name_servers_that_fall_silent_are_a_problem_until_one_answers(tmp_path: Path, sink: Sink) -> None:
    to = "user@named.example.com"
    way = f'[[route]]\nrecipients = ["{to}"]\nnext_hop = "[hop.example.com]:{sink.port}"\n\n[[route]]'
    with StubDns() as dns:
        dns.add("hop.example.com", "A", "127.0.0.1")
        dns.trouble("*", Trouble.SILENT)
        settings = (
            '\n[watch]\ninterval = "1s"\nmail = false\n'
            f'\n[resolve]\nname_servers = ["{dns.address}"]\nio_network_timeout = "1s"\n'
        )
        with Gateway(tmp_path / "gw", sink.port, settings=settings, replace={"[[route]]": way}) as gateway:
            # The way of the mail shows it; the look for servers that are back keeps it in sight.
            gateway.send(plain("by name"), to)
            row = row_of(gateway, "dns:silent")
            assert row["state"] == "error"
            assert dns.address.rpartition(":")[0] in row["text"]
            assert "no answer in time" in row["text"]
            assert "name_servers" in row["mend"]
            assert len(gateway.queue()) == 1
            dns.heal("*")
            wait_for(lambda: "dns:silent" not in problems(gateway), "the end of it, without any mail")
            assert gateway.command("queue", "flush", "named.example.com", "--yes").returncode == 0
            wait_for(lambda: any(mail.recipients == [to] for mail in list(sink.mails)), "the mail")
            wait_for(lambda: not gateway.queue(), "the end of its delivery")


def doctor(gateway: Gateway) -> tuple[int, dict[str, dict[str, str]]]:
    answer = gateway.command("doctor", "--json")
    told = json.loads(answer.stdout)
    return answer.returncode, {row["key"]: row for row in told["findings"]}


def test_doctor_up_and_down(gateway: Gateway) -> None:
    gateway.send(plain("makes the engine be asked"))
    row_of(gateway, "engine:stopped")
    code, found = doctor(gateway)
    assert code == 2
    assert found["engine:stopped"]["state"] == "error"
    assert {
        key: found[key]["state"] for key in ("gateway", "resolver", "hostname", "process:relay 0")
    } == dict.fromkeys(("gateway", "resolver", "hostname", "process:relay 0"), "ok")
    assert found[f"port:127.0.0.1:{gateway.port}"]["state"] == "ok"
    assert {row["area"] for row in found.values()} >= {
        *("configuration", "dns", "ports", "disk", "host", "engine", "databases", "queue", "process")
    }
    text = gateway.command("doctor").stdout
    assert "ERROR   engine: engine stopped is down" in text
    assert gateway.stop() == 0
    code, found = doctor(gateway)
    assert (code, found["gateway"]["text"]) == (1, "the gateway does not run")
    assert found[f"port:127.0.0.1:{gateway.port}"]["text"].endswith("is free")
    assert found["databases"]["state"] == "ok"
    gateway.edit("relays = 1", "relays = many")
    try:
        code, found = doctor(gateway)
        assert code == 2
        assert "configuration" in {row["area"] for row in found.values() if row["state"] == "error"}
    finally:
        gateway.edit("relays = many", "relays = 1")
        gateway.start()


def test_after_a_kill_the_files_answer_and_doctor_says_what_happened(gateway: Gateway) -> None:
    gateway.send(plain("before the kill"))
    wait_for(lambda: "before the kill" in gateway.command("trace", "--subject", "kill").stdout, "the record")
    gateway.kill_all()
    try:
        code, found = doctor(gateway)
        assert (code, found["gateway"]["state"]) == (2, "error")
        assert "was killed" in found["gateway"]["text"]
        traced = gateway.command("trace", "--subject", "kill")
        assert traced.returncode == 0, traced.stderr
        assert "before the kill" in traced.stdout
    finally:
        gateway.start()


def test_top(gateway: Gateway) -> None:
    gateway.send(plain("something to see"))
    view = json.loads(gateway.command("top", "--once", "--json").stdout)
    assert view["modules"]["receiver"] is True
    assert set(view["rates"]) >= {"received", "sent", "refused"}
    assert view["queue"]["held"] == 0
    names = {process["name"] for process in view["processes"]}
    assert "master" in names
    assert view["processes"][0]["bytes"] > 1024**2
    pids = {process["pid"] for process in view["processes"]}
    assert pids >= set(gateway.relay_pids())
    shown = gateway.command("top", "--once").stdout
    assert "in 0.0/s" in shown
    assert "master" in shown
    assert gateway.process is not None
    nobody = gateway.command("top", "--once", conf_file=Path(__file__))
    assert nobody.returncode == 3
