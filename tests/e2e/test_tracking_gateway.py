"""Tracking with a real gateway: every mail and refusal can be found, its life is told; kills lose and double nothing."""

import contextlib
import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.gateway import Gateway
from tests.support.sink import Sink
from tests.support.waiting import wait_for

MAILS = 12


class Traced(Gateway):
    """A gateway and what is kept of its mail."""

    def found(self, **arguments: Any) -> list[dict[str, Any]]:
        answer = self.ask("tracking.search", check=False, limit=1000, **arguments)
        return list(answer["mails"]) if answer else []

    def recorder_pid(self) -> int:
        pid: int = self.ask("tracking.status")["pid"]
        assert pid > 1
        return pid

    def json_lines(self) -> list[dict[str, Any]]:
        path = self.state / "records.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def mails(self, count: int, word: str) -> list[str]:
        content = f"Subject: {word} invoice\r\nMessage-ID: <{word}-%d@id.example>\r\n\r\nbody\r\n"
        return [self.send((content % number).encode(), f"{word}{number}@example.org") for number in range(count)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    state = tmp_path_factory.mktemp("traced")
    settings = f'\n[tracking]\njson_file = "{state}/records.jsonl"\n'
    with Sink() as sink, Traced(state, sink.port, settings=settings) as running:
        yield running


def delivered(gateway: Traced, word: str) -> int:
    return len(gateway.found(recipient=f"{word}*", status="delivered"))


def test_a_mail_is_found_by_what_is_known_of_it_and_its_life_is_told(gateway: Traced) -> None:
    first, *_ = gateway.mails(3, "alpha")
    wait_for(lambda: delivered(gateway, "alpha") == 3, "three mails to be tracked")
    for arguments in (
        {"id": first},
        {"recipient": "alpha0@example.org"},
        {"message_id": "<alpha-0@id.example>"},
        {"text": "alpha-0@id.example"},
        {"text": first.lower()},
    ):
        assert [mail["id"] for mail in gateway.found(**arguments)] == [first], arguments
    assert len(gateway.found(subject="alpha invo*")) == 3
    assert len(gateway.found(client="127.0.0.1", hop="127.0.0.1", subject="alpha")) == 3
    told = gateway.ask("tracking.mail", id=first)
    assert [record["type"] for record in told["records"]] == ["received", "inspected", "scanned", "delivered"]
    shown = gateway.command("trace", first)
    assert shown.returncode == 0, shown.stderr
    assert "delivered to <alpha0@example.org>" in shown.stdout
    assert "250 2.0.0" in shown.stdout
    listed = gateway.command("trace", "alpha", "invoice", "--json")
    assert len(json.loads(listed.stdout)["mails"]) == 3
    nothing = gateway.command("trace", "nobody@example.net")
    assert nothing.returncode == 4
    assert nothing.stdout.startswith("nothing matches\n")
    for hint in ("nna*'", "gatepost trace --client", "gatepost quarantine list"):
        assert hint in nothing.stdout
    assert "--since" not in nothing.stdout
    assert "leave out --since" in gateway.command("trace", "nobody@example.net", "--since", "1h").stdout
    assert "--client" not in gateway.command("trace", "--client", "192.0.2.77").stdout
    assert json.loads(gateway.command("trace", "nobody@example.net", "--json").stdout)["mails"] == []
    assert gateway.command("trace", "--since", "someday").returncode == 1


def test_refused_attempts_are_found_at_every_stage(gateway: Traced) -> None:
    with gateway.client() as client:
        assert client.docmd("MAIL", "FROM:<no address")[0] == 501
        assert client.mail("refused@example.net")[0] == 250
        assert client.rcpt("bad<address")[0] == 501
    wait_for(lambda: len(gateway.found(status="refused")) >= 2, "refusals to be tracked")
    assert {mail["what"] for mail in gateway.found(status="refused")} == {"mail syntax", "rcpt syntax"}
    assert [mail["what"] for mail in gateway.found(sender="refused@example.net", finding="syntax")] == ["rcpt syntax"]


def test_counts_and_series_agree_with_the_mails(gateway: Traced) -> None:
    gateway.mails(2, "beta")
    wait_for(lambda: delivered(gateway, "beta") == 2, "mails to be tracked")
    mails = gateway.found()
    counts = gateway.ask("tracking.counts")["counts"]
    outcomes = Counter(mail["outcome"] for mail in mails)
    assert {name.partition("/")[2]: n for name, n in counts.items() if name.startswith("outcome/")} == outcomes
    columns = gateway.ask("tracking.series")["columns"]
    assert sum(columns["received"]) == gateway.counter("mta_received_messages") == outcomes["delivered"]
    assert sum(columns["refused"]) == outcomes["refused"]


def test_a_kill_of_the_recorder_or_of_a_relay_loses_and_doubles_nothing(gateway: Traced) -> None:
    before = len(gateway.json_lines())
    ids = gateway.mails(MAILS, "gamma")
    os.kill(gateway.recorder_pid(), signal.SIGKILL)
    ids += gateway.mails(MAILS, "delta")
    wait_for(lambda: len(gateway.lines("DELIVERED")) >= 2 * MAILS, "mail to flow without a recorder")
    gone = gateway.relay_pids()
    os.kill(gone[0], signal.SIGKILL)
    wait_for(lambda: (pids := gateway.relay_pids()) != gone and all(pids), "a new relay")
    wait_for(lambda: delivered(gateway, "gamma") + delivered(gateway, "delta") == 2 * MAILS, "all mail to be tracked")
    assert sorted(
        mail["id"] for mail in [*gateway.found(recipient="gamma*"), *gateway.found(recipient="delta*")]
    ) == sorted(ids)
    for queue_id in ids:
        types = [record["type"] for record in gateway.ask("tracking.mail", id=queue_id)["records"]]
        assert types == ["received", "inspected", "scanned", "delivered"], queue_id
    lines = gateway.json_lines()
    assert len({(line["source"], line["number"]) for line in lines}) == len(lines)
    told = Counter((line["type"], line["id"]) for line in lines[before:] if line.get("id") in ids)
    assert told == {
        (kind, queue_id): 1 for kind in ("received", "inspected", "scanned", "delivered") for queue_id in ids
    }


def test_lines_of_json_go_on_in_a_new_file_after_a_rotation(gateway: Traced) -> None:
    path = gateway.state / "records.jsonl"
    path.rename(gateway.state / "records.1")
    assert gateway.command("reload").returncode == 0
    (queue_id,) = gateway.mails(1, "epsilon")
    wait_for(lambda: any(line.get("id") == queue_id for line in gateway.json_lines()), "lines in the new file")
    numbers = [json.loads(line)["number"] for line in (gateway.state / "records.1").read_text().splitlines()]
    assert gateway.json_lines()[0]["number"] == numbers[-1] + 1


def test_what_happened_is_found_when_the_gateway_has_stopped(gateway: Traced) -> None:
    (queue_id,) = gateway.mails(1, "zeta")
    wait_for(lambda: gateway.lines("DELIVERED", queue_id), "the mail to be delivered")
    assert gateway.stop() == 0
    shown = gateway.command("trace", queue_id)
    assert shown.returncode == 0, shown.stderr
    assert "delivered to <zeta0@example.org>" in shown.stdout
    for path in (gateway.state / "tracking").glob("*.tracking"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    gateway.start()
