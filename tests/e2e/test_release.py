"""Releases out of quarantine: each exactly once, whoever begins it, and whatever is killed in between."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, with_attachment
from tests.support.releases import STEPS, ReleaseTrial
from tests.support.sink import Sink
from tests.support.waiting import join, wait_for

from gatepost.storage.store import Store

SAVING = {
    "[policy]\n": '[policy]\nsave_in_quarantine = ["infected"]\n',
    '"allow from any to @protected"': '"allow from any to *@*.example.org", "allow from any to @protected"',
}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("release") / "gw", sink.port, relays=3, replace=SAVING) as gateway:
        yield gateway


def quarantined(gateway: Gateway, subject: str) -> str:
    """Send a mail that is put into quarantine and return its item."""
    queue_id = gateway.send(with_attachment(EICAR, subject=subject))
    line = wait_for(lambda: gateway.lines("SAVED, store=quarantine", queue_id), "its record")[0]
    found = re.search(r"item=([0-9A-Z-]+)", line)
    assert found is not None
    return found[1]


def arrivals(sink: Sink, subject: str) -> list[tuple[str, ...]]:
    wanted = f"\r\nSubject: {subject}\r\n".encode()
    return [tuple(mail.recipients) for mail in list(sink.mails) if wanted in b"\r\n" + mail.header + b"\r\n"]


@pytest.mark.feature("F-STOR-01")
def test_without_a_path_there_is_no_archive(gateway: Gateway) -> None:
    quarantined(gateway, "no archive")
    assert sorted(each.name for each in gateway.state.iterdir() if (each / "messages").exists()) == ["quarantine"]


def test_a_message_goes_to_its_recipients_once(gateway: Gateway, sink: Sink) -> None:
    item = quarantined(gateway, "once")
    first = gateway.command("quarantine", "release", item, "--no-check", "--yes")
    assert first.returncode == 0, first.stderr
    wait_for(lambda: arrivals(sink, "once"), "the mail")
    second = gateway.command("quarantine", "release", item, "--no-check", "--yes")
    assert second.returncode == 4
    assert "released before by" in second.stderr
    again = gateway.command("quarantine", "release", item, "--no-check", "--yes", "--again")
    assert again.returncode == 0, again.stderr
    wait_for(lambda: len(arrivals(sink, "once")) == 2, "the second one")
    assert arrivals(sink, "once") == [("user@example.org",)] * 2
    shown = gateway.command("quarantine", "show", item)
    assert shown.stdout.count("released 20") == 2
    assert "without checks" in shown.stdout
    queue_id = first.stdout.rpartition(" ")[2].strip()
    line = gateway.lines("OPERATED, act=release", queue_id)[0]
    assert item in line
    assert "without checks" in line


def test_it_is_checked_again_unless_told_not_to(gateway: Gateway, sink: Sink) -> None:
    item = quarantined(gateway, "checked")
    done = gateway.command("quarantine", "release", item)
    assert done.returncode == 0, done.stderr
    queue_id = done.stdout.rpartition(" ")[2].strip()
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the second verdict")
    assert arrivals(sink, "checked") == []


def test_other_recipients(gateway: Gateway, sink: Sink) -> None:
    item = quarantined(gateway, "for others")
    others = ["--to", "analyst@lab.example.org", "--to", "boss@example.org"]
    assert gateway.command("quarantine", "release", item, "--no-check", "--yes", "--to", "nobody").returncode == 1
    done = gateway.command("quarantine", "release", item, "--no-check", "--yes", *others)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: sum(map(len, arrivals(sink, "for others"))) == 2, "both copies")
    assert {each for to in arrivals(sink, "for others") for each in to} == set(others[1::2])
    assert "to <analyst@lab.example.org> <boss@example.org>" in gateway.command("quarantine", "show", item).stdout


def test_two_operators_at_once_are_one_release(gateway: Gateway, sink: Sink) -> None:
    item = quarantined(gateway, "two operators")
    directory = str(gateway.state / "quarantine")
    answers: list[dict[str, dict[str, object]]] = []
    together = threading.Barrier(4)

    def operate(number: int) -> None:
        together.wait(20)
        answers.append(
            gateway.ask(
                "release",
                directory=directory,
                items=[item],
                who=f"op{number}",
                recipients=[],
                checked=False,
                again=False,
            )
        )

    threads = [threading.Thread(target=operate, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    join(*threads)
    became = {answer[item]["queue_id"] for answer in answers}
    assert len(answers) == 4
    assert len(became) == 1
    wait_for(lambda: arrivals(sink, "two operators"), "the mail")
    with Store(directory) as store:
        assert len(store.container(item).releases) == 1
    [queue_id] = became
    wait_for(lambda: gateway.lines("DELIVERED", str(queue_id)), "its end")
    assert len(arrivals(sink, "two operators")) == 1


def test_what_is_damaged_is_not_released_and_can_be_deleted(gateway: Gateway, sink: Sink) -> None:
    item = quarantined(gateway, "damaged")
    with Store(str(gateway.state / "quarantine")) as store:
        path = store.layout.path_of(item)
        with Path(path).open("r+b") as file:
            file.seek(store.container(item).start + 20)
            file.write(b"!!!!")
        refused = gateway.command("quarantine", "release", item, "--no-check", "--yes")
        assert refused.returncode == 4
        assert "not what was stored" in refused.stderr
        row = store.row(item)
        assert row is not None
        assert row.state == "stored"
    assert gateway.command("quarantine", "delete", item, "--yes").returncode == 0
    assert arrivals(sink, "damaged") == []


def test_a_relay_killed_at_any_step_leaves_one_release(tmp_path: Path) -> None:
    with ReleaseTrial(tmp_path) as trial:
        for step in STEPS:
            trial.round(step)
        assert trial.check() == len(STEPS)
