"""Children of the fork server: their descriptors, signals, names and ends; and what happens without it."""

import json
import os
import pwd
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
from pathlib import Path

IMPORTED_BY = os.getpid()

def main(arguments):
    word = arguments[0]
    if word == "tell":
        import json
        status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
        fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
        told = {
            "arguments": arguments, "argv": sys.argv, "fds": fds[:-1], "read": os.read(0, 100).decode(),
            "blocked": int(status["SigBlk"], 16), "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            "name": Path("/proc/self/comm").read_text().strip(),
            "command": Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").decode(),
            "parent": Path(f"/proc/{os.getppid()}/comm").read_text().strip(),
            "warm": IMPORTED_BY == os.getppid(),
            "uid": os.getuid(), "capabilities": int(status["CapPrm"], 16),
        }
        os.write(1, json.dumps(told).encode() + b"\\n")
        if "--channel" in arguments:
            os.write(int(arguments[arguments.index("--channel") + 1]), b"by the channel")
    elif word == "exit":
        sys.exit(int(arguments[1]))
    elif word == "raise":
        raise RuntimeError("told to")
    elif word == "wait":
        os.write(1, b"up\\n")
        os.read(0, 1)

if __name__ == "__main__":
    main(sys.argv[1:])
"""
"""What the children run, under the server or as a program of its own."""

SETTING = '''
import json, os, select, signal, socket, sys, time
from gatepost.master import fork_server
from gatepost.master.fork_server import ForkServer, ForkedProcess

fork_server.WARM = ("forked_program",)
said = []
BEFORE
server = ForkServer.begin()
server.say = lambda level, text: said.append((level, text))

def start(*arguments, **more):
    """Return a process, where to write its input, and where to read its output."""
    process = server.start("forked_program", arguments, title="test child", piped=True, **more)
    return process, process.stdin.fileno(), process.stdout.fileno()

def until_end(process):
    assert select.select([process.pidfd], [], [], 60)[0]
    return process.wait()

def read_line(fd):
    line = b""
    while not line.endswith(b"\\n"):
        line += os.read(fd, 65536) or b"\\n"
    return line

def gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
'''


@pytest.fixture
def master(tmp_path: Path):
    """Run code as a master would: in a process of its own, for a server is forked off its caller."""
    (tmp_path / "forked_program.py").write_text(PROGRAM)

    def run(code: str, before: str = "") -> dict:
        path = os.pathsep.join((str(tmp_path), *sys.path))
        script = (
            SETTING.replace("BEFORE", textwrap.dedent(before))
            + textwrap.dedent(code)
            + "\nprint(json.dumps(result))\nserver.close()\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script, "room for the names of processes"],
            check=True, stdout=subprocess.PIPE, text=True, timeout=100, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        found: dict = json.loads(ended.stdout)
        return found

    return run


def test_child_has_its_streams_its_channel_and_nothing_else_of_the_master(master) -> None:
    result = master("""
        kept = open("/dev/null")  # must not reach the child
        (of, channel) = os.pipe()
        process, to, out = start("tell", "two", channel=channel)
        os.write(to, b"input")
        told = json.loads(read_line(out))
        result = {**told, "said": os.read(of, 100).decode(), "status": until_end(process), "forked": isinstance(process, ForkedProcess)}
    """)
    assert result["forked"]
    assert result["arguments"] == ["tell", "two", "--channel", "3"]
    assert result["argv"] == ["forked_program", *result["arguments"]]
    assert result["fds"] == [0, 1, 2, 3]
    assert (result["read"], result["said"]) == ("input", "by the channel")
    assert result["warm"]
    assert result["status"] == 0


def test_child_has_its_own_name_and_ordinary_signals(master) -> None:
    result = master("""
        signal.signal(signal.SIGTERM, lambda *_: None)
        process, to, out = start("tell")
        process.stdin.close()
        result = json.loads(read_line(out))
        until_end(process)
    """)
    assert (result["name"], result["command"]) == ("test child", "gatepost: test child")
    assert result["parent"] == "fork server"
    assert result["fds"] == [0, 1, 2]
    assert result["blocked"] == 0
    assert result["term"]


def test_ends_are_told_as_subprocess_counts_them_whatever_their_order(master) -> None:
    result = master("""
        processes = [start("exit", "0")[0], start("exit", "7")[0], start("raise")[0]]
        waiting, to, out = start("wait")
        read_line(out)
        signal.pidfd_send_signal(waiting.pidfd, signal.SIGKILL)
        result = [until_end(each) for each in (waiting, *reversed(processes))]
    """)
    assert result == [-signal.SIGKILL, 1, 7, 0]


def test_signal_sent_to_a_child_that_was_just_forked_is_not_lost(master) -> None:
    result = master("""
        result = []
        for _ in range(20):
            process, to, out = start("wait")
            signal.pidfd_send_signal(process.pidfd, signal.SIGTERM)
            result.append(until_end(process))
    """)
    assert result == [-signal.SIGTERM] * 20


def test_without_its_server_the_master_starts_programs_and_children_live_on(master) -> None:
    result = master("""
        first, to, out = start("wait")
        read_line(out)
        os.kill(server._pid, signal.SIGKILL)
        (of, channel) = os.pipe()
        second, to2, out2 = start("tell", channel=channel)
        os.write(to2, b"input")
        told = json.loads(read_line(out2))
        alive = not gone(first.pid)
        first.stdin.close()
        result = {**told, "alive": alive, "said": said, "channel": os.read(of, 100).decode(),
                  "statuses": [until_end(first), second.wait()], "forked": isinstance(second, ForkedProcess)}
    """)
    assert not result["forked"]
    assert result["alive"]
    assert result["statuses"] == [255, 0], "nobody has seen how the first one ended"
    assert (result["read"], result["channel"]) == ("input", "by the channel")
    assert [level for level, _ in result["said"]] == ["W"]


def test_server_ends_with_the_master(master) -> None:
    result = master("""
        watch = os.pidfd_open(server._pid)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        before = not select.select([watch], [], [], 0)[0]
        server._sock.close()
        result = [before, bool(select.select([watch], [], [], 60)[0])]
    """)
    assert result == [True, True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_children_are_of_the_masters_user_and_keep_none_of_its_capabilities(master) -> None:
    result = master(
        before="""
        import forked_program  # its directory is closed to others
        import pwd
        from gatepost.master import identity
        identity._switch(pwd.getpwnam("nobody"))
    """,
        code="""
        process, to, out = start("tell")
        process.stdin.close()
        own = next(line for line in open("/proc/self/status") if line.startswith("CapEff"))
        result = [json.loads(read_line(out)), int(own.split()[1], 16), until_end(process)]
    """,
    )
    told, capabilities, status = result
    assert capabilities, "nothing was kept that could have been lost"
    assert (told["uid"], told["capabilities"], status) == (pwd.getpwnam("nobody").pw_uid, 0, 0)


def test_stop_signals_of_a_terminal_do_not_end_the_server(master) -> None:
    result = master("""
        process, to, out = start("exit", "0")
        until_end(process)  # it is up by now
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
            os.kill(server._pid, number)
        process, to, out = start("exit", "3")
        result = [isinstance(process, ForkedProcess), until_end(process)]
    """)
    assert result == [True, 3]
