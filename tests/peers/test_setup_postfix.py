"""Mail goes through a real Postfix as `gatepost client setup postfix` leaves it."""

import smtplib
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.support.mails import plain
from tests.support.milter_rulings import copy_of
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling
from tests.support.waiting import wait_for

from gatepost.client.setup import postfix as setup_postfix
from gatepost.client.setup.journal import apply_plan
from gatepost.client.setup.values import Wanted
from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import Request, Ruling
from gatepost.service import filter_door, milter_door

BOB, SENDER = "bob@in.example", "carol@far.example"
JUDGED = b"X-Judged: yes\n"


def judged(request: Request, content: bytes) -> Ruling:
    return ruling(copy_of(content, b"X-Judged: yes\r\n", recipients=request.recipients))


def filtered(postfix: Postfix, port: int, subject: str) -> bytes:
    """Send a mail; return it as it arrived."""
    with smtplib.SMTP("127.0.0.1", port, "far.example", timeout=120) as client:
        client.sendmail(SENDER, [BOB], plain(subject))
    return postfix.arrived(BOB, subject)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def postfix() -> Postfix:
    made = Postfix(root_program("postfix"), "mail.in.example")
    made.mailboxes(BOB)
    return made


def test_as_a_milter_it_asks_a_door(postfix: Postfix) -> None:
    port = postfix.listener()
    door = ListeningDoor(milter_door.make, ScriptedJudge(judged), Door(name="milter", kind=DoorKind.MILTER))

    def set_up(etc: Path) -> None:
        apply_plan(setup_postfix.plan_postfix(Wanted(config=etc, door=f"tcp:127.0.0.1:{door.port}")), etc / "state", 0)

    postfix.adapt = set_up
    with door, postfix:
        assert filtered(postfix, port, "by milter").count(JUDGED) == 1
    (asked,) = door.judge.asked
    assert (asked.request.sender, asked.request.client.ip) == (SENDER, "127.0.0.1")


def test_behind_the_queue_mail_passes_the_client_and_comes_back(
    postfix: Postfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    front, pipe = postfix.listener(), free_port()
    monkeypatch.setattr(setup_postfix, "PIPE", f"tcp:127.0.0.1:{pipe}")
    monkeypatch.setattr(setup_postfix, "BACK", f"tcp:127.0.0.1:{free_port()}")
    settings = postfix.base / "client.toml"
    door = ListeningDoor(filter_door.make, ScriptedJudge(judged), Door(name="filter"))

    def set_up(etc: Path) -> None:
        wanted = Wanted(config=etc, mode="content_filter", servers=(f"tcp:127.0.0.1:{door.port}",), settings=settings)
        apply_plan(setup_postfix.plan_postfix(wanted), etc / "state", 0)

    postfix.adapt = set_up
    with door, postfix:
        client = subprocess.Popen(
            [sys.executable, "-I", "-m", "gatepost.client", "pipe", "-c", str(settings), "--stderr"],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: listens(pipe), "the client to listen")
            assert filtered(postfix, front, "behind the queue").count(JUDGED) == 1
            wait_for(postfix.idle, "Postfix to be done")
        finally:
            client.kill()
            client.wait()
    (asked,) = door.judge.asked
    assert (asked.request.client.ip, asked.request.client.helo) == ("127.0.0.1", "far.example")
