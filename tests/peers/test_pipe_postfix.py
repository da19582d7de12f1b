"""A real Postfix with the proxy door and the pipe client: behind its queue, in front of it, as a transport; and trouble."""

import contextlib
import itertools
import smtplib
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.peers.client_program import client_program
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling
from tests.support.waiting import wait_for

from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import Deed, Part
from gatepost.model.reply import reply
from gatepost.service import filter_door, proxy_door
from gatepost.service.judge import Unjudged

BOB, ANN, SENDER = "bob@in.example", "ann@in.example", "carol@in.example"
NO = reply(550, "5.7.1", "refused by the filter")
REFUSED_WORDS = b"refuse me"
TAKES_XFORWARD = {
    "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
    "receive_override_options": "no_unknown_recipient_checks",
}
FROM_FAR = "127.0.0.7"


def judged(request, content):
    """Refuse what asks for it; bob's copy has one mark, everybody else's another."""
    if REFUSED_WORDS in content:
        return ruling(Part(recipients=request.recipients, deed=Deed.REJECT, reply=NO))
    parts = [
        Part(
            recipients=tuple(each for each in request.recipients if (each == BOB) is bob),
            prefix=b"X-Group: %s\r\n" % mark,
        )
        for bob, mark in ((True, b"bob"), (False, b"others"))
    ]
    held = [part for part in parts if part.recipients]
    whole = Part(recipients=request.recipients, prefix=b"".join(part.prefix for part in held))
    return ruling(whole).__class__(parts=tuple(held), whole=whole, queue_id="1")


class Site:
    """One Postfix: its listeners by name, and the doors its mail passes."""

    def __init__(self) -> None:
        program = root_program("postfix")
        self.judge = ScriptedJudge(judged)
        self.postfix = postfix = Postfix(program, "mail.in.example")
        postfix.mailboxes(BOB, ANN, SENDER)
        postfix.settings["maximal_backoff_time"] = postfix.settings["minimal_backoff_time"] = "1s"
        last = {**TAKES_XFORWARD, "content_filter": ""}
        self.again = again = f"tcp:127.0.0.1:{postfix.listener(last)}"
        self.troubled_port = free_port()
        self.after = ListeningDoor(proxy_door.make, self.judge, _door(again, before_queue=False))
        self.before = ListeningDoor(proxy_door.make, self.judge, _door(again))
        self.server = ListeningDoor(filter_door.make, self.judge, Door(name="filter"))
        settings = postfix.base / "client.toml"
        settings.write_text(f"client_connect_to = 'tcp:127.0.0.1:{self.server.port}'\npipe_outgoing_addr = '{again}'\n")
        postfix._services += (
            f"filter unix - - n - {AT_ONCE} smtp\n  -o smtp_send_xforward_command=yes -o disable_mime_output_conversion=yes\n"
            "gatepost unix - n n - 2 pipe flags=Rq user=nobody null_sender=\n"
            f"  argv={client_program()} pipe -c {settings} --stderr --message -f ${{sender}}"
            " --client-ip ${client_address} --queue-id ${queue_id} -- ${recipient}\n"
        )
        self.ports = {
            "content_filter": postfix.listener(
                {"content_filter": f"filter:[127.0.0.1]:{self.after.port}"}, host="127.0.0.1"
            ),
            "troubled": postfix.listener({"content_filter": f"filter:[127.0.0.1]:{self.troubled_port}"}),
            "proxy_filter": postfix.listener(
                {"smtpd_proxy_filter": f"127.0.0.1:{self.before.port}", "smtpd_proxy_timeout": "20s"}
            ),
            "pipe": postfix.listener({"content_filter": "gatepost:dummy"}),
        }

    def submit(self, way: str, subject: str, *recipients: str, text: bytes = b"") -> dict[str, tuple[int, bytes]]:
        with smtplib.SMTP(
            "127.0.0.1", self.ports[way], "far.example", timeout=60, source_address=(FROM_FAR, 0)
        ) as client:
            return client.sendmail(SENDER, recipients or [BOB], plain(subject) + text)


def _door(next_hop: str, **more: object) -> Door:
    return Door(name="proxy", kind=DoorKind.PROXY, next_hop=next_hop, next_hop_timeout=20.0, deadline=20.0, **more)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    with made.after, made.before, made.server, made.postfix:
        yield made


@pytest.fixture(autouse=True)
def as_usual(site: Site) -> None:
    site.judge.answer = judged
    site.judge.asked.clear()


@pytest.mark.parametrize("way", ["content_filter", "proxy_filter"])
def test_mail_passes_by_smtp_with_a_copy_for_each_verdict(site: Site, way: str) -> None:
    subject = f"both by {way}"
    site.submit(way, subject, BOB, ANN)
    assert b"\nX-Group: bob\n" in site.postfix.arrived(BOB, subject)
    assert b"\nX-Group: others\n" in site.postfix.arrived(ANN, subject)
    request = site.judge.last.request
    assert (request.client.ip, request.client.helo) == (FROM_FAR, "far.example"), "by XFORWARD"
    assert request.accepted is (way == "content_filter")
    if way == "content_filter":
        wait_for(lambda: site.postfix.lines(request.queue_id, "client="), "the queue id, which is Postfix's own")


def test_the_pipe_transport_runs_the_client_for_each_message(site: Site) -> None:
    site.submit("pipe", "by pipe", BOB)
    assert b"\nX-Group: bob\n" in site.postfix.arrived(BOB, "by pipe")
    request = site.judge.last.request
    assert (request.sender, request.recipients, request.client.ip) == (SENDER, (BOB,), FROM_FAR)


@pytest.mark.feature("F-CLI-03")
def test_in_front_of_the_queue_a_rejection_is_heard_in_the_session(site: Site) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refused:
        site.submit("proxy_filter", "refused at once", text=REFUSED_WORDS)
    assert (refused.value.smtp_code, refused.value.smtp_error) == (550, b"5.7.1 refused by the filter")
    site.submit("proxy_filter", "after it")
    site.postfix.arrived(BOB, "after it")


@pytest.mark.parametrize("way", ["content_filter", "pipe"])
def test_behind_the_queue_a_rejection_becomes_a_bounce(site: Site, way: str) -> None:
    subject = f"bounced by {way}"
    site.submit(way, subject, text=REFUSED_WORDS)

    def bounce() -> bytes | None:
        found = [mail for mail in site.postfix.mails(SENDER) if f"Subject: {subject}".encode() in mail]
        return found[0] if found else None

    report = wait_for(bounce, "the bounce")
    assert b"refused by the filter" in report
    assert b"Status: 5.7.1" in report


AT_ONCE = 2
"""Sessions of Postfix with the filter: messages that a kill can cut off."""


def test_a_hundred_mails_through_a_filter_that_is_killed_restarted_slow_and_odd(site: Site) -> None:
    """The door goes away and comes back while Postfix has mail for it: none is lost. Twice comes at most what was just
    between the next hop's answer and ours when it was killed.
    """
    postfix, count, kills = site.postfix, 100, (30, 60)
    asked = itertools.count()

    def troubled(request, content):
        match next(asked) % 9:
            case 4:
                return Unjudged("the server is away")
            case 7:
                return ruling(recipients=("nobody@elsewhere.example",))  # about somebody else: garbage
        return judged(request, content)

    site.judge.answer = troubled
    with contextlib.ExitStack() as stack, smtplib.SMTP("127.0.0.1", site.ports["troubled"], timeout=120) as client:
        for number in range(count):
            client.sendmail(SENDER, [ANN], plain(f"many {number}"))
            if number in {10, 40, 70}:
                door = ListeningDoor(proxy_door.make, site.judge, _door(site.again, before_queue=False))
                door.port = site.troubled_port
                stack.enter_context(door)
            if number in kills:
                stack.close()  # whatever it is at is cut off

        def subjects() -> Counter[bytes]:
            lines = b"\n".join(postfix.mails(ANN)).split(b"\n")
            return Counter(line for line in lines if line.startswith(b"Subject: many "))

        def have_come() -> bool:
            # A mail it meets while a client still has it is "skipped", and lies for minutes unless it is told to try.
            postfix.flush()
            return len(subjects()) == count and postfix.idle()

        wait_for(have_come, "all mails, and nothing in the queue", pause_s=0.5)
    assert sum(subjects().values()) <= count + len(kills) * AT_ONCE
