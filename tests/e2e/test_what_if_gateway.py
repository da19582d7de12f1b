"""One running gateway: mail under a shadow, mail looked at again, mail that passes unscanned in an emergency."""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for

SHADOW = """
[[shadow]]
name = "lenient"
settings = ["block_message = suspicious"]
"""
BEFORE_QUEUE = free_port()
"""Of a listener that inspects before it answers."""
CLEAN = plain()
BAD = with_attachment(EICAR, subject="bad")
FOUND = base64.b64encode(EICAR)[:40]
"""What of it stands in the message."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Sink]]:
    state = tmp_path_factory.mktemp("what-if") / "gw"
    settings = SHADOW + f'[[listener]]\naddress = "127.0.0.1:{BEFORE_QUEUE}"\nbefore_queue = true\n'
    with Sink() as sink, Gateway(state, sink.port, settings=settings) as gateway:
        yield gateway, sink


def tracked(gateway: Gateway, finding: str) -> list[str]:
    return [mail["id"] for mail in gateway.ask("tracking.search", finding=finding)["mails"]]


def outcome(gateway: Gateway, queue_id: str) -> str:
    mail = gateway.ask("tracking.mail", id=queue_id)["mail"]
    return mail["outcome"] if mail is not None else ""


def send_bad(gateway: Gateway) -> str:
    """Send a mail that is blocked, and wait until that is on record."""
    queue_id = gateway.send(BAD)
    wait_for(lambda: outcome(gateway, queue_id) in {"blocked", "quarantined"}, "blocked mail in tracking")
    return queue_id


def test_a_shadow_tells_what_it_would_have_changed(house: tuple[Gateway, Sink]) -> None:
    gateway, sink = house
    good, bad = gateway.send(CLEAN), send_bad(gateway)
    wait_for(lambda: len(sink.mails) == 1, "the clean mail")
    wait_for(lambda: tracked(gateway, "shadow:lenient") == [bad], "the shadow's mail in tracking")

    def told() -> tuple[int, int]:
        [shadow] = json.loads(gateway.command("shadow", "--json").stdout)
        return shadow["checked"], shadow["changed"]

    wait_for(lambda: told() == (2, 1), "the shadow's counters")
    shown = gateway.command("shadow", "lenient").stdout
    assert "1 of 2 would have changed" in shown
    assert "[policy] block_message = " in shown
    assert bad in shown
    assert good not in shown
    life = " ".join(gateway.command("trace", bad).stdout.split())
    assert "would have done: deliver, placeholder 1, and not block for its objects" in life


def test_a_kept_mail_is_looked_at_again(house: tuple[Gateway, Sink]) -> None:
    gateway, sink = house
    queue_id, delivered = send_bad(gateway), len(sink.mails)
    same = gateway.command("rescan", queue_id)
    assert same.returncode == 0, same.stdout + same.stderr
    assert "The same as what is on record." in same.stdout
    other = gateway.config.with_name("other.toml")
    other.write_text(re.sub(r"(?m)^block_message = .*$", "block_message = []", gateway.config.read_text()))
    differs = gateway.command("rescan", queue_id, "--config", str(other), "--json")
    assert differs.returncode == 1, differs.stderr
    changes = json.loads(differs.stdout)["changes"]
    assert {"where": "policy", "what": "end", "name": "", "before": "blocked", "after": "deliver"} in changes
    assert len(sink.mails) == delivered


def test_in_an_emergency_mail_passes_marked_until_it_is_over(house: tuple[Gateway, Sink]) -> None:
    gateway, sink = house
    before = len(sink.mails)
    on = gateway.command("bypass", "on", "--minutes", "5", "--reason", "engines are down")
    assert on.returncode == 0, on.stderr
    queue_id = gateway.send(BAD)
    wait_for(lambda: len(sink.mails) == before + 1, "the mail that passes")
    passed = sink.mails[-1]
    assert b"\r\nX-Not-Scanned: " in passed.header
    assert FOUND in passed.content
    wait_for(lambda: tracked(gateway, "bypassed") == [queue_id], "the mail in tracking")
    assert queue_id in gateway.command("bypass", "list").stdout
    assert gateway.ask("tracking.mail", id=queue_id)["mail"]["statuses"] == ["not_checked", "bypassed"]
    wait_for(lambda: gateway.lines("W] " + queue_id + ": BYPASSED") != [], "its line in the log")
    assert send_before_queue() == 250
    wait_for(lambda: len(sink.mails) == before + 2, "the mail that passes before the queue")
    assert b"X-Not-Scanned: " in sink.mails[-1].header
    wait_for(lambda: not gateway.queue(), "both to be settled")  # or the other relay would send them again
    [relay] = gateway.relay_pids()
    os.kill(relay, signal.SIGKILL)
    wait_for(lambda: gateway.relay_pids() not in ([relay], [0]), "another relay")
    wait_for(lambda: _sent(gateway), "the other relay to take mail")
    wait_for(lambda: len(sink.mails) == before + 3, "the mail that passes the other relay")
    assert FOUND in sink.mails[-1].content
    assert "engines are down" in gateway.command("bypass", "status").stdout
    assert gateway.command("bypass", "off").returncode == 0
    send_bad(gateway)
    assert send_before_queue() == 550
    assert len(sink.mails) == before + 3


def send_before_queue() -> int:
    """Send the mail to the listener that inspects it first; return the code of its answer."""
    with smtplib.SMTP("127.0.0.1", BEFORE_QUEUE, timeout=120) as client:
        client.ehlo("client.example.net")
        client.mail("sender@example.net")
        client.rcpt("user@example.org")
        return client.data(BAD)[0]


def _sent(gateway: Gateway) -> bool:
    with contextlib.suppress(OSError, smtplib.SMTPException):
        gateway.send(BAD)
        return True
    return False


def test_a_bypass_ends_by_itself_over_a_restart(house: tuple[Gateway, Sink]) -> None:
    gateway, sink = house
    gateway.command("bypass", "on", "--minutes", "5", "--reason", "x")
    gateway.stop()
    file = gateway.state / "bypass.json"
    order = json.loads(file.read_bytes())
    assert 0 < order["left_s"] <= 300
    file.write_bytes(json.dumps({**order, "until": time.time() + 600, "left_s": 2.0}).encode())
    before = len(sink.mails)
    gateway.start()
    wait_for(lambda: "emergency bypass is over" in gateway.log().rpartition(" starts, ")[2], "its end")
    assert not file.exists()
    send_bad(gateway)
    assert len(sink.mails) == before


def test_a_restored_gateway_judges_and_signs_in_the_same(house: tuple[Gateway, Sink], tmp_path: Path) -> None:
    gateway, sink = house
    gateway.ask("accounts.add", name="ada", role="admin", password="correct horse battery")
    gateway.ask("lists.add", list="block", entry="enemy@example.net")
    file = tmp_path / "gateway.gpb"
    done = gateway.command("backup", str(file))
    assert done.returncode == 0, done.stderr
    assert gateway.command("restore", str(file), "--yes").returncode == 2, "it runs"
    gateway.stop()
    for name in ("lists.json", "accounts.json"):
        (gateway.state / name).unlink()
    shutil.rmtree(gateway.state / "learned")
    gateway.config.write_text("")
    done = gateway.command("restore", str(file), "--yes", "--state", str(gateway.state))
    assert done.returncode == 0, done.stderr
    before = len(sink.mails)
    gateway.start()
    assert [account["name"] for account in gateway.ask("accounts.list")] == ["ada"]
    assert gateway.ask("session.begin", name="ada", password="correct horse battery")["session"]
    assert [row["entry"] for row in gateway.ask("lists.show")["rows"]] == ["enemy@example.net"]
    assert [shadow["name"] for shadow in gateway.ask("shadow.list")] == ["lenient"]
    send_bad(gateway)
    assert len(sink.mails) == before
