"""A real Sendmail asks at the milter door, over `S=local:` as the documented recipe has it, and without a filter there."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.peers.sendmail_program import SEEN_AT, Sendmail
from tests.support.milter_rulings import PLACEHOLDER, REFUSAL, STATUS, answer, copy_bytes, message
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge
from tests.support.sink import Sink
from tests.support.wire import Wire

from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import Ruling
from gatepost.service.milter_door import make

ANNA, BERT = "anna@example.com", "bert@example.com"


class Peers(NamedTuple):
    sendmail: Sendmail
    judge: ScriptedJudge
    sink: Sink

    def send(self, *words: str, recipients: tuple[str, ...] = (ANNA,)) -> list[str]:
        """Hand mails over in one session; return the replies to their ends of data."""
        replies = []
        with Wire(self.sendmail.port) as wire:
            wire.expect(("", "220"), ("EHLO client.example.net", "250"))
            for word in words:
                wire.expect(("MAIL FROM:<sender@example.net>", "250"))
                wire.expect(*((f"RCPT TO:<{one}>", "250") for one in recipients), ("DATA", "354"))
                wire.send(message(word))
                replies.append(wire.ask("."))
            wire.expect(("QUIT", "221"))
        return replies

    def got(self, word: str) -> list[tuple[set[str], bytes]]:
        """Recipients and content of a mail that went on; Sendmail has delivered it before it answers."""
        wanted = f"Message-ID: <{word}@example.net>".encode()
        return [(set(mail.recipients), mail.content) for mail in self.sink.mails if wanted in mail.content]


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    judge = ScriptedJudge(answer)
    with Sink() as sink:
        sendmail = Sendmail(sink.port)
        socket = sendmail.base / "milter.sock"
        # As the documented recipe; the second filter's socket does not exist, which is a warning and no more.
        sendmail.filters = "".join(
            f"INPUT_MAIL_FILTER(`{name}', `S=local:{SEEN_AT}/{path}, {flags}T=C:10s;S:20s;R:30s')dnl\n"
            for name, path, flags in (("gatepost", socket.name, "F=T, "), ("absent", "absent.sock", ""))
        )
        door = Door(name="mta", kind=DoorKind.MILTER)
        with ListeningDoor(make, judge, door, path=socket), sendmail:
            yield Peers(sendmail, judge, sink)


def test_what_is_judged_is_what_was_sent(peers):
    (said,) = peers.send("clean", recipients=(ANNA, BERT))
    asked = peers.judge.last
    assert asked.content == message("clean")
    assert (asked.request.sender, asked.request.recipients) == ("sender@example.net", (ANNA, BERT))
    client = asked.request.client
    assert (client.ip, client.name, client.helo) == ("127.0.0.1", "sendmail.example.net", "client.example.net")
    assert f" {asked.request.queue_id} " in said
    ((recipients, content),) = peers.got("clean")
    assert recipients == {ANNA, BERT}
    assert content.startswith(f"{STATUS}: not detected\r\nReceived: ".encode())
    assert content.endswith(message("clean"))


def test_an_edited_copy_is_the_judges_one_after_the_other(peers):
    assert [said[:3] for said in peers.send("label", "placeholder", "empty")] == ["250"] * 3
    for word, asked in zip(("label", "placeholder", "empty"), peers.judge.asked[-3:], strict=True):
        told = answer(asked.request, asked.content)
        assert isinstance(told, Ruling)
        ((_, content),) = peers.got(word)
        assert content.startswith(told.whole.prefix + b"Received: ")
        assert content.endswith(copy_bytes(told.whole, asked.content).removeprefix(told.whole.prefix))
    assert PLACEHOLDER in peers.got("placeholder")[0][1]


def test_refused_in_the_session(peers):
    refused, later, passed = peers.send("virus", "later", "after")
    assert refused == REFUSAL
    assert later.startswith("451 4.7.1 Come again")
    assert passed.startswith("250")
    assert (len(peers.got("virus")), len(peers.got("later")), len(peers.got("after"))) == (0, 0, 1)


def test_two_groups_one_copy_with_two_status_fields(peers):
    peers.send("groups", recipients=(ANNA, BERT))
    ((recipients, content),) = peers.got("groups")
    assert recipients == {ANNA, BERT}
    assert content.startswith(f"{STATUS}: spam\r\n{STATUS}: not detected\r\n".encode())


def test_recipients_taken_off_and_put_in(peers):
    assert [said[:3] for said in peers.send("half", "elsewhere", recipients=(ANNA, BERT))] == ["250", "250"]
    assert [recipients for recipients, _ in peers.got("half")] == [{ANNA}]
    assert {one for recipients, _ in peers.got("elsewhere") for one in recipients} == {
        "post@example.com",
        "copy@example.com",
    }


def test_dropped(peers):
    assert peers.send("drop")[0].startswith("250")
    assert peers.got("drop") == []


def test_not_judged(peers):
    assert peers.send("unjudged")[0].startswith("451 4.7.1")
