"""Processes killed, and mail built to kill: held after its last chance, everything else flows, nothing is orphaned."""

import threading
from pathlib import Path

import pytest
from tests.faults.support_gateway import RELAY, injected, is_gone, kill, wait_settled
from tests.support.gateway import Gateway, free_port
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import join, wait_for

IN_INSPECTION = """
from gatepost.relay.inspection import Inspection
take = Inspection._take
def deadly(self, work):
    if b"KILL-THE-RELAY" in (work.content or b""):
        os.kill(os.getpid(), 9)
    take(self, work)
Inspection._take = deadly
"""
IN_DELIVERY = """
from gatepost.relay.hops import HopConnections
begin = HopConnections._begin
def deadly(self, connection, job):
    if b"KILL-THE-RELAY" in (job.work.content or b""):
        os.kill(os.getpid(), 9)
    begin(self, connection, job)
HopConnections._begin = deadly
"""


def held(gateway: Gateway) -> list[dict]:
    return [row for row in gateway.queue() if row["state"] == "HLD"]


@pytest.mark.parametrize("code", [IN_INSPECTION, IN_DELIVERY], ids=["inspection", "delivery"])
def test_mail_that_kills_its_relay_ends_held_and_other_mail_flows(tmp_path: Path, code: str) -> None:
    env = injected(tmp_path, RELAY, code)
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, env=env) as gateway:
        # What waits beside the deadly one at each unclean stop is suspect as well, and must not be held for it.
        gateway.ask("switch", module="scan", on=False)
        before = [plain(f"before {i}") for i in range(10)]
        for content in before:
            gateway.send(content)
        killer = gateway.send(plain("killer", "KILL-THE-RELAY\r\n"))
        gateway.send(plain("beside"))
        gateway.ask("switch", module="scan", on=True)
        wait_for(lambda: gateway.lines("HELD", killer), "the deadly mail to be held")
        after = gateway.send(plain("after"))
        wait_for(lambda: gateway.lines("DELIVERED", after), "later mail to be delivered")
        wait_settled(gateway)
        assert [(row["queue_id"], "unclean stops" in row["reason"]) for row in held(gateway)] == [(killer, True)]
        subjects = {mail.without_trace() for mail in sink.mails}
        assert subjects == {*before, plain("beside"), plain("after")}
        assert gateway.status()["relays"][0]["restarts"] <= 4
        assert gateway.stop() == 0


def test_unclean_stop_does_not_hold_mail_for_a_destination_that_is_down(tmp_path: Path) -> None:
    port = free_port()
    replace = {
        'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "1 s"',
        'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "1 s"',
    }
    with Gateway(tmp_path / "gw", port, replace=replace) as gateway:
        waiting = gateway.send(plain("patient"))
        wait_for(lambda: gateway.lines("DEFERRED", waiting), "the first attempt")
        kill(gateway.relay_pids()[0])
        wait_for(lambda: gateway.log().count("not reached") >= 6, "five more attempts")
        assert held(gateway) == []
        with Sink(port) as sink:
            wait_for(lambda: sink.mails, "the mail once its destination is back")
            wait_settled(gateway)
            assert len(sink.mails) == 1


@pytest.mark.parametrize("relays", [1, 3])
def test_killed_template_is_replaced_and_no_filter_survives_it(tmp_path: Path, relays: int) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=relays) as gateway:
        gateway.send(plain("first"))
        wait_for(lambda: sink.mails, "mail through the first template")
        status = gateway.status()
        filters = [pid for relay in status["relays"] for pid in relay["filter_pids"]]
        template = status["filter_template"]["pid"]
        assert filters
        kill(template)
        wait_for(lambda: all(is_gone(pid) for pid in (template, *filters)), "template and filters to be gone")
        gateway.send(plain("second"))
        wait_for(lambda: len(sink.mails) == 2, "mail through the second template")
        assert gateway.status()["filter_template"]["restarts"] == 1


def test_without_its_fork_server_a_gateway_goes_on_and_its_processes_come_back(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        (server,) = (pid for pid in gateway.pids() if Path(f"/proc/{pid}/comm").read_text() == "fork server\n")
        relay = gateway.relay_pids()[0]
        kill(server)
        wait_for(lambda: is_gone(server), "the fork server to be gone")
        first = gateway.send(plain("first"))
        wait_for(lambda: gateway.lines("DELIVERED", first), "mail through the same relay")
        assert gateway.relay_pids() == [relay]
        kill(relay)
        wait_for(lambda: gateway.relay_pids()[0] not in (0, relay), "a new relay")
        kill(gateway.status()["filter_template"]["pid"])
        wait_for(lambda: gateway.status()["filter_template"]["restarts"], "a new template")
        wait_for(lambda: "error" not in gateway.status()["relays"][0], "the new relay to be in service")
        gateway.send(plain("second"))
        wait_for(lambda: len(sink.mails) == 2, "mail through the new ones")
        assert "fork server has ended" in gateway.log()
        assert gateway.stop() == 0


@pytest.mark.feature("F-ARCH-02")
@pytest.mark.parametrize("relays", [1, 3])
def test_killed_master_leaves_no_process_behind_and_a_new_one_takes_over(tmp_path: Path, relays: int) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=relays) as gateway:
        gateway.ask("switch", module="scan", on=False)
        for number in range(9):
            gateway.send(plain(f"mail {number}"), f"user{number}@example.org")
        children = gateway.pids()[1:]
        assert len(children) > relays
        master = gateway.process
        assert master is not None
        master.kill()
        wait_for(lambda: all(is_gone(pid) for pid in children), "relays, template and filters to end")
        master.wait(120)
        gateway.process = None
        gateway.start()
        wait_for(lambda: len(sink.mails) == 9, "all mail after the takeover")
        wait_settled(gateway)
        assert set(sink.recipients().values()) == {1}
        assert len(sink.recipients()) == 9


def test_filter_killed_in_mid_scan_is_replaced_and_the_mail_delivered_once(tmp_path: Path) -> None:
    code = """
    from gatepost.antivirus.builtin import BuiltinEngine
    scan = BuiltinEngine.scan
    def slow(self, subject, deadline):
        if b"TAKE-YOUR-TIME" in subject.data:
            import time
            end = time.monotonic() + 3
            while time.monotonic() < end:
                pass
        return scan(self, subject, deadline)
    BuiltinEngine.scan = slow
    """
    env = injected(tmp_path, "gatepost.filter.template", code)
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, env=env) as gateway:
        content = plain("slow", "TAKE-YOUR-TIME\r\n")
        queue_id = gateway.send(content)

        def busy() -> bool:
            return bool(gateway.status()["relays"][0]["filters"]["busy"])

        wait_for(busy, "the scan to be under way")
        for pid in gateway.status()["relays"][0]["filter_pids"]:
            kill(pid)
        wait_for(lambda: gateway.lines("DELIVERED", queue_id), "the mail in spite of its killed filter")
        wait_settled(gateway)
        assert [mail.without_trace() for mail in sink.mails] == [content]
        filters = gateway.status()["relays"][0]["filters"]
        assert (filters["retried"], filters["failed"]) == (1, 0)


def test_relay_killed_under_load_gives_no_lost_mail_to_clients_waiting_for_an_answer(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, relays=1) as gateway:
        accepted: list[int] = []
        stop = threading.Event()

        def send() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    gateway.send(plain(f"load {number}"), f"user{number}@example.org")
                except Exception:  # noqa: BLE001 - a killed relay may do anything to a client
                    continue
                accepted.append(number)

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(3):
            count = len(accepted)
            wait_for(lambda count=count: len(accepted) > count + 20, "load")  # type: ignore[misc]
            old = gateway.relay_pids()[0]
            kill(old)
            wait_for(lambda old=old: old not in gateway.relay_pids(), "a new relay")  # type: ignore[misc]
        stop.set()
        join(sender)
        wait_settled(gateway)
        assert set(sink.recipients()) >= {f"user{number}@example.org" for number in accepted}
