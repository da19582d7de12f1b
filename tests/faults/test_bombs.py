"""Bombs, small ones, by SMTP through a running gateway: each ends in time and is no clean mail, and all other mail flows.

`make prove NAME=bombs` does the same with bombs of full size, and measures.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.faults.support_gateway import wait_settled
from tests.support.bombs import BOMBS
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

_STATUS = re.compile(r'status="([^"]*)"')


class Outcome(NamedTuple):
    """What came of all bombs, sent together, with ordinary mail in between."""

    gateway: Gateway
    sink: Sink
    ids: dict[str, str]
    """Queue ids by the name of the bomb."""
    ordinary: int
    infected: list[str]
    """Queue ids of the mails with the test virus."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    with Sink() as sink, Gateway(tmp_path_factory.mktemp("bombs") / "gw", sink.port) as gateway:
        ids, infected = {}, []
        for number, (name, bomb) in enumerate(BOMBS.items()):
            ids[name] = gateway.send(bomb.make(False))
            gateway.send(plain(f"beside {number}"))
            if number % 10 == 0:
                infected.append(gateway.send(with_attachment(EICAR, "e.com")))
        wait_settled(gateway)
        yield Outcome(gateway, sink, ids, len(BOMBS), infected)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_has_the_status_it_deserves(outcome: Outcome, name: str) -> None:
    found = _STATUS.search(outcome.gateway.lines("SCANNED", outcome.ids[name])[0])
    assert found
    assert set(found[1].split(",")) & BOMBS[name].ends
    if found[1] not in ("clean", "disinfected"):
        assert outcome.gateway.lines("BLOCKED", outcome.ids[name])


def test_no_filter_was_lost_to_them(outcome: Outcome) -> None:
    (relay,) = outcome.gateway.status()["relays"]
    assert {name: relay["filters"][name] for name in ("crashed", "killed", "failed", "retried")} == dict.fromkeys(
        ("crashed", "killed", "failed", "retried"), 0
    )


def test_all_other_mail_went_its_way(outcome: Outcome) -> None:
    wait_for(
        lambda: sum(b"Subject: beside " in mail.header for mail in outcome.sink.mails) == outcome.ordinary,
        "the mail beside the bombs",
    )
    assert not any(b"EICAR-STANDARD" in mail.content for mail in outcome.sink.mails)
    for queue_id in outcome.infected:
        assert 'status="infected' in outcome.gateway.lines("SCANNED", queue_id)[0]


def test_the_work_goes_on(outcome: Outcome) -> None:
    queue_id = outcome.gateway.send(with_attachment(EICAR, "e.com", "afterwards"))
    wait_for(lambda: outcome.gateway.lines("BLOCKED", queue_id), "the virus to be found afterwards")
