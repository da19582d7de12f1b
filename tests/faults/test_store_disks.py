"""Stores on a disk that is full or read-only: mail waits in the queue, nothing is lost, and it goes on by itself."""

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.support_gateway import can_mount, fill, small_disk
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.relay.saving import SLEEPERS_LIMIT
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("disk")
    if not can_mount(place / "trial"):
        pytest.skip("SKIPPED LOUDLY: a full disk needs root and mount(8): not proved here")
    with small_disk(place / "disk", 4) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(disk: Path, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    quarantine = f'[policy]\nquarantine_path = "{disk}/quarantine"\nsave_in_quarantine = ["infected"]\n'
    with Gateway(tmp_path_factory.mktemp("stores") / "gw", sink.port, replace={"[policy]\n": quarantine}) as gateway:
        yield gateway


def infected(gateway: Gateway, subject: str) -> str:
    return gateway.send(with_attachment(EICAR, subject=subject))


def stored(disk: Path) -> int:
    with Store(f"{disk}/quarantine") as store:
        return store.totals(ItemFilter(), 0.0).items


def troubled(gateway: Gateway) -> dict[str, str]:
    relay = gateway.status()["relays"][0]
    found: dict[str, str] = relay["stores"]
    return found


def check_waiting(gateway: Gateway, sink: Sink, disk: Path, why: str) -> None:
    """Send infected mail that cannot be stored and good mail that need not be."""
    before, lines = len(sink.mails), len(gateway.lines("cannot be written"))
    waiting = [infected(gateway, f"{why} {number}") for number in range(3)]
    wait_for(lambda: troubled(gateway), "the trouble to be shown")
    assert list(troubled(gateway)) == [f"{disk}/quarantine"]
    assert why in troubled(gateway)[f"{disk}/quarantine"].lower()
    assert len(gateway.lines("cannot be written")) == lines + 1
    assert f"store {disk}/quarantine cannot be written" in gateway.command("status").stdout
    gateway.send(plain(f"good while {why}"))
    wait_for(lambda: len(sink.mails) == before + 1, "mail that is not to be stored")
    wait_for(lambda: {row["queue_id"] for row in gateway.queue()} == set(waiting), "the others alone to wait")
    assert not any(gateway.lines("BLOCKED", queue_id) for queue_id in waiting)
    wait_for(lambda: all(why in row["reason"].lower() for row in gateway.queue()), "the queue to say why")


def test_a_full_disk_makes_mail_wait_until_there_is_room(gateway: Gateway, sink: Sink, disk: Path) -> None:
    first = infected(gateway, "before")
    wait_for(lambda: gateway.lines("BLOCKED", first), "the first one")
    assert stored(disk) == 1
    ballast = fill(disk)
    check_waiting(gateway, sink, disk, "space")
    ballast.unlink()
    wait_for(lambda: not gateway.queue(), "the queue to be empty")
    assert stored(disk) == 4
    assert troubled(gateway) == {}
    assert gateway.lines("is written again")


def test_a_read_only_disk_makes_mail_wait_even_over_a_restart(gateway: Gateway, sink: Sink, disk: Path) -> None:
    before = stored(disk)
    # What is open for writing keeps a file system from becoming read-only: it is seen through a window that is.
    subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True, capture_output=True)
    try:
        check_waiting(gateway, sink, disk, "read-only")
        gateway.stop()
        gateway.start()
        assert len(gateway.queue()) == 3
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True, capture_output=True)
    wait_for(lambda: not gateway.queue(), "the queue to be empty")
    assert stored(disk) == before + 3


def test_many_that_wait_for_a_store_are_each_told_once(sink: Sink, tmp_path: Path) -> None:
    """A night without an archive must not fill the log's disk as well, nor have all be inspected every second."""
    place = tmp_path / "archive"
    place.touch()  # a file where the directory belongs
    replace = {"[path]\n": f'[path]\noutgoing_archive_path = "{place}"\n'}
    with Gateway(tmp_path / "gw", sink.port, replace=replace) as gateway:
        before = len(sink.mails)
        sent = [gateway.send(plain(f"waits {number}")) for number in range(240)]
        wait_for(lambda: len(gateway.lines("disposition not stored")) >= len(sent) - SLEEPERS_LIMIT, "some to be told")
        time.sleep(4)  # four tries of each, were they tried every second
        told = Counter(line.split(": ")[1] for line in gateway.lines("disposition not stored"))
        assert max(told.values()) == 1
        place.unlink()
        wait_for(lambda: len(sink.mails) == before + len(sent), "all of them")
        assert gateway.lines("is written again")
        wait_for(lambda: not gateway.queue(), "the queue to be empty")
