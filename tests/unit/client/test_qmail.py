"""The program in place of qmail-queue: a message and its envelope in, exit codes and runs of the original out."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling

from gatepost.client import qmail
from gatepost.client.program import ClientProgram
from gatepost.client.qmail import Exit, build_envelope, parse_envelope
from gatepost.client.settings import ClientSettings
from gatepost.config.doors import OnError
from gatepost.model.filtering import Deed, Part
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice
from gatepost.service import filter_door
from gatepost.service.judge import Unjudged

MAIL = b"Subject: hello\nTo: a@example.org\n\nline one\n.\nline two\n"
QUEUE = """#!/bin/sh
n=$(ls "{place}" | grep -c envelope)
cat > "{place}/$n.message"
cat <&1 > "{place}/$n.envelope"
exit $(cat "{place}/code.$n" 2>/dev/null || echo 0)
"""


class Queue:
    """A stand-in for the original program: keeps what it gets."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place
        self.path = place / "qmail-queue.orig"
        self.path.write_text(QUEUE.format(place=place))
        self.path.chmod(0o755)

    def answers(self, *codes: int) -> None:
        for number, code in enumerate(codes):
            (self.place / f"code.{number}").write_text(str(code))

    @property
    def got(self) -> list[tuple[bytes, bytes]]:
        return [(path.with_suffix(".message").read_bytes(), path.read_bytes())
                for path in sorted(self.place.glob("*.envelope"))]  # fmt: skip


class Said(NamedTuple):
    code: int
    told: bytes = b""
    """On descriptor 6."""


@pytest.fixture(scope="module")
def server() -> Iterator[ListeningDoor]:
    with ListeningDoor(filter_door.make, ScriptedJudge()) as door:
        yield door


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "queue")


def queue_mail(
    queue: Queue, port: int, envelope: bytes, message: bytes = MAIL, *, told: bool = False, **settings: Any
) -> Said:
    """Run the program in a process of its own, as qmail's programs do."""
    values = {"client_connect_to": (f"tcp:127.0.0.1:{port}",), "q_mail_original_queue": str(queue.path), **settings}
    program = ClientProgram("qmail", Path("none"), ClientSettings(**values), to_stderr=True)
    message_out, message_in = os.pipe()
    envelope_out, envelope_in = os.pipe()
    told_out, told_in = os.pipe()
    child = os.fork()
    if not child:
        code = 99
        with contextlib.suppress(BaseException):
            os.dup2(message_out, 0)
            os.dup2(envelope_out, 1)
            os.dup2(told_in, 6)
            os.closerange(6 + told, 256)
            tempfile.tempdir = program.settings.client_temp_dir or None  # as `run_program` does
            code = qmail.run(program, ())
        os._exit(code)
    for descriptor in (message_out, envelope_out, told_in):
        os.close(descriptor)
    with contextlib.suppress(BrokenPipeError), os.fdopen(message_in, "wb") as file:
        file.write(message)
    with contextlib.suppress(BrokenPipeError), os.fdopen(envelope_in, "wb") as file:
        file.write(envelope)
    with os.fdopen(told_out, "rb") as file:
        words = file.read()
    return Said(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words)


ENVELOPE = b"Fs@example.net\0Ta@example.org\0Tb@example.org\0\0"
BOTH = ("a@example.org", "b@example.org")


# --- what it does by the ruling


def test_mail_goes_on_byte_for_byte(queue: Queue, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH)
    assert queue_mail(queue, server.port, ENVELOPE) == Said(Exit.DONE)
    assert queue.got == [(MAIL, ENVELOPE)]
    asked = server.judge.last
    assert asked.content == MAIL.replace(b"\n", b"\r\n")
    assert (asked.request.sender, asked.request.recipients, asked.request.divided) == ("s@example.net", BOTH, True)


@pytest.mark.feature("F-CLI-06")
def test_mail_is_marked_with_the_line_ends_it_has(queue: Queue, server: ListeningDoor) -> None:
    body = MAIL.replace(b"\n", b"\r\n").index(b"line two")
    server.judge.answer = ruling(
        recipients=BOTH, prefix=b"X-Spam: yes\r\n", splices=(Splice(9, 9, b"[spam] "), Splice(body, body + 8, b"gone"))
    )
    assert queue_mail(queue, server.port, ENVELOPE).code == Exit.DONE
    expected = b"X-Spam: yes\n" + MAIL.replace(b"hello", b"[spam] hello").replace(b"line two", b"gone")
    assert queue.got == [(expected, ENVELOPE)]


def test_differing_parts_are_queued_one_by_one(queue: Queue, server: ListeningDoor) -> None:
    parts = (
        Part(recipients=(BOTH[0],), prefix=b"X: a\r\n"),
        Part(recipients=(BOTH[1],), prefix=b"X: b\r\n", copies=("c@example.org",)),
    )
    server.judge.answer = ruling(*parts)
    assert queue_mail(queue, server.port, ENVELOPE).code == Exit.DONE
    assert queue.got == [
        (b"X: a\n" + MAIL, b"Fs@example.net\0Ta@example.org\0\0"),
        (b"X: b\n" + MAIL, b"Fs@example.net\0Tb@example.org\0Tc@example.org\0\0"),
    ]


def test_a_copy_that_is_not_queued_fails_the_message(queue: Queue, server: ListeningDoor) -> None:
    server.judge.answer = ruling(Part(recipients=(BOTH[0],), prefix=b"X: a\r\n"), Part(recipients=(BOTH[1],)))
    queue.answers(0, 53)
    assert queue_mail(queue, server.port, ENVELOPE).code == 53
    assert len(queue.got) == 2


def test_rejected_and_discarded(queue: Queue, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH, deed=Deed.REJECT, reply=reply(550, "5.7.1", "No thanks"))
    assert queue_mail(queue, server.port, ENVELOPE) == Said(Exit.REFUSED)
    assert queue_mail(queue, server.port, ENVELOPE, told=True) == Said(Exit.TOLD, b"DNo thanks (#5.7.1)")
    server.judge.answer = ruling(recipients=BOTH, deed=Deed.DISCARD)
    assert queue_mail(queue, server.port, ENVELOPE) == Said(Exit.DONE)
    assert queue.got == []


def test_one_refuses_beside_another_who_takes_it(queue: Queue, server: ListeningDoor) -> None:
    server.judge.answer = ruling(
        Part(recipients=(BOTH[0],), deed=Deed.REJECT, reply=reply(550, "5.7.1", "No")), Part(recipients=(BOTH[1],))
    )
    assert queue_mail(queue, server.port, ENVELOPE).code == Exit.DONE
    assert queue.got == [(MAIL, b"Fs@example.net\0Tb@example.org\0\0")]


def test_the_sender_of_bounces_and_lists(queue: Queue, server: ListeningDoor) -> None:
    for raw, told in ((b"", ""), (b"#@[]", ""), (b"list-@example.net-@[]", "list-@example.net")):
        server.judge.answer = ruling(recipients=("a@example.org",))
        envelope = b"F%b\0Ta@example.org\0\0" % raw
        assert queue_mail(queue, server.port, envelope).code == Exit.DONE
        assert server.judge.last.request.sender == told
        assert queue.got[-1][1] == envelope


def test_the_word_of_tcpserver(queue: Queue, server: ListeningDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    server.judge.answer = ruling(recipients=BOTH)
    for value, ip in (("192.0.2.4", "192.0.2.4"), ("unknown", "")):
        monkeypatch.setenv("TCPREMOTEIP", value)
        queue_mail(queue, server.port, ENVELOPE)
        assert server.judge.last.request.client.ip == ip


# --- what it does without one


@pytest.mark.feature("F-CLI-08")
@pytest.mark.parametrize(
    ("on_error", "code", "queued"),
    [(OnError.ACCEPT, Exit.DONE, 1), (OnError.TEMPFAIL, Exit.LATER, 0), (OnError.REJECT, Exit.REFUSED, 0)],
)
def test_the_server_is_down(queue: Queue, on_error: OnError, code: int, queued: int) -> None:
    assert queue_mail(queue, free_port(), ENVELOPE, client_on_error=on_error).code == code
    assert queue.got == [(MAIL, ENVELOPE)] * queued


def test_the_server_cannot_judge(queue: Queue, server: ListeningDoor) -> None:
    server.judge.answer = Unjudged("no filter")
    assert queue_mail(queue, server.port, ENVELOPE, told=True) == Said(
        Exit.TOLD, b"ZThe message cannot be checked now; try again later (#4.7.1)"
    )
    server.judge.answer = ruling(recipients=("somebody@else",))
    assert queue_mail(queue, server.port, ENVELOPE).code == Exit.LATER
    assert queue.got == []


@pytest.mark.feature("F-CLI-10")
def test_a_server_that_stalls(queue: Queue) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        code = queue_mail(queue, port, ENVELOPE, client_connect_timeout=0.1, client_on_error=OnError.ACCEPT).code
    assert code == Exit.DONE
    assert queue.got == [(MAIL, ENVELOPE)]


@pytest.mark.feature("F-CLI-09")
def test_large_mail_passes_untouched_and_bare_names_are_completed(queue: Queue, server: ListeningDoor) -> None:
    server.judge.asked.clear()
    server.judge.answer = ruling(recipients=("a@example.com",), prefix=b"X: 1\r\n")
    envelope = b"Fs@example.net\0Ta\0\0"
    settings: dict[str, Any] = {"client_filtering_size_limit": 1024, "client_default_domain": "example.com"}
    large = MAIL + b"x" * 1024
    assert queue_mail(queue, server.port, envelope, large, **settings).code == Exit.DONE
    assert server.judge.asked == []
    assert queue_mail(queue, server.port, envelope, **settings).code == Exit.DONE
    assert server.judge.last.request.recipients == ("a@example.com",)
    assert queue.got == [(large, envelope), (b"X: 1\n" + MAIL, envelope)]


@pytest.mark.feature("F-CLI-10")
def test_above_the_memory_limit_it_waits_in_a_file(queue: Queue, server: ListeningDoor, tmp_path: Path) -> None:
    directory = tmp_path / "temporary"
    directory.mkdir()
    seen: list[int] = []
    large = MAIL + b"0123456789\n" * 500_000

    def answer(*_: object) -> object:
        seen.extend(path.stat().st_size for path in directory.iterdir())
        return ruling(recipients=BOTH, prefix=b"X: 1\r\n")

    server.judge.answer = answer  # type: ignore[assignment]
    settings: dict[str, Any] = {
        "client_message_store_mem": 50 * 1024, "client_filtering_size_limit": 0, "client_temp_dir": str(directory),
    }  # fmt: skip
    assert queue_mail(queue, server.port, ENVELOPE, large, **settings).code == Exit.DONE
    assert sorted(seen) == [len(large), len(large) + large.count(b"\n")]
    assert list(directory.iterdir()) == []
    assert queue.got == [(b"X: 1\n" + large, ENVELOPE)]


# --- what is no message


@pytest.mark.parametrize("envelope", [b"", b"F\0", b"Fa\0Tb\0", b"Fa\0\0", b"Ta\0Fb\0\0", b"Fa\0Tb\0X\0\0"])
def test_envelopes_that_are_none(queue: Queue, server: ListeningDoor, envelope: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        parse_envelope(envelope)
    if envelope in (b"", b"Fa\0\0"):
        assert queue_mail(queue, server.port, envelope).code == Exit.BAD_ENVELOPE


def test_envelopes() -> None:
    envelope = parse_envelope(ENVELOPE)
    assert build_envelope(envelope.sender, envelope.recipients) == ENVELOPE


def test_an_address_that_is_too_long(queue: Queue, server: ListeningDoor) -> None:
    envelope = b"Fa\0T" + b"x" * qmail.ADDRESS_LIMIT + b"\0\0"
    assert queue_mail(queue, server.port, envelope).code == Exit.ADDRESS_TOO_LONG


def test_an_original_that_cannot_be_run(queue: Queue, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH)
    queue.path.unlink()
    assert queue_mail(queue, server.port, ENVELOPE).code == Exit.NO_PROGRAM
    queue.path.write_text("#!/bin/sh\nkill -9 $$\n")
    queue.path.chmod(0o755)
    assert queue_mail(queue, server.port, ENVELOPE).code == Exit.BUG


def test_who_breaks_off_queues_nothing(queue: Queue, server: ListeningDoor) -> None:
    """qmail-smtpd closes both when its client goes in the middle: the envelope does not end."""
    assert queue_mail(queue, server.port, b"Fs@example.net\0Ta@example.org\0").code == Exit.BAD_ENVELOPE
    assert queue.got == []
