"""A real Exim hands its mail to the pipe client, by a pipe transport and over SMTP, and gets it back for delivery."""

import contextlib
import re
import smtplib
import sys
from collections.abc import Iterator

import pytest
from tests.peers.client_program import client_program
from tests.peers.conftest import root_program
from tests.peers.exim_program import Exim
from tests.support.certificates import shared_authority
from tests.support.mails import plain
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling
from tests.support.waiting import wait_for

from gatepost.client.setup.exim import GIVEN_BACK, plan_exim
from gatepost.client.setup.journal import apply_plan
from gatepost.client.setup.values import Wanted
from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import Deed, Part
from gatepost.model.reply import reply
from gatepost.service import filter_door, proxy_door
from gatepost.service.judge import Unjudged

BOB, ANN, SENDER = "bob@in.example", "ann@in.example", "carol@home.example"
NO = reply(550, "5.7.1", "refused by the filter")

BY_SMTP = """\
filter_by_smtp:
  driver = manualroute
  domains = smtp.in.example
  condition = ${if !={$received_port}{BACK}}
  route_list = * 127.0.0.1::PROXY byname
  self = send
  transport = filter_by_smtp
  no_verify
"""
SMTP_TRANSPORT = """\
filter_by_smtp:
  driver = smtp
  allow_localhost
  multi_domain
  max_rcpt = 100
  message_linelength_limit = 1G
"""


def judged(request, content):
    if b"refuse me" in content:
        return ruling(Part(recipients=request.recipients, deed=Deed.REJECT, reply=NO))
    held = tuple(
        Part(
            recipients=(each,),
            prefix=b"X-SpamTest-Group-ID: %s\r\nX-SpamTest-Status: clean\r\n" % each.partition("@")[0].encode(),
        )
        for each in request.recipients
    )
    whole = Part(recipients=request.recipients, prefix=b"".join(part.prefix for part in held))
    return ruling(whole).__class__(parts=held, whole=whole, queue_id="1")


class Site:
    def __init__(self) -> None:
        self.judge = ScriptedJudge(judged)
        self.server = ListeningDoor(filter_door.make, self.judge, Door(name="filter"))
        self.exim = exim = Exim(root_program("exim4"), "mail.in.example", shared_authority().issue("mail.in.example"))
        back = exim.back
        proxy = Door(name="proxy", kind=DoorKind.PROXY, next_hop=f"tcp:127.0.0.1:{back}", before_queue=False)
        self.proxy = ListeningDoor(proxy_door.make, self.judge, proxy)
        exim.routers = BY_SMTP.replace("BACK", str(back)).replace("PROXY", str(self.proxy.port))
        exim.transports = SMTP_TRANSPORT
        exim.adapt = self.set_up

    def set_up(self) -> None:
        """Do what `gatepost client setup exim --mode pipe` does; then say where the programs of a test are."""
        base = self.exim.base
        settings, configuration = base / "client.toml", base / "exim.conf"
        wanted = Wanted(config=base, mode="pipe", servers=(f"tcp:127.0.0.1:{self.server.port}",), settings=settings)
        apply_plan(plan_exim(wanted), base / "state", 0)
        told, given = settings.read_text(), f"{base}/exim -C {configuration} {GIVEN_BACK}"
        settings.write_text(re.sub(r"(?m)^(pipe_outgoing_addr =) .*$", rf'\1 "{given}"', told))
        text = configuration.read_text().replace(f"{sys.executable} -I -m gatepost.client", client_program())
        # Mail of the other domain goes over SMTP.
        configuration.write_text(text.replace("  driver = accept\n", "  driver = accept\n  domains = in.example\n", 1))

    def submit(self, subject: str, *recipients: str, text: bytes = b"") -> None:
        with smtplib.SMTP("127.0.0.1", self.exim.plain, "far.example", timeout=120) as client:
            client.sendmail(SENDER, recipients, plain(subject) + text)

    def arrived(self, subject: str) -> list[bytes]:
        return [mail for mail in self.exim.mails() if f"\nSubject: {subject}\n".encode() in mail]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    with contextlib.ExitStack() as stack:
        for each in (made.server, made.proxy, made.exim):
            stack.enter_context(each)
        yield made


@pytest.mark.feature("F-CLI-05")
@pytest.mark.feature("F-CLI-04")
def test_by_pipe_one_copy_has_the_status_of_every_group(site: Site) -> None:
    site.submit("one copy", BOB, ANN)
    mail = site.exim.arrived("one copy")
    assert mail.count(b"\nX-SpamTest-Status: clean\n") == 2
    assert b"\nX-SpamTest-Group-ID: bob\n" in mail
    assert b"\nX-SpamTest-Group-ID: ann\n" in mail
    assert b"\nEnvelope-to: " in mail
    request = site.judge.last.request
    assert set(request.recipients) == {BOB, ANN}
    assert (request.sender, request.client.ip, request.divided) == (SENDER, "127.0.0.1", False)
    wait_for(lambda: "Completed" in site.exim.log(), "Exim to be done")
    assert len(site.judge.asked) == 1, "what was filtered is not filtered again"
    assert len(site.arrived("one copy")) == 1


def test_what_the_filter_refuses_is_a_bounce_with_its_words(site: Site) -> None:
    site.submit("refused", BOB, text=b"refuse me\r\n")
    wait_for(lambda: "refused by the filter" in site.exim.log(), "the refusal in Exim's log")
    bounce = site.exim.arrived("Mail delivery failed: returning message to sender")
    assert bounce.startswith(b"Return-path: <>\n")
    assert b"\n5.7.1 refused by the filter\n" in bounce
    assert site.arrived("refused") == [bounce], "it has the message within, and nobody else has"


def test_what_cannot_be_judged_waits_in_exims_queue_and_comes_when_it_can(site: Site) -> None:
    site.judge.answer = Unjudged("no filter")
    site.submit("waits", BOB)
    wait_for(lambda: "== bob@in.example" in site.exim.log(), "Exim to wait")
    # The first line of what the client says; without syslog its own log is in front.
    said = r"<bob@in\.example>: gatepost_filter transport output: (?:4\.7\.1 The message cannot be checked|.*no filter)"
    wait_for(lambda: re.search(said, site.exim.log()), "the reason in Exim's log")
    site.judge.answer = judged
    site.exim.arrived("waits")
    assert len(site.arrived("waits")) == 1


def test_over_smtp_and_back_each_recipient_has_a_copy(site: Site) -> None:
    site.judge.answer = judged
    long = b"x" * 2000
    site.submit("over smtp", "bob@smtp.in.example", "ann@smtp.in.example", text=long + b"\r\n")
    copies = wait_for(lambda: len(found := site.arrived("over smtp")) == 2 and found, "two copies")
    assert [mail.count(b"\nX-SpamTest-Status: clean\n") for mail in copies] == [1, 1]
    assert all(long in mail for mail in copies), "what Exim takes comes through"
    assert site.judge.last.request.divided
