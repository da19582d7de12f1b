"""A running gateway's configuration and lists, changed by call: in the file, in force, undone where it cannot be."""

from collections.abc import Iterator

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.control.socket import ControlError


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = 'action_blacklisted = ["delete"]\n'
    with Gateway(
        tmp_path_factory.mktemp("gateway"), sink.port, antispam=True, replace={"[policy]\n": f"[policy]\n{settings}"}
    ) as gateway:
        yield gateway


def change(section: str, name: str, value: object) -> dict[str, object]:
    return {"section": section, "name": name, "value": value}


@pytest.mark.feature("F-WEB-01", "F-WEB-05")
def test_what_is_applied_is_in_the_file_and_at_work(gateway: Gateway) -> None:
    before = gateway.config.read_text()
    done = gateway.ask("configuration.apply", changes=[change("limits", "maximal_incoming_rcpts_per_message", 1)])
    assert done["number"] > 0
    assert gateway.config.read_text() == before.replace(
        "maximal_incoming_rcpts_per_message = 1000", "maximal_incoming_rcpts_per_message = 1"
    )
    with gateway.client() as client:
        client.mail("sender@example.net")
        assert [client.rcpt(f"user{number}@example.org")[0] for number in range(2)] == [250, 452]
    gateway.ask("configuration.rollback", number=done["number"] - 1)
    assert gateway.config.read_text() == before
    with gateway.client() as client:
        client.mail("sender@example.net")
        assert [client.rcpt(f"user{number}@example.org")[0] for number in range(2)] == [250, 250]


@pytest.mark.feature("F-WEB-01")
def test_what_the_gateway_cannot_take_is_put_back(gateway: Gateway, sink: Sink) -> None:
    before = gateway.config.read_text()
    taken = f"127.0.0.1:{sink.port}"
    with pytest.raises(ControlError, match="the file is as it was"):
        gateway.ask(
            "configuration.apply",
            changes=[
                {"section": "listener", "verb": "add", "item": -1},
                {**change("listener", "address", taken), "item": 1},
            ],
        )
    assert gateway.config.read_text() == before
    assert gateway.queue() == []


def test_an_entry_counts_at_once_and_for_its_recipient_alone(gateway: Gateway, sink: Sink) -> None:
    mail = plain("A note")
    blocked = gateway.ask("lists.add", list="block", entry="pest@example.net", scope="ann@example.org")
    gateway.send(mail, ["ann@example.org", "bob@example.org"], sender="pest@example.net")
    wait_for(lambda: not gateway.queue() and sink.recipients(), "the mail to be through")
    assert dict(sink.recipients()) == {"bob@example.org": 1}
    gateway.ask("lists.remove", ids=[blocked["id"]])
    gateway.send(mail, "ann@example.org", sender="pest@example.net")
    wait_for(lambda: sink.recipients()["ann@example.org"], "the second mail")
