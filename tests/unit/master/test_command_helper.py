"""The helper that runs administrators' scanners: exit status, limits, walls, and nothing left behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.waiting import wait_for

from gatepost.config.engines import EngineKind, EngineTable
from gatepost.master.command_helper import HelperSettings
from gatepost.wire.command import OBJECT, CommandOutcome, OutcomeReader, build_greeting

OWN = os.getpid()
"""In what is looked for among all processes: other runs have theirs."""
SCRIPT = f"""#!/bin/sh
# The first line of the object says what to do.
read -r what rest
case "$what" in
clean) exit 0;;
infected) echo noise; echo "$rest"; exit 1;;
broken) echo "cannot read" >&2; exit 3;;
rest) wc -c; exit 1;;
again) wc -c </dev/fd/0; exit 1;;
hang) sleep 60.{OWN}; exit 0;;
leave) (sleep 61.{OWN}; echo late) >/dev/null 2>&1 & echo left; exit 1;;
escape) setsid sleep 62.{OWN} >/dev/null 2>&1; echo "$?"; exit 1;;
flood) yes flood | head -c 3000000; echo; echo end; exit 1;;
file) cat "$rest" >/dev/null 2>&1 && echo read || echo refused; exit 1;;
write) echo x >"$rest" && echo written || echo refused; exit 1;;
signal) kill -0 "$rest" 2>/dev/null && echo reached || echo refused; exit 1;;
esac
exit 9
"""


class Helper:
    """A running helper and a connection to it."""

    def __init__(self, place: Path) -> None:
        script = place / "scan.sh"
        script.write_text(SCRIPT)
        script.chmod(0o755)
        program = EngineTable(
            name="prog", kind=EngineKind.COMMAND, command=("/usr/bin/env", "python3", "-c", PROGRAM), timeout=15.0
        )
        engine = EngineTable(
            name="own",
            kind=EngineKind.COMMAND,
            command=(str(script),),
            timeout=1.0,
            max_size=8 * 1024**2,
            connections=2,
        )
        missing = EngineTable(name="gone", kind=EngineKind.COMMAND, command=(str(place / "gone"),))
        self.scratch = place / "scratch"
        self.path = place / "c.sock"
        settings = HelperSettings((engine, program, missing), str(self.scratch))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gatepost.master.command_helper", "--socket", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(settings) + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def connect(self, engine: str = "own") -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(str(self.path))
        sock.sendall(build_greeting(engine))
        return sock

    def scan(self, data: bytes, engine: str = "own") -> CommandOutcome:
        with self.connect(engine) as sock:
            return ask(sock, data)


PROGRAM = """
import socket, sys
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    try:
        socket.socket(family)
    except PermissionError:
        continue
    print("a socket of family", family)
    sys.exit(1)
print(len(sys.stdin.buffer.read()))
sys.exit(0)
"""


def ask(sock: socket.socket, data: bytes) -> CommandOutcome:
    sock.sendall(OBJECT.pack(len(data)) + data)
    reader = OutcomeReader()
    while True:
        chunk = sock.recv(4096)
        assert chunk, "the helper closed the connection"
        outcome = reader.feed(chunk)
        if outcome is not None:
            return outcome


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    made = Helper(tmp_path_factory.mktemp("h"))
    yield made
    assert made.process.stdin is not None
    made.process.stdin.close()  # the master has gone
    assert made.process.wait(20) == 0
    assert made.process.stdout is not None
    assert made.process.stderr is not None
    made.process.stdout.close()
    made.process.stderr.close()


def members(group_of: str) -> list[int]:
    """Processes whose command line holds this."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if group_of.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_the_exit_status_and_the_last_line(helper: Helper) -> None:
    assert helper.scan(b"clean\n") == CommandOutcome(0)
    assert helper.scan(b"infected Bad Thing\n") == CommandOutcome(1, "Bad Thing")
    assert helper.scan(b"broken\n") == CommandOutcome(3, "cannot read")
    assert helper.scan(b"unknown\n") == CommandOutcome(9)


def test_objects_share_a_connection_and_come_whole(helper: Helper) -> None:
    with helper.connect() as sock:
        assert ask(sock, b"clean\n") == CommandOutcome(0)
        assert ask(sock, b"rest\n" + b"x" * 5_000_000) == CommandOutcome(1, "5000000")
        assert ask(sock, b"again\n" + b"y" * 10).code == 1


def test_objects_over_the_limit_end_the_connection(helper: Helper) -> None:
    with helper.connect() as sock:
        sock.sendall(OBJECT.pack(8 * 1024**2 + 1))
        assert sock.recv(1) == b""


def test_strangers_are_left(helper: Helper) -> None:
    for greeting in (build_greeting("nobody"), b"\xff" * 32):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(helper.path))
            sock.sendall(greeting)
            assert sock.recv(1) == b""


def test_what_hangs_is_ended_with_all_it_started(helper: Helper) -> None:
    assert "did not end within" in helper.scan(b"hang\n").trouble
    assert helper.scan(b"leave\n").output == "left"
    wait_for(lambda: not members(f"sleep\x0060.{OWN}") and not members(f"sleep\x0061.{OWN}"), "nothing to be left")


def test_nothing_leaves_its_group(helper: Helper) -> None:
    outcome = helper.scan(b"escape\n")
    assert outcome.output != "0"
    assert not members(f"sleep\x0062.{OWN}")


def test_a_flood_of_output_is_bounded(helper: Helper) -> None:
    assert helper.scan(b"flood\n") == CommandOutcome(1, "end")


def test_a_command_that_is_killed_or_missing_is_trouble(helper: Helper) -> None:
    assert helper.scan(b"x", "gone").trouble.startswith("it cannot be started")


def test_files_are_out_of_reach(helper: Helper, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    assert helper.scan(f"file {secret}\n".encode()).output == "refused"
    assert helper.scan(b"file /etc/ssl/openssl.cnf\n").output == "refused"
    assert helper.scan(f"file /proc/{os.getpid()}/environ\n".encode()).output == "refused"
    assert helper.scan(b"file /etc/passwd\n").output == "read"
    assert helper.scan(f"write {tmp_path}/new\n".encode()).output == "refused"
    assert helper.scan(b"write own\n").output == "written"
    wait_for(lambda: not list(helper.scratch.iterdir()), "the scratch directory to be emptied")


def test_no_network_and_no_signals(helper: Helper) -> None:
    assert helper.scan(b"12345", "prog") == CommandOutcome(0, "5")
    assert helper.scan(f"signal {helper.process.pid}\n".encode()).output == "refused"


def test_a_filter_that_goes_away_leaves_nothing(helper: Helper) -> None:
    with helper.connect() as sock:
        sock.sendall(OBJECT.pack(1000) + b"clean\n")
    assert helper.scan(b"clean\n") == CommandOutcome(0)
