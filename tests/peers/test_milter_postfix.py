"""A real Postfix asks at the milter door: several mails of one session, each kind of answer, local submission, trouble."""

import asyncio
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.support.milter_rulings import LABEL, PLACEHOLDER, REFUSAL, STATUS, answer, copy_bytes, message
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Ruling
from gatepost.service.milter_door import make

ANNA, BERT, POST, COPY = "anna@example.com", "bert@example.com", "post@example.com", "copy@example.com"


class Peers(NamedTuple):
    postfix: Postfix
    judge: ScriptedJudge
    ports: dict[str, int]
    """Of listeners: "inet", "unix", and one for each on-error choice."""

    def send(self, *mails: bytes, recipients: tuple[str, ...] = (ANNA,), port: str = "inet") -> list[str]:
        """Hand mails over in one session; return the replies to their ends of data."""
        replies = []
        with Wire(self.ports[port]) as wire:
            wire.expect(("", "220"), ("EHLO client.example.net", "250"))
            for mail in mails:
                wire.expect(("MAIL FROM:<sender@example.net>", "250"))
                wire.expect(*((f"RCPT TO:<{one}>", "250") for one in recipients), ("DATA", "354"))
                wire.send(mail)
                replies.append(wire.ask(".").replace("\n", " "))
            wire.expect(("QUIT", "221"))
        return replies

    def got(self, address: str, word: str) -> bytes:
        """Wait for a mail and return it with CRLF, without what mailbox and Postfix put in front or behind."""
        wanted = f"Message-ID: <{word}@example.net>".encode()
        mail = wait_for(lambda: [one for one in self.postfix.mails(address) if wanted in one], f"{word} for {address}")[
            0
        ]
        return mail.replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    judge = ScriptedJudge(answer)
    postfix = Postfix(root_program("postfix"), "postfix.example.net")
    path = postfix.base / "milter.sock"

    def door(**settings: object) -> Door:
        return Door(name="mta", kind=DoorKind.MILTER, **settings)

    with (
        ListeningDoor(partial(make, progress_s=0.2), judge, door(), path=path) as main,
        ListeningDoor(make, judge, door(hold=True, size_limit=50_000, on_error=OnError.ACCEPT)) as accept,
        ListeningDoor(make, judge, door(on_error=OnError.REJECT)) as reject,
    ):
        path.chmod(0o666)
        inet = {"smtpd_milters": f"inet:127.0.0.1:{main.port}", "milter_content_timeout": "1s"}
        postfix.settings["non_smtpd_milters"] = inet["smtpd_milters"]
        postfix.settings["enable_long_queue_ids"] = "yes"
        ports = {
            "inet": postfix.listener(inet),
            "unix": postfix.listener({"smtpd_milters": f"unix:{path}"}),
            "accept": postfix.listener({"smtpd_milters": f"inet:127.0.0.1:{accept.port}"}),
            "reject": postfix.listener({"smtpd_milters": f"inet:127.0.0.1:{reject.port}"}),
        }
        postfix.mailboxes(ANNA, BERT, POST, COPY)
        with postfix:
            yield Peers(postfix, judge, ports)


def test_what_is_judged_is_what_was_sent(peers):
    mail = message("clean", body=b"..\r\n" + b"gr\xc3\xbcn " * 100 + b"\r\n\r\nend\r\n")
    (said,) = peers.send(mail, recipients=(ANNA, BERT))
    asked = peers.judge.last
    assert asked.content == mail.replace(b"\r\n..\r\n", b"\r\n.\r\n")
    request = asked.request
    assert (request.sender, request.recipients) == ("sender@example.net", (ANNA, BERT))
    assert (request.client.ip, request.client.helo, request.client.listener) == (
        "127.0.0.1",
        "client.example.net",
        "mta",
    )
    assert request.queue_id
    assert request.queue_id in said


def test_mails_of_one_session_get_their_fields_over_both_kinds_of_socket(peers):
    for port in ("inet", "unix"):
        words = [f"{port}{number}" for number in range(3)]
        replies = peers.send(*(message(word) for word in words), port=port)
        assert [said[:3] for said in replies] == ["250"] * 3
        for word in words:
            got = peers.got(ANNA, word)
            assert got.count(f"\r\n{STATUS}: not detected\r\n".encode()) == 1
            assert got.endswith(message(word))


def test_an_edited_copy_is_the_judges(peers):
    for word in ("label", "placeholder", "empty"):
        peers.send(message(word))
        content = peers.judge.last.content
        told = answer(peers.judge.last.request, content)
        assert isinstance(told, Ruling)
        copy = copy_bytes(told.whole, content).removeprefix(told.whole.prefix)
        got = peers.got(ANNA, word)
        assert got.endswith(copy)
        before = got.removesuffix(copy)
        assert all(line in before for line in told.whole.prefix.splitlines(keepends=True))
    assert b"Subject: " + LABEL + b"placeholder mail" in peers.got(ANNA, "placeholder")
    assert peers.got(ANNA, "placeholder").endswith(b"\r\n\r\n" + PLACEHOLDER)


def test_refused_in_the_session_and_the_next_one_passes(peers):
    refused, later, passed = peers.send(message("virus"), message("later"), message("after"))
    assert refused == REFUSAL
    assert later.startswith("451 4.7.1 Come again")
    assert passed.startswith("250")
    assert peers.got(ANNA, "after")


@pytest.mark.feature("F-CLI-04")
def test_two_groups_one_copy_with_two_status_fields(peers):
    peers.send(message("groups"), recipients=(ANNA, BERT))
    for address in (ANNA, BERT):
        got = peers.got(address, "groups")
        assert f"{STATUS}: spam\r\n{STATUS}: not detected\r\n".encode() in got


def test_one_recipient_is_refused_and_one_gets_it(peers):
    (said,) = peers.send(message("half"), recipients=(ANNA, BERT))
    assert said.startswith("250")
    assert STATUS.encode() in peers.got(ANNA, "half")
    wait_for(peers.postfix.idle, "the queue to be empty")
    assert not [mail for mail in peers.postfix.mails(BERT) if b"<half@" in mail]


def test_other_addresses(peers):
    peers.send(message("elsewhere"))
    assert peers.got(POST, "elsewhere")
    assert peers.got(COPY, "elsewhere")
    wait_for(peers.postfix.idle, "the queue to be empty")
    assert not [mail for mail in peers.postfix.mails(ANNA) if b"<elsewhere@" in mail]


def test_dropped_and_held(peers):
    for port in ("inet", "accept"):
        (said,) = peers.send(message("drop"), port=port)
        assert said.startswith("250")
    held = wait_for(lambda: list((peers.postfix.base / "spool/hold").iterdir()), "a held mail")
    assert len(held) == 1
    wait_for(lambda: peers.postfix.lines("milter-hold", "HOLD action"), "a line about it")
    held[0].unlink()
    wait_for(peers.postfix.idle, "the queue to be empty")
    assert not [mail for mail in peers.postfix.mails(ANNA) if b"<drop@" in mail]


@pytest.mark.parametrize(("port", "said"), [("inet", "451 4.7.1"), ("accept", "250"), ("reject", "554 5.7.1")])
def test_what_cannot_be_judged(peers, port, said):
    assert peers.send(message("unjudged"), port=port)[0].startswith(said)
    if port == "accept":
        assert peers.got(ANNA, "unjudged").endswith(message("unjudged"))


def test_large_mail_passes_untouched(peers):
    before = len(peers.judge.asked)
    large = message("large", body=b"x" * 70 + b"\r\n" * 100_000)
    assert [said[:3] for said in peers.send(large, message("small"), port="accept")] == ["250", "250"]
    assert peers.got(ANNA, "large").endswith(large)
    assert [asked.content for asked in peers.judge.asked[before:]] == [message("small")]


def test_a_judgement_longer_than_postfix_waits_for_a_word(peers, monkeypatch):
    judged = peers.judge.judge

    async def slowly(request, content, deadline_s):
        await asyncio.sleep(1.4)  # milter_content_timeout is a second
        return await judged(request, content, deadline_s)

    monkeypatch.setattr(peers.judge, "judge", slowly)
    assert peers.send(message("slow"))[0].startswith("250")
    assert STATUS.encode() in peers.got(ANNA, "slow")


def test_mail_submitted_on_the_host_itself(peers):
    sent = message("local").replace(b"\r\n", b"\n")
    command = [
        root_program("sendmail"),
        "-C",
        str(peers.postfix.base / "etc"),
        "-i",
        "-f",
        "root@example.net",
        ANNA,
        BERT,
    ]
    subprocess.run(command, input=sent, check=True, capture_output=True, timeout=120)
    assert f"{STATUS}: not detected".encode() in peers.got(BERT, "local")
    asked = peers.judge.last
    assert asked.content == message("local")
    assert set(asked.request.recipients) == {ANNA, BERT}
