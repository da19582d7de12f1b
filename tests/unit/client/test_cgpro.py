"""The helper of CommuniGate Pro, before a scripted server: requests by pipe, queue files, files handed in."""

import os
import socket
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling
from tests.support.waiting import WAIT_S

from gatepost.client import cgpro
from gatepost.client.program import ClientProgram
from gatepost.client.settings import ClientSettings
from gatepost.config.doors import OnError
from gatepost.model.filtering import Deed, Part, Request, Ruling
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice
from gatepost.service import filter_door

MAIL = b"Subject: hello\nTo: a@example.org\n\nline one\nline two\n"
BOTH = ("a@example.org", "b@example.org")
MARKED = "X-Gatepost-Filtered"


class Peer:
    """The mail server: its base directory, and the helper it has started."""

    def __init__(self, base: Path, port: int, **settings: Any) -> None:
        self.base = base
        for name in ("Queue", "Submitted"):
            (base / name).mkdir(parents=True, exist_ok=True)
        (base / "secret").write_text("0123456789abcdef0123456789abcdef\n")
        values: dict[str, Any] = {
            "client_connect_to": (f"tcp:127.0.0.1:{port}",),
            "submitted_dir": str(base / "Submitted"),
            "loop_key": str(base / "secret"),
            "client_connect_timeout": WAIT_S,  # a machine that stands still is not what is tested
            **settings,
        }
        self.program = ClientProgram("cgpro", Path("none"), ClientSettings(**values), to_stderr=True)
        self._numbers = iter(range(1, 10_000))
        self._early: dict[str, str] = {}

    def __enter__(self) -> Self:
        requests_out, requests_in = os.pipe()
        answers_out, answers_in = os.pipe()
        self._child = os.fork()
        if not self._child:
            code = 99
            try:
                os.dup2(requests_out, 0)
                os.dup2(answers_in, 1)
                os.closerange(3, 256)
                os.chdir(self.base)
                tempfile.tempdir = self.program.settings.client_temp_dir or None
                code = cgpro.run(self.program, ())
            except Exception:  # noqa: BLE001 - the child has nobody else to tell
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(requests_out)
        os.close(answers_in)
        self._requests = os.fdopen(requests_in, "w")
        self._answers = os.fdopen(answers_out)
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._requests.close()
        with self._answers:
            left = self._answers.read()
        self.code = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        if failure is None:  # else that is what is told
            assert left == ""
            assert self.code == 0

    def ask(self, words: str) -> str:
        """Ask without waiting; return the number of the request."""
        number = f"{next(self._numbers):05}"
        self._requests.write(f"{number} {words}\n")
        self._requests.flush()
        return number

    def answer(self, number: str) -> str:
        """Return the answer to a request, whichever come before it."""
        while number not in self._early:
            line = self._answers.readline()
            assert line, "the helper has gone"
            if not line.startswith("*"):
                key, _, rest = line.rstrip("\n").partition(" ")
                self._early[key] = rest
        return self._early.pop(number)

    def say(self, words: str) -> str:
        return self.answer(self.ask(words))

    def queue(
        self, message: bytes = MAIL, recipients: tuple[str, ...] = BOTH, source: bytes = b"S SMTP [192.0.2.7]",
        sender: bytes = b"s@example.net",
    ) -> str:  # fmt: skip
        """Put a message in the queue; return the path as it is told to helpers."""
        lines = [b"P I 22-10-2001_20:40:02 0000 ____ ____ <%b>" % sender, b"O T", source]
        lines += [b"R W 22-10-2001_20:40:02 0000 ____ _FY_ <%b>" % each.encode() for each in recipients]
        path = f"Queue/{next(self._numbers)}-1.msg"
        (self.base / path).write_bytes(b"\n".join([*lines, b"", b""]) + message)
        return path

    def submitted(self) -> list[tuple[tuple[str, ...], bytes]]:
        """Take what was handed in, as the server does: recipients, and the message with a field of its own."""
        taken = []
        for path in sorted((self.base / "Submitted").iterdir()):
            assert path.suffix == ".sub"
            assert path.stat().st_mode & 0o077 == 0
            head, _, body = path.read_bytes().partition(b"\n\n")
            path.unlink()
            lines = head.split(b"\n")
            to = [line for line in lines if line.startswith(b"Envelope-To: ")]
            rest = [line for line in lines if not line.startswith((b"Envelope-To: ", b"Return-Path: "))]
            assert lines[0] == b"Return-Path: <s@example.net>"
            recipients = tuple(line[14:-1].decode() for line in to)
            taken.append((recipients, b"\n".join([b"Received: by PIPE", *rest]) + b"\n\n" + body))
        return taken


@pytest.fixture(scope="module")
def server() -> Iterator[ListeningDoor]:
    with ListeningDoor(filter_door.make, ScriptedJudge()) as door:
        yield door


def test_lines_of_the_protocol(tmp_path: Path) -> None:
    with Peer(tmp_path, free_port()) as peer:
        assert peer.say("INTF 3") == "INTF 3"
        assert peer.say("NOOP") == "OK"
        assert peer.say("DANCE") == "FAILURE"
        assert peer.say("QUIT") == "OK"


@pytest.mark.feature("F-CLI-07")
@pytest.mark.parametrize("content", [None, b"", b"no envelope\n", b"P I <s@example.net>\nO T\n\n" + MAIL])
def test_what_cannot_be_read_is_kept_and_asked_about_again(tmp_path: Path, content: bytes | None) -> None:
    """FAILURE would let it pass: the server takes that for a filter that has nothing to say."""
    with Peer(tmp_path, free_port()) as peer:
        path = peer.queue()
        if content is None:
            (tmp_path / path).unlink()
        else:
            (tmp_path / path).write_bytes(content)
        assert peer.say(f"FILE {path}").startswith("REJECTED ")


@pytest.mark.feature("F-CLI-07")
def test_filtered_mail_is_handed_in_and_passes_the_second_time(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH, prefix=b"X-Spam: yes\r\n", splices=(Splice(9, 14, b"[spam]"),))
    server.judge.asked.clear()
    with Peer(tmp_path, server.port) as peer:
        assert peer.say(f"FILE {peer.queue()}") == "DISCARD"
        ((recipients, message),) = peer.submitted()
        assert recipients == BOTH
        _, mark, rest = message.split(b"\n", 2)
        assert mark.startswith(f"{MARKED}: 1-".encode())
        assert rest == b"X-Spam: yes\n" + MAIL.replace(b"hello", b"[spam]")
        assert peer.say(f"FILE {peer.queue(message)}") == "OK"
    (asked,) = server.judge.asked
    assert asked.content == MAIL.replace(b"\n", b"\r\n")
    request = asked.request
    assert (request.sender, request.recipients, request.accepted) == ("s@example.net", BOTH, True)
    assert request.client.ip == "192.0.2.7"


@pytest.mark.feature("F-CLI-07")
def test_a_body_that_was_changed_passes_the_second_time_too(tmp_path: Path, server: ListeningDoor) -> None:
    at = MAIL.replace(b"\n", b"\r\n").index(b"line two")
    server.judge.answer = ruling(recipients=BOTH, splices=(Splice(at, at + 8, b"gone\r\nfor good"),))
    with Peer(tmp_path, server.port) as peer:
        assert peer.say(f"FILE {peer.queue()}") == "DISCARD"
        ((_, message),) = peer.submitted()
        assert message.endswith(b"\n\nline one\ngone\nfor good\n")
        assert peer.say(f"FILE {peer.queue(message)}") == "OK"


def test_a_mark_is_of_no_use_for_other_mail(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH, prefix=b"X-Spam: yes\r\n")
    with Peer(tmp_path, server.port) as peer:
        peer.say(f"FILE {peer.queue()}")
        ((_, message),) = peer.submitted()
        mark = message.split(b"\n")[1]
        for forged in (
            mark + b"\n" + MAIL + b"more\n",
            mark + b"\nContent-Type: multipart/mixed; boundary=line\n" + MAIL,  # the same body, and not what was judged
            f"{MARKED}: yes\n".encode() + MAIL,
        ):
            assert peer.say(f"FILE {peer.queue(forged)}") == "DISCARD"
            assert len(peer.submitted()) == 1


def test_a_server_that_changes_bodies_is_found_out(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH, prefix=b"X-Spam: yes\r\n")
    message = MAIL
    with Peer(tmp_path, server.port) as peer:
        for _round in range(3):
            assert peer.say(f"FILE {peer.queue(message)}") == "DISCARD"
            message = peer.submitted()[0][1] + b"a footer\n"
        assert peer.say(f"FILE {peer.queue(message)}").startswith('ERROR "5.4.6 ')


def test_unchanged_mail_passes_at_once(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH)
    with Peer(tmp_path, server.port) as peer:
        assert peer.say(f"FILE {peer.queue()}") == "OK"
        assert peer.submitted() == []


def test_copies_refusals_and_nothing_at_all(tmp_path: Path, server: ListeningDoor) -> None:
    no = reply(550, "5.7.1", 'No "thanks"')
    answers = {
        "two": ruling(Part(recipients=(BOTH[0],), prefix=b"X: a\r\n"), Part(recipients=(BOTH[1],), copies=("c@example.org",))),
        "refused": ruling(recipients=BOTH, deed=Deed.REJECT, reply=no),
        "discarded": ruling(recipients=BOTH, deed=Deed.DISCARD),
        "one": ruling(Part(recipients=(BOTH[0],), deed=Deed.REJECT, reply=no), Part(recipients=(BOTH[1],))),
    }  # fmt: skip

    def answer(request: Request, content: bytes) -> Ruling:
        return answers[request.sender.partition("@")[0]]

    server.judge.answer = answer
    with Peer(tmp_path, server.port) as peer:
        assert peer.say(f"FILE {peer.queue(sender=b'refused@x')}") == 'ERROR "5.7.1 No \\"thanks\\""'
        assert peer.say(f"FILE {peer.queue(sender=b'discarded@x')}") == "DISCARD"
        assert peer.submitted() == []
        path = peer.queue(sender=b"two@x")
        assert peer.say(f"FILE {path}") == "DISCARD"
        files = sorted((peer.base / "Submitted").iterdir())
        assert [b"<a@example.org>" in each.read_bytes() for each in files] == [True, False]
        assert b"Envelope-To: <b@example.org>\nEnvelope-To: <c@example.org>\n" in files[1].read_bytes()
        assert peer.say(f"FILE {path}") == "DISCARD"  # asked again, it is not doubled
        assert sorted((peer.base / "Submitted").iterdir()) == files
        for file in files:
            file.unlink()
        assert peer.say(f"FILE {peer.queue(sender=b'one@x')}") == "DISCARD"
        (only,) = (peer.base / "Submitted").iterdir()
        assert b"Envelope-To: <b@example.org>\nX-" in only.read_bytes()


def test_fields_of_a_message_cannot_add_recipients(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH, prefix=b"X: 1\r\n")
    with Peer(tmp_path, server.port) as peer:
        peer.say(f"FILE {peer.queue(b'Envelope-To: <victim@example.com>' + bytes((10,)) + MAIL)}")
        ((recipients, message),) = peer.submitted()
    assert recipients == BOTH
    assert b"victim" not in message


def test_other_transports(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH, prefix=b"X: 1\r\n")
    for settings, expected in (({}, "OK"), ({"all_transports": True}, "DISCARD")):
        with Peer(tmp_path, server.port, **settings) as peer:
            assert peer.say(f"FILE {peer.queue(source=b'S <ann@example.org> HTTP [192.0.2.7]')}") == expected
            assert peer.say(f"FILE {peer.queue(source=b'X nothing is said')}") == "DISCARD"
            peer.submitted()


def test_many_at_once_in_any_order(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = lambda request, _: ruling(recipients=request.recipients, prefix=b"X: 1\r\n")
    with Peer(tmp_path, server.port) as peer:
        numbers = [peer.ask(f"FILE {peer.queue()}") for _ in range(40)]
        end = peer.ask("QUIT")
        assert {peer.answer(number) for number in reversed(numbers)} == {"DISCARD"}
        assert peer.answer(end) == "OK"
        assert len(peer.submitted()) == 40


@pytest.mark.feature("F-CLI-08")
@pytest.mark.parametrize(
    ("on_error", "answer"), [(OnError.ACCEPT, "OK"), (OnError.TEMPFAIL, "REJECTED"), (OnError.REJECT, "ERROR")]
)
def test_the_server_is_down(tmp_path: Path, on_error: OnError, answer: str) -> None:
    with Peer(tmp_path, free_port(), client_on_error=on_error) as peer:
        assert peer.say(f"FILE {peer.queue()}").split(" ")[0] == answer
        assert peer.submitted() == []


@pytest.mark.feature("F-CLI-09")
def test_large_mail_passes_untouched_and_bare_names_are_completed(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.asked.clear()
    server.judge.answer = ruling(recipients=("a@example.com",), prefix=b"X: 1\r\n")
    settings = {"client_filtering_size_limit": 1024, "client_default_domain": "example.com"}
    with Peer(tmp_path, server.port, **settings) as peer:
        assert peer.say(f"FILE {peer.queue(MAIL + b'x' * 1024, ('a',))}") == "OK"
        assert server.judge.asked == []
        assert peer.say(f"FILE {peer.queue(MAIL, ('a',))}") == "DISCARD"
        assert [to for to, _ in peer.submitted()] == [("a",)]
    assert server.judge.last.request.recipients == ("a@example.com",)


@pytest.mark.feature("F-CLI-10")
def test_a_server_that_stalls_and_files_above_the_memory_limit(tmp_path: Path, server: ListeningDoor) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Peer(tmp_path, silent.getsockname()[1], client_connect_timeout=0.1) as peer,
    ):
        assert peer.say(f"FILE {peer.queue()}").startswith("REJECTED ")
    seen: list[int] = []
    directory = tmp_path / "temporary"
    directory.mkdir()

    def answer(request: Request, content: bytes) -> Ruling:
        seen.extend(path.stat().st_size for path in directory.iterdir())
        return ruling(recipients=BOTH, prefix=b"X: 1\r\n")

    server.judge.answer = answer
    large = MAIL + b"0123456789\n" * 20_000
    settings = {"client_message_store_mem": 1024, "client_temp_dir": str(directory)}
    with Peer(tmp_path, server.port, **settings) as peer:
        assert peer.say(f"FILE {peer.queue(large)}") == "DISCARD"
        ((_, message),) = peer.submitted()
    assert seen == [len(large) + large.count(b"\n")]
    assert message.endswith(b"\nX: 1\n" + large)
    assert list(directory.iterdir()) == []


def test_no_place_to_hand_it_in(tmp_path: Path, server: ListeningDoor) -> None:
    server.judge.answer = ruling(recipients=BOTH, prefix=b"X: 1\r\n")
    with Peer(tmp_path, server.port, submitted_dir=str(tmp_path / "none")) as peer:
        assert peer.say(f"FILE {peer.queue()}").startswith("REJECTED ")


def test_a_secret_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short\n")
    program = ClientProgram("cgpro", Path("none"), ClientSettings(loop_key=str(tmp_path / "key")), to_stderr=True)
    assert cgpro.run(program, ()) == cgpro.EXIT_CANNOT
