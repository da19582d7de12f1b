"""The daemon's life as an administrator has it: start, stop, restart, signals, control files, return codes, death."""

import contextlib
import datetime as dt
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.support_gateway import injected
from tests.support import licences
from tests.support.bases import bring_compiled, keep_compiled
from tests.support.gateway import GATEPOST, Gateway, run_here
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost import __version__
from gatepost.control.socket import ControlError, call
from gatepost.master import daemon
from gatepost.master.control_files import WISHES
from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.pid_file import read_pid

START = ("start", "--no-change-owner")
MAILGW = [sys.executable, "-c", "from gatepost.cli.run import run_mailgw; run_mailgw()"]


class Daemon(Gateway):
    """A gateway that is started in the background."""

    def up(self, *options: str) -> int:
        """Start it; return the code."""
        bring_compiled(self.state, antispam=False)
        code = self.run(*START, *options).returncode
        keep_compiled(self.state, antispam=False)
        return code

    @property
    def pid_file(self) -> Path:
        return self.state / "run" / "gatepost.pid"

    def master(self) -> int:
        """Return the master's process id, 0 while none answers."""
        answer = self.ask("status", check=False)
        return int(answer["pid"]) if answer else 0

    def all_processes(self) -> set[int]:
        """Return every process of the daemon: all are of the session that its start made."""
        sessions = {os.getsid(pid) for pid in (read_pid(self.pid_file), self.master()) if pid}
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) in sessions and fields[0] != "Z":
                        found.add(int(entry.name))
        return found

    def end(self) -> None:
        """Kill what is left."""
        for pid in self.all_processes() - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Daemon]:
    gateway = Daemon(
        tmp_path_factory.mktemp("daemon") / "gw", sink.port, settings="[watch]\nmail = false\ninterval = 1\n"
    )
    assert gateway.up() == 0
    try:
        yield gateway
    finally:
        gateway.end()


@pytest.fixture
def gateway(running: Daemon) -> Daemon:
    """The module's daemon, started again when a test has ended it."""
    if not running.master():
        assert running.up() == 0
    return running


def gone(pids: set[int]) -> bool:
    """Tell whether all have ended; those that only wait to be collected by an init that is slow count as such."""

    def alive(pid: int) -> bool:
        try:
            return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split())[0] != "Z"
        except OSError:
            return False

    return not any(map(alive, pids))


# --- actions


@pytest.mark.feature("F-MGMT-01")
def test_start_status_restart_stop(gateway: Daemon, sink: Sink) -> None:
    assert read_pid(gateway.pid_file) == gateway.status()["supervisor"]["pid"]
    assert str(Path(f"/proc/{gateway.master()}/fd/1").readlink()) == os.devnull
    assert gateway.command("status").returncode == 0
    again = gateway.command(*START)
    assert again.returncode == ExitCode.PID_FILE_EXISTS
    assert "stop it first" in again.stderr
    first, everybody = gateway.master(), gateway.all_processes()
    restarted = gateway.run("restart", "--no-change-owner")
    assert restarted.returncode == 0
    assert f"in service, pid {gateway.master()}, mail at 127.0.0.1:" in restarted.stdout
    assert gateway.master() not in {0, first}
    assert gone(everybody)
    gateway.send(plain("after a restart"))
    everybody = gateway.all_processes()
    stopped = gateway.command("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    wait_for(lambda: gone(everybody), "the end of everybody")
    assert not gateway.pid_file.exists()
    status = gateway.command("status")
    assert (status.returncode, "is it running" in status.stderr) == (3, True)
    assert gateway.command("stop").stdout == "not running\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_restart_as_a_user_that_does_not_exist_stops_nothing(gateway: Daemon) -> None:
    before = gateway.master()
    refused = gateway.run("restart", "--user", "nobody-of-this-name")
    assert refused.returncode == ExitCode.IDENTITY
    assert "useradd" in refused.stderr
    assert gateway.master() == before


def test_restart_with_a_faulty_configuration_stops_nothing(gateway: Daemon) -> None:
    before = gateway.master()
    gateway.edit("relays = 1", "relays = -1")
    try:
        refused = gateway.run("restart", "--no-change-owner")
        assert refused.returncode == ExitCode.CONFIGURATION
        assert "relays" in refused.stdout + refused.stderr
    finally:
        gateway.edit("relays = -1", "relays = 1")
    assert gateway.master() == before


@pytest.mark.feature("F-MGMT-02")
def test_reload_reloadbases_and_stats(gateway: Daemon) -> None:
    reloads = len(gateway.lines("configuration reloaded from"))
    assert gateway.command("reload").stdout == "reloaded\n"
    assert len(gateway.lines("configuration reloaded from")) == reloads + 1
    bases = len(gateway.lines("databases reloaded"))
    assert gateway.command("reloadbases").stdout.startswith("databases in force: base")
    assert len(gateway.lines("databases reloaded")) == bases + 1
    statistics = gateway.state / "stat" / "mailgw.stat"
    statistics.unlink(missing_ok=True)
    assert gateway.command("stats").returncode == 0
    assert "mta_received_messages=" in statistics.read_text()


def test_spam_off_lets_mail_pass_without_a_check_for_spam(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> None:
    """Also mail that comes after a relay's restart; malware is looked for all the same."""
    with Gateway(tmp_path_factory.mktemp("spam") / "gw", sink.port, antispam=True) as gateway:

        def checked(subject: str) -> bool:
            queue_id = gateway.send(plain(subject))
            wait_for(lambda: gateway.lines("DELIVERED", queue_id), "the delivery")
            assert gateway.lines("SCANNED", queue_id)
            return bool(gateway.lines("SPAMCHECK", queue_id))

        assert checked("as shipped")
        assert gateway.command("spam-off").stdout == "spam is off\n"
        assert not gateway.status()["modules"]["antispam"]
        wait_for(lambda: not checked("without"), "mail without a check")
        os.kill(gateway.relay_pids()[0], signal.SIGKILL)
        wait_for(lambda: gateway.status()["relays"][0].get("in_work"), "the relay to be back")
        assert not checked("without, by another relay")
        gateway.ask("reload")
        assert not checked("without, after a reload")
        assert gateway.command("spam-on").stdout == "spam is on\n"
        wait_for(lambda: checked("again"), "mail with a check")


# --- signals and control files


@pytest.mark.feature("F-MGMT-06")
def test_quit_stops(gateway: Daemon) -> None:
    """As TERM and INT do (test_operation.py)."""
    everybody = gateway.all_processes()
    stops = len(gateway.lines("I]: stopped"))
    os.kill(read_pid(gateway.pid_file), signal.SIGQUIT)
    wait_for(lambda: gone(everybody), "the end of everybody")
    assert len(gateway.lines("I]: stopped")) == stops + 1
    assert not gateway.pid_file.exists()


@pytest.mark.feature("F-MGMT-06")
def test_hup_reads_the_configuration_anew_and_usr1_writes_statistics(gateway: Daemon) -> None:
    before = gateway.master()
    gateway.edit('hostname = "gw.example.org"', 'hostname = "new.example.org"')
    os.kill(read_pid(gateway.pid_file), signal.SIGHUP)

    def greets() -> bool:
        with gateway.socket() as sock:
            return sock.recv(200).startswith(b"220 new.example.org")

    wait_for(greets, "the new name")
    gateway.edit('hostname = "new.example.org"', 'hostname = "gw.example.org"')
    os.kill(read_pid(gateway.pid_file), signal.SIGHUP)
    wait_for(lambda: not greets(), "the old name")
    statistics = gateway.state / "stat" / "mailgw.stat"
    statistics.unlink(missing_ok=True)
    os.kill(read_pid(gateway.pid_file), signal.SIGUSR1)
    wait_for(statistics.exists, "the statistics")
    assert gateway.master() == before


@pytest.mark.feature("F-MGMT-07")
def test_eight_control_files_are_executed_then_deleted(gateway: Daemon) -> None:
    directory = gateway.state / "control"
    statistics = gateway.state / "stat" / "mailgw.stat"
    statistics.unlink(missing_ok=True)
    (directory / "unknown").touch()
    bases = len(gateway.lines("databases reloaded"))
    modules = {"recv": "receiver", "send": "sender", "avir": "antivirus"}

    def state(name: str) -> bool:
        return bool(gateway.status()["modules"][modules[name]])

    for name in modules:
        (directory / f".c_{name}_off").touch()
    wait_for(lambda: not any(state(name) for name in modules), "all to be off")
    for name in modules:
        (directory / f".c_{name}_on").touch()
    (directory / ".c_stats").touch()
    (directory / ".c_db_reload").touch()
    wait_for(lambda: all(state(name) for name in modules), "all to be on")
    wait_for(statistics.exists, "the statistics")
    wait_for(lambda: len(gateway.lines("databases reloaded")) == bases + 1, "the databases")
    assert [path.name for path in directory.iterdir()] == ["unknown"]
    assert len(WISHES) == 8
    (directory / "unknown").unlink()


# --- death


@pytest.mark.feature("F-MGMT-09")
def test_a_dead_master_is_back_with_its_mail(gateway: Daemon, sink: Sink) -> None:
    assert gateway.command("send-off").returncode == 0
    kept = [gateway.send(plain(f"kept over a death {number}")) for number in range(3)]
    wait_for(lambda: gateway.status()["queue"]["ready"] == len(kept), "all to be inspected")
    master, children = gateway.master(), gateway.all_processes() - {read_pid(gateway.pid_file)}
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: gateway.master() not in {0, master}, "a new master")
    wait_for(lambda: gone(children), "the end of the dead master's processes")
    assert gateway.lines("E]: the master ended (signal 9), starts again")
    assert gateway.status()["modules"]["sender"] is False, "what was switched off stays so"
    wait_for(lambda: gateway.status()["queue"]["ready"] == len(kept), "the mail to be there")
    assert gateway.command("send-on").returncode == 0
    wait_for(
        lambda: {mail.header.partition(b"Subject: ")[2] for mail in list(sink.mails)} and len(arrived(sink)) == 3, "it"
    )
    told = {row["key"]: row["text"] for row in wait_for(lambda: standing(gateway, "master"), "the problem")}
    assert told["master"] == "the master died (signal 9) and was started again"
    gateway.send(plain("after a death"))


def arrived(sink: Sink) -> list[Any]:
    return [mail for mail in list(sink.mails) if b"Subject: kept over a death" in mail.header]


def standing(gateway: Gateway, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = gateway.ask("problems")["problems"]
    return rows if any(row["key"] == key for row in rows) else []


# --- return codes (specification management.md §5.1)


@pytest.mark.feature("F-MGMT-08")
def test_help_names_every_option() -> None:
    text = run_here("start", "--help").stdout
    mailgw = subprocess.run([*MAILGW, "-?"], check=True, capture_output=True, text=True).stdout
    for option in ("-?", "--help", "-V", "--version", "-p", "--no-daemon"):
        assert option in mailgw, option
    version = subprocess.run([*MAILGW, "-V"], check=True, capture_output=True, text=True).stdout
    assert version.split() == [__version__]
    for option in (
        *("-c", "--conf-file", "-d", "--no-daemon", "-p", "--pid-file", "-n", "--no-pid-file", "-u", "--user"),
        *("-o", "--no-change-owner", "-k", "--check-config", "--set"),
    ):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), option


@pytest.fixture
def fresh(tmp_path: Path, sink: Sink) -> Gateway:
    """A configuration of a gateway that has never run."""
    return Gateway(tmp_path / "gw", sink.port)


def code_of(gateway: Gateway, *options: str) -> int:
    """Start in the foreground, in a child of this process: a start that fails takes no new interpreter."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 99
    try:
        status = run_here("start", "-d", "-o", *options, "-c", str(gateway.config)).returncode
    finally:
        os._exit(status)


@pytest.mark.feature("F-MGMT-08")
def test_codes_have_the_documented_numbers() -> None:
    assert sorted(ExitCode) == [0, 1, 30, *range(41, 52), 55, *range(64, 68), 70]
    named = (ExitCode.PID_FILE_EXISTS, ExitCode.IDENTITY, ExitCode.ENGINE, ExitCode.BASES, ExitCode.BIND, ExitCode.LOG)
    assert named == (41, 44, 48, 50, 55, 67)


@pytest.mark.feature("F-MGMT-08")
def test_configuration_and_options(fresh: Gateway) -> None:
    assert code_of(fresh, "--nonsense") == ExitCode.OPTIONS
    checked = subprocess.run([*MAILGW, "-k", "-c", str(fresh.config)], check=False, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "Config OK !")
    assert code_of(fresh, "--set", "limits.incoming_sessions=none") == ExitCode.CONFIGURATION
    fresh.config.write_text("[")
    assert code_of(fresh) == ExitCode.NOT_LOADABLE
    fresh.config.unlink()
    assert code_of(fresh) == ExitCode.NOT_LOADABLE


@pytest.mark.feature("F-MGMT-08")
def test_files_and_ports(fresh: Gateway, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert code_of(fresh, "-p", str(tmp_path / "file" / "pid")) == ExitCode.PID_FILE
    assert code_of(fresh, "-n", "--set", f"relay.state_path={tmp_path / 'file'}") == ExitCode.SYSTEM
    assert code_of(fresh, "--set", f"options.log_filename={tmp_path / 'file' / 'log'}") == ExitCode.LOG
    (fresh.state / "bases").touch()
    assert code_of(fresh) == ExitCode.BASES
    (fresh.state / "bases").unlink()
    (fresh.state / "licence").mkdir()
    (fresh.state / "licence" / "active.key").write_text("{}")
    assert code_of(fresh) == ExitCode.LICENCE
    fresh.config.write_text(fresh.config.read_text() + licences.SETTINGS)
    licences.install(fresh.state / "licence", expires=dt.date(2001, 1, 1))
    assert code_of(fresh) == ExitCode.BASES_DATE
    shutil.rmtree(fresh.state / "tracking")
    (fresh.state / "tracking").write_text("in the way")
    assert code_of(fresh) == ExitCode.TRACE
    (fresh.state / "tracking").unlink()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that has ended may linger
        other.bind(("127.0.0.1", fresh.port))
        other.listen()
        assert code_of(fresh) == ExitCode.BIND


@pytest.mark.feature("F-MGMT-08")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_user_that_does_not_exist(fresh: Gateway) -> None:
    assert fresh.command("start", "-d", "-u", "no-such-user-here").returncode == ExitCode.IDENTITY


@pytest.mark.feature("F-MGMT-08")
def test_damaged_program(fresh: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(daemon, "find_damage", lambda: ("gatepost/relay/process.py",))
    assert code_of(fresh) == ExitCode.CORRUPTED
    assert daemon.start(daemon.Options(fresh.config)) == ExitCode.CORRUPTED
    assert "gatepost/relay/process.py" in capsys.readouterr().err


@pytest.mark.feature("F-MGMT-08")
def test_no_background(fresh: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    assert daemon.start(daemon.Options(fresh.config)) == ExitCode.DAEMONISE


@pytest.mark.feature("F-MGMT-08")
@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("open", ExitCode.STREAMS_REDIRECTED),
        ("closerange", ExitCode.STREAMS_CLOSED),
        ("dup2", ExitCode.STREAMS_REDIRECTED),
    ],
)
def test_streams(function: str, code: int, tmp_path: Path) -> None:
    told = tmp_path / "told"
    pid = os.fork()
    if pid == 0:

        def refuse(*_: object) -> None:
            raise OSError(5, "Input/output error")

        try:
            setattr(os, function, refuse)
            daemon.redirect_streams()
        except StartError as error:
            os._exit(error.code)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, told


def test_start_says_at_once_what_it_waits_for(tmp_path: Path, sink: Sink) -> None:
    """A queue that cannot be opened is tried again and again: mended, it needs no second start."""
    waiting = Daemon(tmp_path / "gw", sink.port)
    in_the_way = waiting.state / "queue" / "relay-0"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no directory")
    arguments = [*GATEPOST, *START, "-c", str(waiting.config)]
    try:
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as starting:
            assert starting.stderr is not None
            line = starting.stderr.readline()
            assert line.startswith("not in service yet"), line
            assert "relay 0 cannot start" in line
            assert str(in_the_way) in line
            assert starting.poll() is None
            in_the_way.unlink()
            rest = starting.stderr.read()
            assert (starting.wait(), rest) == (0, "")
        assert waiting.master()
    finally:
        waiting.end()


@pytest.mark.feature("F-MGMT-08")
def test_engines_that_cannot_start(tmp_path: Path, sink: Sink) -> None:
    """Told to who starts the daemon, though it is in the background."""
    broken = Daemon(tmp_path / "gw", sink.port, env=injected(tmp_path, "gatepost.filter.template", "os._exit(3)"))
    refused = broken.run(*START)
    assert (refused.returncode, "engines cannot be started" in refused.stderr) == (ExitCode.ENGINE, True)
    with pytest.raises(ControlError):
        call(broken.state / "run" / "control.sock", "status")
    assert not broken.pid_file.exists()
