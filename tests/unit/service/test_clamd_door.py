"""The clamd door: what the judge is asked, and what the client hears of its ruling."""

import asyncio
import errno
import os
import socket
import struct
from pathlib import Path

import pytest
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, open_door, ruling

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Checks, Deed, Purpose, Threat
from gatepost.service import clamd_door, passed_file
from gatepost.service.judge import Unjudged

FOUND = ruling(threats=(Threat("Eicar Test\n(x)", "infected", "a.exe"), Threat("Other", "suspicious")))


def stream(data: bytes) -> bytes:
    return b"zINSTREAM\0" + struct.pack("!I", len(data)) + data + bytes(4)


def ask(judge: ScriptedJudge, *said: bytes, **settings: object) -> bytes:
    """Return all that the door says."""

    async def scene() -> bytes:
        door = Door(name="av", kind=DoorKind.CLAMD, **settings)
        async with open_door(clamd_door.make, judge, door) as opened:
            talk = await opened.talk()
            talk.send(*said)
            talk.end()
            answer = await talk.rest()
            await opened.settle()
            assert opened.ended == [None]
            return answer

    return asyncio.run(scene())


class TestStreams:
    def test_the_question(self):
        judge = ScriptedJudge()
        assert ask(judge, stream(b"MZ\x90 anything"), deadline=5.0) == b"stream: OK\0"
        asked = judge.last
        assert (asked.request.purpose, asked.request.checks) == (Purpose.ASK, Checks.VIRUS)
        assert (asked.request.recipients, asked.request.client.listener) == ((), "av")
        assert (asked.request.bare.name, asked.request.bare.content_type) == ("", "")
        assert (asked.content, asked.deadline_s, asked.was_file) == (b"MZ\x90 anything", 5.0, False)

    @pytest.mark.parametrize(
        "mail", [b"Received: from x\nSubject: y\n\nbody", b"From a@b Mon Jan 1\nX-Envelope-From: <a@b>\n\nx"]
    )
    def test_a_mail_is_declared_as_one_and_stays_as_it_is(self, mail):
        judge = ScriptedJudge()
        ask(judge, stream(mail))
        assert judge.last.request.bare.content_type == "message/rfc822"
        assert judge.last.content == mail

    def test_a_large_one_goes_by_a_file_that_is_gone_afterwards(self):
        judge = ScriptedJudge()
        data = bytes(2_000_000)
        assert (
            ask(judge, *(stream(data)[at : at + 50_000] for at in range(0, len(data) + 18, 50_000))) == b"stream: OK\0"
        )
        assert judge.last.was_file
        assert judge.last.content == data

    def test_what_was_found_is_one_word(self):
        assert ask(ScriptedJudge(FOUND), stream(b"x")) == b"stream: Eicar_Test_(x) FOUND\0"

    @pytest.mark.parametrize(
        ("fields", "answer"),
        [
            ({"threats": (Threat("", "protected"),)}, b"OK"),
            ({"threats": (Threat("", "error"),)}, b"OK"),
            ({"threats": (Threat("", "protected"),), "body_changed": True}, b"Heuristics.Encrypted FOUND"),
            ({"threats": (Threat("", "error"),), "deed": Deed.DISCARD}, b"Heuristics.Limits.Exceeded FOUND"),
            ({"threats": (Threat("", "filtered"),), "deed": Deed.REJECT}, b"Heuristics.Filtered FOUND"),
            ({"deed": Deed.REJECT}, b"Heuristics.Refused FOUND"),
            ({"threats": (Threat("X", "disinfected"),)}, b"X FOUND"),
            ({"threats": (Threat("X", "suspicious"),)}, b"X FOUND"),
        ],
    )
    def test_what_the_policy_lets_pass_may_pass(self, fields, answer):
        assert ask(ScriptedJudge(ruling(**fields)), stream(b"x")) == b"stream: " + answer + b"\0"

    @pytest.mark.parametrize(
        ("on_error", "answer"),
        [
            (OnError.TEMPFAIL, b"stream: not inspected, try again later. ERROR\0"),
            (OnError.REJECT, b"stream: Gatepost.Not-Inspected FOUND\0"),
            (OnError.ACCEPT, b"stream: OK\0"),
        ],
    )
    def test_what_cannot_be_judged(self, on_error, answer):
        assert ask(ScriptedJudge(Unjudged("no filter")), stream(b"x"), on_error=on_error) == answer

    def test_above_the_limit(self):
        judge = ScriptedJudge()
        assert ask(judge, stream(bytes(1025)), size_limit=1024) == b"INSTREAM size limit exceeded. ERROR\0"
        assert ask(judge, stream(bytes(1024)), size_limit=1024) == b"stream: OK\0"
        assert len(judge.asked) == 1

    def test_what_is_broken_off_is_not_judged(self):
        judge = ScriptedJudge()
        assert ask(judge, stream(b"abc")[:-4]) == b""
        assert judge.asked == []

    def test_a_session(self):
        def answer(request, content):
            return FOUND if content == b"bad" else ruling()

        judge = ScriptedJudge(answer)
        said = b"zIDSESSION\0" + stream(b"good") + b"nPING\n" + stream(b"bad") + b"zEND\0"
        assert ask(judge, said) == b"1: stream: OK\x002: PONG\n3: stream: Eicar_Test_(x) FOUND\0"

    def test_a_client_that_stalls(self):
        async def scene() -> bytes:
            async with open_door(clamd_door.make, ScriptedJudge(), Door(kind=DoorKind.CLAMD), timeout_s=0.05) as opened:
                talk = await opened.talk()
                talk.send(b"zINSTREAM\0\0\0\0\5ab")
                return await talk.rest()

        assert asyncio.run(scene()) == b"COMMAND READ TIMED OUT\0"


class TestWords:
    def test_answers(self):
        judge = ScriptedJudge()
        assert ask(judge, b"zPING\0") == b"PONG\0"
        assert ask(judge, b"PING") == b"PONG\n"
        assert ask(judge, b"nVERSION\n").startswith(b"Gatepost ")
        commands = ask(judge, b"zVERSIONCOMMANDS\0")
        assert b"| COMMANDS: PING VERSION " in commands
        assert b"SCAN" not in commands
        assert b"CONTSCAN" in ask(judge, b"zVERSIONCOMMANDS\0", scan_paths=("/srv",))
        assert ask(judge, b"zSTATS\0").startswith(b"POOLS: 1\n\nSTATE: VALID PRIMARY\n")
        assert ask(judge, b"zSTATS\0").endswith(b"\nEND\0")
        assert ask(judge, b"zNONSENSE\0") == b"UNKNOWN COMMAND\0"

    def test_nobody_reloads_or_stops_it(self):
        assert ask(ScriptedJudge(), b"zRELOAD\0") == b"COMMAND UNAVAILABLE\0"
        assert ask(ScriptedJudge(), b"SHUTDOWN\n") == b"COMMAND UNAVAILABLE\n"


class TestPaths:
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        inner = tmp_path / "allowed"
        (inner / "sub").mkdir(parents=True)
        (inner / "good.txt").write_bytes(b"good")
        (inner / "sub" / "bad.txt").write_bytes(b"bad")
        (inner / "sub" / "worse\n.txt").write_bytes(b"bad")
        (tmp_path / "secret").write_bytes(b"bad")
        (tmp_path / "allowed2").mkdir()
        (tmp_path / "allowed2" / "x").write_bytes(b"bad")
        (inner / "link").symlink_to(tmp_path / "secret")
        (inner / "dirlink").symlink_to(tmp_path)
        os.mkfifo(inner / "fifo")
        return inner

    def scan(self, place: Path, command: str, judge: ScriptedJudge | None = None) -> str:
        def answer(request, content):
            return FOUND if content == b"bad" else ruling()

        judge = judge or ScriptedJudge(answer)
        said = ask(judge, b"z" + command.encode() + b"\0", scan_paths=(str(place),))
        return said.decode().replace(str(place.parent), "")

    def test_one_file(self, place):
        judge = ScriptedJudge()
        assert self.scan(place, f"SCAN {place}/good.txt", judge) == "/allowed/good.txt: OK\0"
        assert (judge.last.content, judge.last.request.bare.name) == (b"good", "good.txt")
        assert self.scan(place, f"SCAN {place}/sub/bad.txt") == "/allowed/sub/bad.txt: Eicar_Test_(x) FOUND\0"

    def test_every_name(self, place):
        assert self.scan(place, f"ALLMATCHSCAN {place}/sub/bad.txt") == (
            "/allowed/sub/bad.txt: Eicar_Test_(x) FOUND\0/allowed/sub/bad.txt: Other FOUND\0"
        )

    def test_directories(self, place):
        assert self.scan(place, f"SCAN {place}") == "/allowed/sub/bad.txt: Eicar_Test_(x) FOUND\0"
        both = "/allowed/sub/bad.txt: Eicar_Test_(x) FOUND\0/allowed/sub/worse?.txt: Eicar_Test_(x) FOUND\0"
        assert self.scan(place, f"CONTSCAN {place}") == both
        assert self.scan(place, f"MULTISCAN {place}/sub").endswith(both)
        judge = ScriptedJudge()
        assert self.scan(place, f"CONTSCAN {place}", judge) == "/allowed: OK\0"
        assert sorted(each.content for each in judge.asked) == [b"bad", b"bad", b"good"], "no link is followed"

    def test_a_tree_without_end_is_given_up(self, place, monkeypatch):
        deep = place / "/".join(["d"] * (passed_file.DEPTH_LIMIT + 5))
        deep.mkdir(parents=True)
        limit = passed_file.DEPTH_LIMIT
        assert self.scan(place, f"CONTSCAN {place}/d") == (
            f"/allowed/d: more than {limit} directories within each other. ERROR\0"
        )
        monkeypatch.setattr(passed_file, "FILES_LIMIT", 5)
        wide = place / "wide"
        for number in range(6):
            (wide / str(number)).mkdir(parents=True)
        assert self.scan(place, f"CONTSCAN {wide}") == "/allowed/wide: more than 5 files. ERROR\0"

    def test_what_cannot_be_looked_into_is_not_clean(self, place, monkeypatch):
        really = os.scandir

        def scandir(directory):
            if Path(f"/proc/self/fd/{directory}").readlink().name == "locked":
                raise PermissionError(errno.EACCES, "Permission denied")
            return really(directory)

        (place / "locked").mkdir()
        (place / "sub" / "bad.txt").unlink()
        (place / "sub" / "worse\n.txt").unlink()
        monkeypatch.setattr(os, "scandir", scandir)
        assert self.scan(place, f"CONTSCAN {place}") == "/allowed: Permission denied. ERROR\0"

    @pytest.mark.parametrize(
        "path", ["/secret", "/allowed/../secret", "/allowed/link", "/allowed/dirlink/secret", "/allowed/dirlink", "/allowed2/x", "/allowed/fifo", "/nothing", "/allowed/../nothing", "", "/allowed/good.txt/x"],
    )  # fmt: skip
    def test_nothing_else_is_read_or_even_told_to_exist(self, place, path):
        judge = ScriptedJudge()
        outside = f"{place.parent}{path}"
        assert self.scan(place, f"CONTSCAN {outside}", judge) == f"{path}: Access denied. ERROR\0"
        assert judge.asked == []

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("allowed/good.txt", "the gateway's user may not open it"),
            ("secret", "only below scan_paths"),
            ("allowed/../secret", "only below scan_paths"),
        ],
    )
    def test_what_may_not_be_opened_is_told_in_the_log_alone(self, place, monkeypatch, name, told):
        really = os.open

        def refuse(path, *rest, **more):
            if Path(os.fsdecode(path)).name in {"good.txt", "secret"}:
                raise PermissionError(errno.EACCES, "Permission denied")
            return really(path, *rest, **more)

        async def scene():
            door = Door(name="av", kind=DoorKind.CLAMD, scan_paths=(str(place),))
            async with open_door(clamd_door.make, ScriptedJudge(), door) as opened:
                talk = await opened.talk()
                talk.send(f"nSCAN {place.parent}/{name}\n".encode())
                talk.end()
                assert await talk.rest() == f"{place.parent}/{name}: Access denied. ERROR\n".encode()
                await opened.settle()
                return opened.reported

        monkeypatch.setattr(os, "open", refuse)
        ((_, said),) = asyncio.run(scene())
        assert said.endswith(f"{place.parent}/{name} is refused: {told}")

    def test_relative_paths(self, place):
        assert self.scan(place, "SCAN allowed/good.txt") == "allowed/good.txt: Access denied. ERROR\0"

    def test_what_is_not_there(self, place):
        assert (
            self.scan(place, f"SCAN {place}/none")
            == "/allowed/none: File path check failure: No such file or directory. ERROR\0"
        )

    def test_off_by_default(self, place):
        assert ask(ScriptedJudge(), b"nSCAN /etc/passwd\n") == b"/etc/passwd: Access denied. ERROR\n"

    def test_limits(self, place, monkeypatch):
        monkeypatch.setattr(passed_file, "FILES_LIMIT", 2)
        assert self.scan(place, f"CONTSCAN {place}/", ScriptedJudge()).endswith("more than 2 files. ERROR\0")
        said = ask(ScriptedJudge(), b"nSCAN %s\n" % bytes(place / "good.txt"), scan_paths=(str(place),), size_limit=3)
        assert said.endswith(b"good.txt: size limit exceeded. ERROR\n")

    def test_a_link_as_the_allowed_directory_itself(self, place):
        place.with_name("alias").symlink_to(place)
        assert self.scan(place.with_name("alias"), f"SCAN {place.parent}/alias/good.txt") == "/alias/good.txt: OK\0"


class TestDescriptors:
    def pass_on(self, judge: ScriptedJudge, tmp_path: Path, command: bytes, descriptors: list[int]) -> bytes:
        with (
            ListeningDoor(clamd_door.make, judge, Door(kind=DoorKind.CLAMD), path=tmp_path / "s") as door,
            socket.socket(socket.AF_UNIX) as sock,
        ):
            sock.settimeout(100)
            sock.connect(str(door.path))
            sock.sendall(command)
            socket.send_fds(sock, [b"\0"], descriptors)
            said = b""
            while piece := sock.recv(1000):
                said += piece
            return said

    def test_a_file_is_read_from_its_beginning(self, tmp_path):
        judge = ScriptedJudge(FOUND)
        with (tmp_path / "x").open("wb+") as file:
            file.write(b"content")
            file.flush()
            said = self.pass_on(judge, tmp_path, b"zFILDES\0", [file.fileno()])
        assert said.startswith(b"fd[")
        assert said.endswith(b"]: Eicar_Test_(x) FOUND\0")
        assert judge.last.content == b"content"

    def test_what_is_no_file(self, tmp_path):
        judge = ScriptedJudge()
        reading, writing = os.pipe()
        try:
            assert self.pass_on(judge, tmp_path, b"nFILDES\n", [reading]).endswith(
                b"]: Not supported file type. ERROR\n"
            )
        finally:
            os.close(reading)
            os.close(writing)
        assert judge.asked == []

    def test_a_byte_without_a_descriptor(self):
        assert ask(ScriptedJudge(), b"zFILDES\0", b"\0") == b"No file descriptor received. ERROR\0"

    def test_not_over_tcp(self):
        with (
            ListeningDoor(clamd_door.make, ScriptedJudge(), Door(kind=DoorKind.CLAMD)) as door,
            socket.create_connection(("127.0.0.1", door.port), 20) as sock,
        ):
            sock.sendall(b"zFILDES\0")
            assert sock.recv(100) == b"No file descriptor received. ERROR\0"
