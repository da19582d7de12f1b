"""Learning on a real gateway: commands and watched folders teach, filters weigh by it at once, and it can be undone."""

import json
import mailbox
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.unit.storage.store_items import new

from gatepost.antispam.check import Notes
from gatepost.antispam.classifier.check import build_classifier
from gatepost.antispam.classifier.learned import map_file
from gatepost.antispam.knowledge import load_packaged
from gatepost.antispam.view import build_view
from gatepost.master.learning import WEIGHTS_FILE
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions
from gatepost.storage.item import StoreKind
from gatepost.storage.store import Store

SPAM = "Hello, the garden club meets on Sunday at the pond; bring gloves and the list of bulbs you would like to swap"
STRANGERS = {'# trusted_networks = ["10.0.0.0/8"]': 'trusted_networks = ["10.0.0.0/8"]'}
"""Loopback is not our own network: mail from it is inbound."""
CERTAIN = '[antispam]\nauto_learn = true\nown_names = ["Jane Doe <jane@example.org>"]\n'
GTUBE = "XJS*C4JDBQADN1.NSBN3*" + "2IDNEN*GTUBE-STANDARD-ANTI-" + "UBE-TEST-EMAIL*C.34X"
HAM = "Good morning, the minutes of the planning meeting are attached, tell me by Thursday whether anything is missing"


def mail(body: str, number: int) -> bytes:
    return (
        f"From: Someone <s{number}@example.net>\r\nTo: user@example.org\r\nSubject: note {number}\r\n"
        f"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}.{len(body)}@example.net>\r\n\r\n"
        f"{body}, {chr(97 + number % 26) * 8}\r\n"
    ).encode()


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    place = tmp_path_factory.mktemp("learning") / "gw"
    with Gateway(place, sink.port, replace=STRANGERS, settings=CERTAIN, antispam=True, spam_fields=True) as one:
        yield one


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mails")
    box = mailbox.mbox(folder / "spam.mbox")
    for number in range(20):
        box.add(mail(SPAM, number))
    box.close()
    (folder / "ham").mkdir()
    for number in range(20):
        (folder / "ham" / f"{number}.eml").write_bytes(mail(HAM, number))
    (folder / "probe.eml").write_bytes(mail(SPAM, 77))
    return folder


def learned_weight(gateway: Gateway, path: Path) -> float:
    """What the gateway's weights say of a message, read in the way of its filters; 0 where they say nothing."""
    learned = map_file(gateway.state / "learned" / WEIGHTS_FILE)
    (check,) = build_classifier(load_packaged(), learned)
    notes = Notes()
    check.inspect(build_view(parse(path.read_bytes()), SpamOptions()), notes)
    return sum(sign.weight for sign in notes.signs)


def rating(gateway: Gateway, sink: Sink, number: int) -> int:
    """What the gateway rates a message of the kind that is taught as spam."""
    gateway.send(mail(SPAM, number))

    def look() -> list[bytes]:
        return [each.content for each in list(sink.mails) if f"note {number}\r\n".encode() in each.content]

    (content,) = wait_for(look, "the mail to arrive")
    return int(content.lower().partition(b"x-spamtest-rate: ")[2].split()[0])


def spam_status(gateway: Gateway) -> dict[str, float]:
    status: dict[str, float] = gateway.ask("learning", call="status")
    return status


def test_teaching_and_taking_back(gateway: Gateway, sink: Sink, mails: Path) -> None:
    rated, before = rating(gateway, sink, 600), learned_weight(gateway, mails / "probe.eml")
    assert "20 learned" in gateway.command("spam", "learn", "--spam", str(mails / "spam.mbox")).stdout
    assert "20 learned" in gateway.command("spam", "learn", "--ham", str(mails / "ham")).stdout
    assert spam_status(gateway)["spam"] == spam_status(gateway)["ham"] == 20
    assert learned_weight(gateway, mails / "probe.eml") > before + 1.5
    assert rating(gateway, sink, 601) > rated
    again = gateway.command("spam", "learn", "--spam", str(mails / "spam.mbox"))
    assert "20 learned before" in again.stdout
    moved = gateway.command("spam", "learn", "--spam", str(mails / "ham" / "3.eml"))
    assert "1 learned otherwise before, changed" in moved.stdout
    assert (spam_status(gateway)["spam"], spam_status(gateway)["ham"]) == (21, 19)
    assert "1 forgotten" in gateway.command("spam", "forget", str(mails / "ham" / "3.eml")).stdout
    assert spam_status(gateway)["spam"] == 20
    told = gateway.command("spam", "status").stdout
    assert "Learned: 20 spam, 19 wanted" in told
    latest = gateway.command("spam", "recent", "--limit", "3").stdout.splitlines()
    assert len(latest) == 3
    assert "operator" in latest[0]


def test_what_is_certain_is_learned_by_itself_when_wished(gateway: Gateway, sink: Sink) -> None:
    before = spam_status(gateway)
    rating(gateway, sink, 610)
    borrowed = mail(f"Please pay at once\r\n{GTUBE}\r\n", 611).replace(b"From: Someone", b"From: Jane Doe")
    gateway.send(borrowed)

    def learned() -> list[dict[str, object]]:
        return [row for row in gateway.ask("learning", call="recent") if row["source"] == "auto"]

    (row,) = wait_for(learned, "the lesson")
    assert (row["spam"], row["who"]) == (True, "127.0.0.1")
    assert gateway.command("spam", "undo", "auto", "--yes").stdout == "1 messages taken back\n"
    assert spam_status(gateway)["spam"] == before["spam"]


def test_watched_folders(gateway: Gateway, mails: Path) -> None:
    before = spam_status(gateway)
    ham = gateway.state / "learn" / "ham"
    (ham / "one.eml").write_bytes(mail("A letter about the choir and its concert in the church on Friday", 500))
    (ham / ".half").write_bytes(b"nothing yet")
    wait_for(lambda: spam_status(gateway)["ham"] == before["ham"] + 1, "the folder to be learned")
    wait_for(lambda: not (ham / "one.eml").exists(), "the file to go")
    assert (ham / ".half").exists()


def test_stored_messages_are_taught_by_their_ids(gateway: Gateway, mails: Path, tmp_path: Path) -> None:
    kept = [new(mail(f"The {word} of the rowing club meets on Monday", 700), store=StoreKind.BACKUP)
            for word in ("board", "crew", "cook")]  # fmt: skip
    with Store(str(gateway.state / "backup"), create=True) as store:
        assert store.put(kept) == [None] * len(kept)
    board, crew, cook = (each.item for each in kept)
    before = spam_status(gateway)
    told = gateway.command("spam", "learn", "--ham", board.id, crew.queue_id, str(mails / "probe.eml"), "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {
        "learned": 3, "known": 0, "moved": 0, "forgotten": 0, "unknown": 0, "failed": 0
    }  # fmt: skip
    released = gateway.command("backup", "release", cook.id, "--no-check", "--yes", "--learn-ham")
    assert released.returncode == 0, released.stderr
    assert "anti-spam: 1 learned" in released.stderr
    assert spam_status(gateway)["ham"] == before["ham"] + 4
    named = [board.id, crew.id, cook.queue_id, str(mails / "probe.eml")]
    taken_back = gateway.command("spam", "forget", *named, "--json")
    assert json.loads(taken_back.stdout)["forgotten"] == 4
    assert [spam_status(gateway)[key] for key in ("spam", "ham", "journal")] == [
        before[key] for key in ("spam", "ham", "journal")
    ]
    nothing = gateway.command("spam", "undo", "nobody", "--json", "--yes")
    assert json.loads(nothing.stdout) == {"taken_back": 0}


def test_backup_and_restore(gateway: Gateway, mails: Path, tmp_path: Path) -> None:
    before, weight = spam_status(gateway), learned_weight(gateway, mails / "probe.eml")
    assert gateway.command("spam", "model", "export", str(tmp_path / "saved")).returncode == 0
    assert gateway.command("spam", "model", "reset", "--yes").returncode == 0
    assert spam_status(gateway)["spam"] == 0
    assert gateway.command("spam", "model", "import", "--yes", str(tmp_path / "saved")).returncode == 0
    assert spam_status(gateway)["spam"] == before["spam"]
    assert learned_weight(gateway, mails / "probe.eml") == pytest.approx(weight, abs=0.01)


def test_wrong_use_is_said(gateway: Gateway, mails: Path) -> None:
    both = gateway.command("spam", "learn", "--spam", "--ham", str(mails / "probe.eml"))
    assert both.returncode == 1
    assert "either" in both.stderr
    missing = gateway.command("spam", "learn", "--spam", str(mails / "none.eml"))
    assert missing.returncode == 3
    assert "no such file, and the id of no stored message either" in missing.stderr


def test_many_messages_are_rated(gateway: Gateway, mails: Path) -> None:
    answer = gateway.command("spam", "test", str(mails / "ham"), "--to", "user@example.org")
    lines = answer.stdout.splitlines()
    assert len(lines) == 21, answer.stderr
    assert all(" ms  " in line for line in lines[:-1])
    assert lines[-1] == "20 not_detected"


def test_an_index_with_another_label_is_refused(gateway: Gateway, mails: Path) -> None:
    (mails / "index.tsv").write_text("id\tlabel\nx\tmaybe\n")
    refused = gateway.command("spam", "evaluate", str(mails / "index.tsv"))
    assert refused.returncode == 1
    assert "maybe" in refused.stderr
