"""What client programs have in common: options, settings taken again, the log, listening and leaving."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.waiting import wait_for

import gatepost.client
from gatepost.client.on_error import NOT_JUDGED, rule_too_large, rule_unjudged
from gatepost.client.program import PROGRAMS, ClientLog, ClientProgram, main
from gatepost.client.settings import ClientSettings
from gatepost.client.statuses import UNUSABLE
from gatepost.config.doors import OnError
from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, Request

LISTENER = """
import sys
from pathlib import Path
from gatepost.client.listening import listen
from gatepost.client.program import ClientProgram
from gatepost.client.settings import read_settings
from gatepost.config.doors import Door

def make(context):
    async def serve(channel):
        channel.write(context.door.on_error.encode() + b"\\n")
        await channel.read()
        channel.write(b"bye\\n")
    return serve

file = Path(sys.argv[1])
program = ClientProgram("milter", file, read_settings(file).settings, to_stderr=True)
door_of = lambda settings: Door(name="client", on_error=settings.client_on_error)
sys.exit(listen(program, sys.argv[2], door_of, make, socket_mode=0o600))
"""


def start(file: Path, address: str) -> "subprocess.Popen[bytes]":
    with (file.parent / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", LISTENER, str(file), address], stderr=log)


def connected(path: Path) -> socket.socket:
    def attempt() -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            return None
        connection.settimeout(100)
        return connection

    connection = wait_for(attempt, "the program listens")
    assert connection is not None
    return connection


def greeting(path: Path) -> bytes:
    with connected(path) as connection:
        return connection.recv(100)


def test_a_listening_program_takes_settings_anew_and_ends_cleanly(tmp_path: Path) -> None:
    file, path, pid = tmp_path / "client.toml", tmp_path / "s", tmp_path / "pid"
    file.write_text(f"client_on_error = 'accept'\npid_file = '{pid}'\n")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    process = start(file, f"unix:{path}")
    log = tmp_path / "log"
    try:
        assert greeting(path) == b"accept\n"
        assert path.stat().st_mode & 0o777 == 0o600
        assert int(pid.read_text()) == process.pid
        file.write_text("client_on_error = 'perhaps'\n")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the settings in force stay" in log.read_text(), "the mistake is told")
        assert greeting(path) == b"accept\n"
        file.write_text(f"client_on_error = 'reject'\npid_file = '{pid}'\n")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: greeting(path) == b"reject\n", "the settings are taken")
        with connected(path) as busy:
            assert busy.recv(100) == b"reject\n"
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: not _listens(path), "no more connections are taken")
            busy.sendall(b"x")
            assert busy.recv(100) == b"bye\n"
        assert process.wait(100) == 0
    finally:
        process.kill()
        process.wait()
    assert not path.exists()
    assert not pid.exists()
    assert "client.toml:1: error: client_on_error: 'perhaps' is none of" in log.read_text()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_a_socket_in_use_is_left_to_its_owner(tmp_path: Path) -> None:
    file, path = tmp_path / "client.toml", tmp_path / "s"
    file.write_text("")
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(path))
        owner.listen()
        assert start(file, f"unix:{path}").wait(100) == 71
        assert _listens(path)
    assert "somebody listens there already" in (tmp_path / "log").read_text()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    file, path = tmp_path / "client.toml", tmp_path / "s"
    file.write_text("")
    path.write_text("precious")
    assert start(file, f"unix:{path}").wait(100) == 71
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", PROGRAMS)
def test_broken_settings_end_a_program_with_a_status_that_loses_no_mail(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "client.toml"
    file.write_text("client_on_error = 'perhaps'\n")
    assert main([name, "-c", str(file), "--stderr"]) == UNUSABLE[name]
    assert main([name, "--stderr", "-c", str(tmp_path / "none")]) == UNUSABLE[name]
    told = capfd.readouterr().err
    assert "client.toml:1: error: client_on_error" in told
    assert "none: error: cannot be read" in told
    assert f"\ngatepost client {name}: {tmp_path / 'none'} cannot be used; its log says more\n" in told
    assert UNUSABLE["pipe"] == os.EX_TEMPFAIL


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_place_for_large_mail_that_cannot_be_used_is_found_before_the_first(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "client.toml"
    file.write_text(f"client_temp_dir = '{tmp_path}/none'\n")
    assert main([name, "-c", str(file), "--stderr"]) == UNUSABLE[name]
    assert f"E: client_temp_dir: {tmp_path}/none is no directory" in capfd.readouterr().err
    program = ClientProgram(name, file, ClientSettings(), to_stderr=True)
    assert not program.reread()
    assert program.settings == ClientSettings()
    (tmp_path / "none").mkdir()
    assert program.reread()


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_nobody_foresaw_loses_no_mail_either(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "client.toml"
    file.write_text("pipe_outgoing_addr = 'tcp:127.0.0.1:9'\n")
    monkeypatch.setitem(PROGRAMS, name, "gatepost.client.half_unpacked")
    assert main([name, "-c", str(file), "--stderr"]) == UNUSABLE[name]
    told = capfd.readouterr().err
    assert f"F: {name} ended by ModuleNotFoundError: No module named 'gatepost.client.half" in told
    assert f"\ngatepost client {name}: ModuleNotFoundError; its log says more\n" in told


def test_a_program_that_cannot_even_be_imported_loses_no_mail(tmp_path: Path) -> None:
    package = tmp_path / "gatepost/client"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    real = Path(gatepost.client.__file__).parent
    for name in ("__init__.py", "__main__.py", "statuses.py"):
        (package / name).write_bytes((real / name).read_bytes())
    for word, status in (("pipe", 75), ("qmail", 81), ("pip", 75)):
        done = subprocess.run(
            [sys.executable, "-m", "gatepost.client", word],
            cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, "gatepost.client.program" in done.stderr) == (status, True)


def test_wrong_options_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["other"]) == os.EX_TEMPFAIL
    assert main(["pipe", "-c"]) == UNUSABLE["pipe"]
    assert "milter|pipe|qmail|cgpro" in capfd.readouterr().err


def test_the_log_has_the_detail_asked_for_and_no_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    log = ClientLog("mail", "info", to_stderr=True)
    log("D", "detail")
    log("I", "one\r\ntwo\x1b[31m" + "x" * 2000)
    ClientLog("mail", "error", to_stderr=True)("I", "not wanted")
    told = capfd.readouterr().err
    assert told.startswith(f"gatepost[{os.getpid()}] I: one\\x0d\\x0atwo\\x1b[31mxx")
    assert told.count("\n") == 1
    assert len(told) < 1000


def test_settings_that_break_later_leave_those_in_force(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    program = ClientProgram("milter", file, ClientSettings(client_on_error=OnError.REJECT), to_stderr=True)
    assert not program.reread()
    assert program.settings == ClientSettings(client_on_error=OnError.REJECT)
    file.write_text("client_on_error = 'accept'\n")
    assert program.reread()
    assert program.settings == ClientSettings(client_on_error=OnError.ACCEPT)


@pytest.mark.parametrize(
    ("on_error", "deed", "code"),
    [(OnError.ACCEPT, Deed.DELIVER, None), (OnError.TEMPFAIL, Deed.REJECT, 451), (OnError.REJECT, Deed.REJECT, 554)],
)
def test_the_three_choices_on_error(on_error: OnError, deed: Deed, code: int | None) -> None:
    request = Request(client=Client(""), recipients=("a@x.example", "b@x.example"))
    ruling = rule_unjudged(on_error, request)
    assert ruling.parts == (ruling.whole,)
    assert ruling.info == NOT_JUDGED
    assert ruling.whole.recipients == request.recipients
    assert ruling.whole.deed is deed
    assert (ruling.whole.reply.code if ruling.whole.reply else None) == code
    assert (rule_too_large(request).whole.deed, rule_too_large(request).info) == (Deed.DELIVER, "Too large")
