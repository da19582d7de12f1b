"""`make prove NAME=agreement`: log, JSON lines, tracking, counters, statistics and metrics tell the same, to the unit.

A gateway of two relays takes a scripted traffic (clean mail, malware, several recipients, refusals, questions at a
door) while recorder, console and a relay are killed with SIGKILL, one after the other. At the end every view is asked,
and all must agree: with one another, and with what the clients were told. A client that lost its connection does not
know what became of its mail; refusals and answers of the last second before the kill of a relay may be missing.
`--mails` makes a short run of it.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import smtplib
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.gateway import Gateway  # noqa: E402
from tests.support.mails import EICAR, with_attachment  # noqa: E402
from tests.support.ports import free_port  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from result_pages import made_at, write_section  # noqa: E402

MAILS = 10_000
CLIENTS = 4
STRANGER = "127.0.0.9"
"""May not relay."""
KILLED = ("recorder", "console", "relay")
LOST_REFUSALS_S = 1.0
_LINE = re.compile(r"^\[[^\]]* [A-Z]\](?: ([0-9A-Z]{13}))?: ([A-Z]+), (.*)", re.MULTILINE)
_JSON_TYPES = {
    "RECEIVED": "received",
    "ASKED": "asked",
    "ANSWERED": "answered",
    "SCANNED": "scanned",
    "SPLITTED": "split",
    "DELIVERED": "delivered",
    "BLOCKED": "blocked",
    "REFUSED": "refused",
    "DEFERRED": "deferred",
    "GENERATED": "generated",
}
_COUNTERS = {
    "RECEIVED": ("mta_received_messages",),
    "ASKED": ("service_asked_messages",),
    "ANSWERED": tuple(f"service_answered_{deed}" for deed in ("deliver", "reject", "discard", "unjudged")),
    "DELIVERED": ("mta_sent_recipients", "mta_sendings_failed_total"),
    "BLOCKED": ("mta_blocked_messages",),
    "REFUSED": ("mta_incoming_connections_refused_total", "mta_receivings_refused_total"),
    "DEFERRED": ("mta_sendings_deferred",),
}
_METRICS = {
    "gatepost_received_messages_total": "RECEIVED",
    "gatepost_sent_recipients_total": "DELIVERED",
    "gatepost_messages_blocked_total": "BLOCKED",
    'gatepost_connections_refused_total{cause="relaying"}': "REFUSED",
}


class Clients:
    """Those who send, and what they were told."""

    def __init__(self, port: int, door: int, mails: int) -> None:
        self._port = port
        self._door = door
        self._numbers = iter(range(mails))
        self._lock = threading.Lock()
        self.accepted: set[str] = set()
        self.done = 0
        self.refused: list[float] = []
        """When refusals came, Unix seconds ..."""
        self.answered: list[float] = []
        """... and when a door answered."""
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def has_done(self, mails: int) -> bool:
        return self.done >= mails

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (number := self._next()) is not None:
            while True:  # a client comes again until it knows what became of its mail
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    self._send(number)
                    break
                time.sleep(0.05)

    def _next(self) -> int | None:
        with self._lock:
            self.done += 1
            return next(self._numbers, None)

    def _send(self, number: int) -> None:
        if number % 10 == 9:
            self._be_refused()
            return
        if number % 10 == 6:
            self._ask(number)
            return
        recipients = [f"user{number}@example.org"]
        if number % 10 == 8:
            recipients.append(f"second{number}@other.example.org")
        content = f"Subject: mail {number}\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\n\r\nbody\r\n".encode()
        if number % 10 == 7:
            content = with_attachment(EICAR, "eicar.com")
        with smtplib.SMTP("127.0.0.1", self._port, timeout=20) as client:
            refused = client.sendmail("sender@example.net", recipients, content)
            assert not refused
        with self._lock:
            self.accepted.add(str(number))

    def _ask(self, number: int) -> None:
        content = f"Subject: question {number}\r\n\r\nbody\r\n".encode()
        with socket.create_connection(("127.0.0.1", self._door), timeout=20) as client:
            client.sendall(b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(content) + content)
            said = b"".join(iter(lambda: client.recv(65536), b""))
        if b" 0 EX_OK" not in said:
            raise OSError("not judged")
        with self._lock:
            self.answered.append(time.time())

    def _be_refused(self) -> None:
        with smtplib.SMTP("127.0.0.1", self._port, timeout=20, source_address=(STRANGER, 0)) as client:
            client.ehlo("stranger.example.net")
            client.mail("a@example.net")
            code, _ = client.rcpt("x@elsewhere.example")
            assert code >= 500, code
        with self._lock:
            self.refused.append(time.time())


class Views:
    """What every view tells."""

    def __init__(self, gateway: Gateway, json_file: Path) -> None:
        self.log = [
            (found[1] or "", "ASKED" if found[2] == "RECEIVED" and ", door=<" in found[3] else found[2])
            for found in _LINE.finditer(gateway.log())
        ]
        self.lines = Counter(word for _, word in self.log)
        self.json = [json.loads(line) for line in json_file.read_text().splitlines()]
        self.types = Counter("asked" if record.get("door") else record["type"] for record in self.json)
        self.counters: dict[str, int] = gateway.status()["counters"]
        self.statistics: dict[str, Any] = gateway.ask("stats")["values"]
        text: str = gateway.ask("metrics")
        rows = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        self.metrics = {name: float(value) for name, value in rows}
        self.tracked = tracked_mails(gateway)

    def received(self) -> set[str]:
        return {number for number, word in self.log if word in {"RECEIVED", "ASKED"}}


def tracked_mails(gateway: Gateway) -> list[dict[str, Any]]:
    mails: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = gateway.ask("tracking.search", limit=1000, cursor=cursor)
        mails += page["mails"]
        cursor = page["cursor"]
        if not cursor:
            return mails


def find_disagreements(views: Views, clients: Clients, killed_at: float) -> list[str]:
    """Return what does not agree, in words."""
    found: list[str] = []

    def compare(what: str, one: object, other: object) -> None:
        if one != other:
            found.append(f"{what}: {one} and {other}")

    for word, kind in _JSON_TYPES.items():
        compare(f"{word} lines and JSON lines", views.lines[word], views.types[kind])
    for word, names in _COUNTERS.items():
        compare(f"{word} lines and counters", views.lines[word], sum(views.counters.get(name, 0) for name in names))
        shown = sum(int(views.statistics.get(name, 0)) for name in names)
        compare(f"{word} lines and statistics", views.lines[word], shown)
    for metric, word in _METRICS.items():
        compare(f"{word} lines and metric {metric}", float(views.lines[word]), views.metrics[metric])
    received = views.received()
    compare("RECEIVED lines, each once", views.lines["RECEIVED"] + views.lines["ASKED"], len(received))
    in_json = {record["id"] for record in views.json if record["type"] == "received"}
    compare("messages in log and JSON lines", received ^ in_json, set())
    mails = [mail for mail in views.tracked if mail["outcome"] != "refused"]
    tracked = {mail["id"] for mail in mails}
    compare("messages in the log that are not tracked", received - tracked, set())
    compare("tracked messages, each once", len(mails), len(tracked))
    refusals = sum(mail["outcome"] == "refused" for mail in views.tracked)
    compare("REFUSED lines and tracked refusals", views.lines["REFUSED"], refusals)
    blocked = {number for number, word in views.log if word == "BLOCKED"}
    compare("blocked messages in log and tracking", blocked, {m["id"] for m in mails if m["outcome"] == "blocked"})
    numbers = Counter((record["source"], record["number"]) for record in views.json)
    compare("records written twice to the JSON lines", [each for each, times in numbers.items() if times > 1], [])
    if len(received) < len(clients.accepted):
        found.append(f"{len(clients.accepted)} mails were accepted, {len(received)} are on record")
    for word, moments in (("REFUSED", clients.refused), ("ANSWERED", clients.answered)):
        told, kept = len(moments), views.lines[word]
        may_lack = sum(killed_at - LOST_REFUSALS_S - 0.5 <= at <= killed_at + 0.5 for at in moments)
        if kept < told - may_lack:
            found.append(f"{told} of {word}, {may_lack} of them around the kill, {kept} on record")
    return found


def kill(gateway: Gateway, kind: str) -> bool:
    """Kill one process of a kind; False when there is none."""
    match kind:
        case "recorder":
            pid = gateway.ask("tracking.status").get("pid", 0)
        case "console":
            pid = gateway.ask("console.status").get("pid", 0)
        case _:
            pid = gateway.relay_pids()[0]
    if pid:
        os.kill(pid, signal.SIGKILL)
    return bool(pid)


def prove(mails: int, place: Path, *, console: bool = True, say: Callable[[str], object] = print) -> list[str]:
    """Run it; return what does not agree. Without `console` there is none to be killed."""
    json_file = place / "gw" / "records.jsonl"
    settings = f'\n[tracking]\njson_file = "{json_file}"\n'
    door = free_port()
    settings += f'\n[[door]]\nname = "asked"\nkind = "spamd"\naddress = "tcp:127.0.0.1:{door}"\n'
    settings += '\n[[group]]\nname = "other"\nrecipients = ["*@other.example.org"]\ncheck_spam = false\n'
    replace = {
        '  "127.0.0.0/8", "::1/128",\n': '  "127.0.0.1/32", "::1/128",\n',
        '# trusted_networks = ["10.0.0.0/8"]': 'trusted_networks = ["127.0.0.1/32"]',
    }
    with (
        Sink() as sink,
        Gateway(place / "gw", sink.port, relays=2, settings=settings, replace=replace, console=console) as gateway,
    ):
        clients = Clients(gateway.port, door, mails)
        clients.start()
        killed_at = 0.0
        for index, kind in enumerate(KILLED, 1):
            share = mails * index // (len(KILLED) + 1)
            wait_for(partial(clients.has_done, share), f"{share} mails", 3600)
            say(f"{clients.done} mails: {kind} killed: {kill(gateway, kind)}")
            killed_at = time.time()
        clients.join()
        wait_for(lambda: all("error" not in row for row in gateway.status()["relays"]), "both relays", 30)
        wait_for(lambda: not gateway.queue(), "an empty queue", 120)
        views: list[Views] = []

        def agreed() -> bool:
            views.append(Views(gateway, json_file))
            return not find_disagreements(views[-1], clients, killed_at)

        # The recorder is a second behind, more after it was away.
        with contextlib.suppress(AssertionError):
            wait_for(agreed, "all views to agree", 30, 0.5)
        last = views[-1]
        say(f"log lines: {dict(last.lines)}")
        say(
            f"JSON lines: {dict(last.types)}; tracked: {len(last.tracked)}; clients: {len(clients.accepted)} accepted, "
        )
        return find_disagreements(last, clients, killed_at)


def main() -> int:
    """Run the proof."""
    parser = argparse.ArgumentParser(prog="make prove NAME=agreement", description=__doc__)
    parser.add_argument("--mails", type=int, default=MAILS)
    mails: int = parser.parse_args().mails
    with tempfile.TemporaryDirectory() as place:
        found = prove(mails, Path(place))
    for line in found:
        print(f"DISAGREES: {line}"[:500])
    if not found:
        print(f"all views agree after {mails} mails and three kills")
        if mails >= MAILS:
            write_section(
                "agreement",
                f"{made_at()}, `make prove NAME=agreement`: {mails} mails, attempts and questions, meanwhile "
                f"{', '.join(KILLED)} killed with SIGKILL; log, JSON lines, tracking, counters, statistics and metrics "
                "tell the same to the unit.",
            )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
