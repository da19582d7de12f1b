"""The pipe client as mail systems start it, before a filtering server with a scripted judge and a scripted next hop."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.client import pipe_program
from gatepost.client.pipe_message import MessageOptions, parse_options
from gatepost.config.doors import Door
from gatepost.model.filtering import Deed, Part
from gatepost.model.reply import reply
from gatepost.service import filter_door

MAIL = b"From: a@example.com\nSubject: hello\n\n.dot and text\n"
WIRE_MAIL = MAIL.replace(b"\n", b"\r\n")
MARK = b"X-Spam: yes\r\n"
NO = reply(550, "5.7.1", "no spam please")
A, B = "a@x.example", "b@x.example"


def for_all(**fields):
    return lambda request, _content: ruling(Part(recipients=request.recipients, **fields))


MARKED = for_all(prefix=MARK)


@pytest.fixture(scope="module")
def server() -> Iterator[ListeningDoor]:
    with ListeningDoor(filter_door.make, ScriptedJudge(), Door(name="filter")) as door:
        yield door


@pytest.fixture
def judge(server) -> ScriptedJudge:
    server.judge.answer = MARKED
    server.judge.asked.clear()
    return server.judge


def write(directory: Path, server_port: int, outgoing: object, **more: object) -> Path:
    given = {"client_connect_to": f"tcp:127.0.0.1:{server_port}", "pipe_outgoing_addr": outgoing}
    given |= {"client_temp_dir": str(directory), **more}
    file = directory / "client.toml"
    file.write_text(
        "".join(
            f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"
            for key, value in given.items()
        )
    )
    return file


def command(file: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-m", "gatepost.client", "pipe", "-c", str(file), "--stderr", *arguments]


def message(file: Path, *arguments: str, content: bytes = MAIL) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        command(file, "--message", *arguments), input=content, capture_output=True, timeout=60, check=False
    )


def tcp(sink: Sink) -> str:
    return f"tcp:127.0.0.1:{sink.port}"


def test_a_message_by_itself_is_judged_and_goes_on(tmp_path, server, judge):
    with Sink(lmtp=True) as sink:
        file = write(tmp_path, server.port, tcp(sink), pipe_out_lmtp=True, client_default_domain="dom.example")
        told = ("-f", "s@example.com", "--client-ip", "192.0.2.9", "--helo", "far", "--queue-id", "4XyZ")
        done = message(file, *told, "--", A, "bob", content=b"From s Thu Jan 1\n" + MAIL)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        (mail,) = sink.mails
        assert (mail.sender, mail.recipients, mail.content) == (
            "s@example.com",
            [A, "bob@dom.example"],
            MARK + WIRE_MAIL,
        )
    request = judge.last.request
    assert (request.client.ip, request.client.helo) == ("192.0.2.9", "far")
    assert (request.queue_id, request.divided, request.accepted) == ("4XyZ", True, True)
    assert judge.last.content == WIRE_MAIL


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (for_all(deed=Deed.REJECT, reply=NO), os.EX_UNAVAILABLE, b"5.7.1 no spam please\n"),
        (for_all(deed=Deed.DISCARD), 0, b""),
    ],
)
def test_what_is_not_delivered_is_an_exit_status(tmp_path, server, judge, answer, status, said):
    judge.answer = answer
    with Sink() as sink:
        done = message(write(tmp_path, server.port, tcp(sink)), "-f", "<>", "--", A)
        assert (done.returncode, done.stdout) == (status, said)
        assert judge.last.request.sender == ""
        assert sink.mails == []


def test_who_has_a_message_does_not_get_it_again_from_the_next_process(tmp_path, server, judge, monkeypatch):
    full = [True]

    def script(step, argument, _sink):
        return "452 4.2.2 full" if step == "end" and argument == B and full else None

    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    judge.answer = for_all(status="not_detected")
    with Sink(lmtp=True, script=script) as sink:
        file = write(tmp_path, server.port, tcp(sink), pipe_out_lmtp=True)
        told = ("-f", "s@example.com", "--queue-id", "4XyZ", "--", A, B)
        assert message(file, *told).returncode == os.EX_TEMPFAIL
        assert sink.recipients() == {A: 1}
        assert len(list((tmp_path / "delivered").iterdir())) == 1
        full.clear()
        assert message(file, *told).returncode == 0
        assert sink.recipients() == {A: 1, B: 1}
    assert list((tmp_path / "delivered").iterdir()) == []


@pytest.mark.feature("F-CLI-08")
@pytest.mark.parametrize(
    ("on_error", "status", "passed"),
    [("accept", 0, 1), ("tempfail", os.EX_TEMPFAIL, 0), ("reject", os.EX_UNAVAILABLE, 0)],
)
def test_the_server_is_down(tmp_path, on_error, status, passed):
    with Sink() as sink:
        done = message(
            write(tmp_path, free_port(), tcp(sink), client_on_error=on_error), "-f", "s@example.com", "--", A
        )
        assert done.returncode == status
        assert [mail.content for mail in sink.mails] == [WIRE_MAIL] * passed
        assert b"not judged" in done.stderr


@pytest.mark.feature("F-CLI-10")
def test_a_stalled_server_is_given_up_and_a_large_message_waits_in_the_directory(tmp_path, server, judge):
    def answer(request, content):
        seen.append([path.stat().st_size for path in directory.iterdir()])
        return ruling(Part(recipients=request.recipients, prefix=MARK))

    seen, directory = [], tmp_path / "temp"
    directory.mkdir()
    judge.answer = answer
    large = MAIL + b"x" * 70 + b"\n" * 3000
    with Sink() as sink, Sink(script=lambda *_: "STALL") as silent:
        stores = {"client_message_store_mem": 1, "client_temp_dir": str(directory)}
        assert (
            message(
                write(tmp_path, server.port, tcp(sink), **stores), "-f", "s@example.com", "--", A, content=large
            ).returncode
            == 0
        )
        wanted = large.replace(b"\n", b"\r\n")
        assert seen == [[len(wanted)]]
        assert sink.mails[0].content == MARK + wanted
        assert list(directory.iterdir()) == []
        slow = write(tmp_path, silent.port, tcp(sink), client_connect_timeout=0.3)
        assert message(slow, "-f", "s@example.com", "--", A).returncode == os.EX_TEMPFAIL
        assert len(sink.mails) == 1


@pytest.mark.feature("F-CLI-09")
def test_a_message_above_the_limit_passes_as_it_is(tmp_path, server, judge):
    with Sink() as sink:
        file = write(
            tmp_path, server.port, tcp(sink), client_filtering_size_limit=1, client_default_domain="dom.example"
        )
        large = MAIL + b"x" * 1100 + b"\n"
        assert message(file, "-f", "root", "--", "bob", content=large).returncode == 0
        assert judge.asked == []
        assert sink.mails[0].content == large.replace(b"\n", b"\r\n")
        assert (sink.mails[0].sender, sink.mails[0].recipients) == ("root@dom.example", ["bob@dom.example"])


RECORDER = """#!/bin/sh
printf '%s\\n' "$@" >> DIR/arguments
cat > DIR/message
[ -f DIR/status ] && { echo "go away"; exit "$(cat DIR/status)"; }
exit 0
"""


@pytest.mark.parametrize(
    ("status", "exits"),
    [
        (0, 0),
        (os.EX_NOUSER, os.EX_UNAVAILABLE),
        (os.EX_TEMPFAIL, os.EX_TEMPFAIL),
        (os.EX_USAGE, os.EX_TEMPFAIL),
        (1, os.EX_TEMPFAIL),
    ],
)
def test_mail_goes_on_by_a_program(tmp_path, server, judge, status, exits):
    program = tmp_path / "sendmail"
    program.write_text(RECORDER.replace("DIR", str(tmp_path)))
    program.chmod(0o755)
    if status:
        (tmp_path / "status").write_text(str(status))
    done = message(
        write(tmp_path, server.port, f"{program} -G -i"),
        "-f",
        "",
        "--",
        "-odd@x.example",
        B,
        content=MAIL.replace(b"hello", b"h\xe4llo"),
    )
    assert done.returncode == exits
    assert (tmp_path / "arguments").read_text().split("\n")[:-1] == ["-G", "-i", "-f", "<>", "--", "-odd@x.example", B]
    assert (tmp_path / "message").read_bytes() == b"X-Spam: yes\n" + MAIL.replace(b"hello", b"h\xe4llo")
    assert (b"go away" in done.stdout) == (status != 0)


def test_pieces_for_a_program_have_its_line_ends_wherever_they_are_cut():
    data = b"a\r\nb\rc\n\r\n\r"
    for size in range(1, len(data) + 1):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(pipe_program._line_feeds(pieces)) == b"a\nb\rc\n\n\r"


@pytest.mark.feature("F-CLI-02")
def test_a_session_on_standard_input_and_output(tmp_path, server, judge):
    with Sink() as sink:
        file = write(tmp_path, server.port, tcp(sink), pipe_in_lmtp=True)
        script = b"LHLO mta\r\nMAIL FROM:<s@example.com>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\nQUIT\r\n" % (
            A.encode(),
            WIRE_MAIL.replace(b"\n.", b"\n.."),
        )
        done = subprocess.run(command(file, "--stdio"), input=script, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        codes = [line[:3] for line in done.stdout.split(b"\r\n")[:-1] if line[3:4] == b" "]
        assert codes == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
        assert sink.mails[0].content == MARK + WIRE_MAIL


def test_it_listens_and_serves_several_at_once_and_no_more_than_it_may(tmp_path, server, judge):
    port = free_port()
    with Sink() as sink:
        file = write(
            tmp_path,
            server.port,
            tcp(sink),
            pipe_listen=f"tcp:127.0.0.1:{port}",
            pipe_before_queue=True,
            pipe_use_x_forward=True,
            client_sessions=2,
        )
        with subprocess.Popen(command(file), stderr=subprocess.PIPE) as process:
            try:
                first = wait_for(lambda: _connect(port), "the client to listen")
                with first, Wire(port) as second, socket.create_connection(("127.0.0.1", port), 20) as waiting:
                    for wire in (first, second):
                        wire.expect(
                            ("", "220"),
                            ("EHLO mta", "250"),
                            ("XFORWARD ADDR=192.0.2.7", "250"),
                            ("MAIL FROM:<s@example.com>", "250"),
                        )
                        wire.expect((f"RCPT TO:<{A}>", "250"), ("DATA", "354"))
                    for wire in (second, first):
                        wire.send(WIRE_MAIL + b".\r\n")
                        assert wire.reply().startswith("250")
                    assert judge.last.request.client.ip == "192.0.2.7"
                    assert judge.last.request.accepted is False
                    judge.answer = for_all(deed=Deed.REJECT, reply=NO)
                    first.expect(("MAIL FROM:<s@example.com>", "250"), (f"RCPT TO:<{A}>", "250"), ("DATA", "354"))
                    first.send(WIRE_MAIL + b".\r\n")
                    assert first.reply() == "550 5.7.1 no spam please"
                    assert not select.select([waiting], [], [], 0)[0], "it is not greeted while two are served"
                    first.close()
                    assert waiting.recv(3) == b"220"
            finally:
                process.terminate()
            assert process.wait(20) == 0
        assert sink.recipients() == {A: 2}


def _connect(port: int) -> Wire | None:
    try:
        return Wire(port)
    except OSError:
        return None


def test_what_the_environment_tells_is_taken_when_asked_for():
    environment = {"SENDER": "s@example.com", "MESSAGE_ID": "1xV", "CLIENT_ADDRESS": "192.0.2.9"}
    told = parse_options(["--environment", "--helo", "far", "--", A], environment)
    assert (told.sender, told.queue_id, told.client_ip, told.helo) == ("s@example.com", "1xV", "192.0.2.9", "far")
    assert parse_options(["-f", "<>", "--", A, A], environment) == MessageOptions((A,))


@pytest.mark.parametrize("wrong", [["-x", "a"], ["-f"], ["-f", "s@example.com", "--"], []])
def test_wrong_options_are_said_and_bounce_nothing(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"option|behind"):
        parse_options(wrong, {})
    if wrong == ["-f"]:
        ended = message(write(tmp_path, 1, "tcp:127.0.0.1:1"), *wrong)
        assert ended.returncode == os.EX_TEMPFAIL
        assert ended.stdout.strip().startswith(b"4.3.5 The message cannot be filtered")
