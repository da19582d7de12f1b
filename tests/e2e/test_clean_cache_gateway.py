"""The clean-object cache in a running gateway: counted, kept over a restart, switched off, of no use to new databases."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.feeds.building import build_set
from gatepost.feeds.keys import build_public_text, generate_key, load_private

COUNTER = "antiviral_checked_objects_through_cache"
FILE = zipped(b"the same figures every day")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Sink]]:
    with (
        Sink() as sink,
        Gateway(
            tmp_path_factory.mktemp("cache") / "gw", sink.port, replace={"[ave]\n": "[ave]\nuse_clean_cache = true\n"}
        ) as gateway,
    ):
        yield gateway, sink


def scanned(gateway: Gateway, content: bytes) -> int:
    """Send a mail; return what the counter says once it has been inspected, against before."""
    before = gateway.counter(COUNTER)
    messages = gateway.counter("antiviral_checked_messages_total")
    gateway.send(content)
    wait_for(lambda: gateway.counter("antiviral_checked_messages_total") > messages, "the inspection to be counted")
    return gateway.counter(COUNTER) - before


@pytest.mark.feature("F-AV-20")
def test_the_same_file_twice_is_scanned_once_and_a_restart_forgets_nothing(running: tuple[Gateway, Sink]) -> None:
    gateway, sink = running
    assert scanned(gateway, with_attachment(FILE, "figures.zip", "first")) == 0
    assert scanned(gateway, with_attachment(FILE, "figures.zip", "second")) == 1
    assert scanned(gateway, with_attachment(FILE, "other.zip", "third")) == 0
    assert gateway.stop() == 0
    gateway.start()
    assert scanned(gateway, with_attachment(FILE, "figures.zip", "fourth")) == 1
    wait_for(lambda: len(sink.mails) >= 4, "all to arrive")
    gateway.edit("use_clean_cache = true", "use_clean_cache = false")
    assert gateway.command("reload").returncode == 0
    assert scanned(gateway, with_attachment(FILE, "figures.zip", "fifth")) == 0
    gateway.edit("use_clean_cache = false", "use_clean_cache = true")
    assert gateway.command("reload").returncode == 0
    assert scanned(gateway, with_attachment(FILE, "figures.zip", "sixth")) == 1


def test_what_is_infected_is_found_every_time_and_texts_ask_nothing(running: tuple[Gateway, Sink]) -> None:
    gateway, _ = running
    for number in range(2):
        before = gateway.counter("antiviral_infected_objects")
        assert scanned(gateway, with_attachment(zipped(EICAR, "x.com"), "bad.zip", f"bad {number}")) == 0
        assert gateway.counter("antiviral_infected_objects") > before
        assert scanned(gateway, plain("same text")) == 0


@pytest.mark.feature("F-AV-21")
def test_new_databases_see_it_again(tmp_path: Path) -> None:
    key, bases, file = tmp_path / "key.pem", tmp_path / "bases", b"known to nobody, until it is"
    configured = {
        "[path]": f'[path]\nbases_path = "{bases}"',
        "[ave]": f'[ave]\ntrusted_keys = ["{build_public_text(generate_key(key))}"]',
    }

    def put(number: int, known: bytes) -> None:
        building = tmp_path / f"building-{number}"
        building.mkdir()
        (building / "known.hash").write_text(f"{hashlib.sha256(known).hexdigest()}:{len(known)}:Test.Known\n")
        build_set(building, "own", number, dt.date(2026, 1, 31), [load_private(key)])
        building.rename(bases / f"own-{number}")

    bases.mkdir()
    put(1, b"something else")
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, replace=configured) as gateway:
        mail = with_attachment(file, "thing.dat")
        assert [scanned(gateway, mail), scanned(gateway, mail)] == [0, 1]
        put(2, file)
        assert gateway.command("reloadbases").returncode == 0

        def found() -> bool:
            scanned(gateway, mail)
            return gateway.counter("antiviral_infected_objects") > 0

        wait_for(found, "the new databases to be asked")  # a filter of the former may still have been at work
        cached = gateway.counter(COUNTER)
        scanned(gateway, mail)
        assert gateway.counter(COUNTER) == cached
