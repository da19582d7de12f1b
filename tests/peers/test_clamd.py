"""Mail through a gateway with a real clamd: found, waited for, frozen, reloaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.peers.clamd_program import MARKER, SECOND, Clamd
from tests.support.gateway import Gateway
from tests.support.mails import locked_zip, plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import wait_for


class Place(NamedTuple):
    clamd: Clamd
    gateway: Gateway
    sink: Sink


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory: Path = tmp_path_factory.mktemp("clamd")
    with Clamd(directory) as clamd, Sink() as sink:
        settings = (
            f'\n[[engine]]\nname = "local"\nkind = "clamd"\naddress = "{clamd.socket}"\ntimeout = "2s"\nremember = "0s"\n'
            f'\n[[engine]]\nname = "tcp"\nkind = "clamd"\naddress = "127.0.0.1:{clamd.port}"\nmax_size = "1 MiB"\n'
            'timeout = "2s"\nremember = "0s"\n'
        )
        with Gateway(directory / "gw", sink.port, settings=settings) as gateway:
            yield Place(clamd, gateway, sink)
            assert gateway.stop() == 0


def states(gateway: Gateway) -> dict[str, str]:
    return {engine["name"]: engine["state"] for engine in gateway.status()["relays"][0]["engines"]}


def verdict(place: Place, content: bytes) -> str:
    """Send a mail; return the statuses in its SCANNED line."""
    queue_id = place.gateway.send(content)
    wait_for(lambda: place.gateway.lines("SCANNED", queue_id), "the verdict")
    return place.gateway.lines("SCANNED", queue_id)[0].partition('status="')[2].partition('"')[0]


def test_what_clamd_knows_is_found(place: Place) -> None:
    assert verdict(place, plain("all is well")) == "clean"
    assert verdict(place, with_attachment(b"..." + MARKER + b"...", "a.txt")) == "infected"
    assert 'names="Test.Marker.UNOFFICIAL"' in place.gateway.log()
    # clamd looks into an archive by itself, and our own members need not be sent.
    assert verdict(place, with_attachment(zipped(MARKER * 3), "a.zip")) == "infected"
    assert "protected" in verdict(place, with_attachment(locked_zip(), "locked.zip"))
    wait_for(lambda: "all is well" in str([mail.content for mail in place.sink.mails]), "the clean mail")
    assert not any(MARKER in mail.content for mail in place.sink.mails)


def test_the_engines_are_shown(place: Place) -> None:
    engines = {engine["name"]: engine for engine in place.gateway.status()["relays"][0]["engines"]}
    assert states(place.gateway) == {"local": "up", "tcp": "up"}
    assert engines["local"]["version"].startswith("ClamAV ")
    shown = place.gateway.command("status").stdout
    assert "local" in shown
    assert "ClamAV" in shown


def test_an_object_over_a_limit_is_an_error(place: Place) -> None:
    assert "error" in verdict(place, with_attachment(b"x" * (1024**2 + 1), "big.bin"))


def test_mail_waits_for_an_engine_that_is_gone(place: Place) -> None:
    place.clamd.stop()
    waiting = place.gateway.send(plain("patient"))
    wait_for(lambda: place.gateway.lines("waits for inspection", waiting), "the mail to wait")
    assert states(place.gateway)["local"] == "down"
    assert not place.gateway.lines("SCANNED", waiting)
    place.clamd.start()
    wait_for(lambda: any(b"patient" in mail.content for mail in place.sink.mails), "the mail to go on")
    assert states(place.gateway)["local"] == "up"


def test_mail_waits_for_an_engine_that_says_nothing(place: Place) -> None:
    place.clamd.freeze()
    try:
        waiting = place.gateway.send(plain("very patient"))
        wait_for(lambda: place.gateway.lines("waits for inspection", waiting), "the mail to wait")
        assert not place.gateway.lines("SCANNED", waiting)
    finally:
        place.clamd.thaw()
    wait_for(lambda: any(b"very patient" in mail.content for mail in place.sink.mails), "the mail to go on")


def test_new_signatures_count_at_once(place: Place) -> None:
    content = with_attachment(b"..." + SECOND + b"...", "b.bin")
    assert verdict(place, content) == "clean"
    place.clamd.add_signatures()
    assert verdict(place, content) == "infected"
