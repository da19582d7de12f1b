"""The clean-object cache in a running gateway: counted, kept over a restart, switched off, of no use to new databases."""

from collections.abc import Iterator

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import wait_for

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
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("use_clean_cache = true", "use_clean_cache = false"))
    assert gateway.command("reload").returncode == 0
    assert scanned(gateway, with_attachment(FILE, "figures.zip", "fifth")) == 0
    gateway.config.write_text(text)
    assert gateway.command("reload").returncode == 0
    assert scanned(gateway, with_attachment(FILE, "figures.zip", "sixth")) == 1


def test_what_is_infected_is_found_every_time_and_texts_ask_nothing(running: tuple[Gateway, Sink]) -> None:
    gateway, _ = running
    for number in range(2):
        before = gateway.counter("antiviral_infected_objects")
        assert scanned(gateway, with_attachment(zipped(EICAR, "x.com"), "bad.zip", f"bad {number}")) == 0
        assert gateway.counter("antiviral_infected_objects") > before
        assert scanned(gateway, plain("same text")) == 0
