"""Processes of the product without the start of an interpreter: forked off one that has imported it all.

A gateway is an interpreter and the imports of half a second, then five processes; the suite starts hundreds. The nursery
is the product's own fork server (`gatepost.master.fork_server`) in a process beside that of the tests, with all of
the product in its memory: what it forks has its own session, environment, working directory and standard streams, and
from there on runs the same code as one that is started by the shell. A variable of the environment, `FAULT`, has faults
put into what it starts itself (`tests.faults.support_gateway`).
"""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import gatepost.antispam  # noqa: F401 - sets what numpy is told; all environments of tests are to have it, or none
from gatepost.master import fork_server
from gatepost.master.fork_server import ForkedProcess, ForkServer
from tests.support.waiting import WAIT_S

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "gatepost.cli.main"
WARM = (COMMAND, "gatepost.cli.run", "gatepost.relay.process", "gatepost.filter.template", "gatepost.recorder.process")
WARM_ANTISPAM = (*WARM, "gatepost.filter.spam_stage")
"""Not for all: what is mapped counts against a filter's memory."""
FAULT = "GATEPOST_TEST_FAULT"
"""Variable: a module of the product and a file of Python. Each process that a gateway starts to be that module executes the
file before it does anything; the file may change whatever it imports.
"""
_ENVIRONMENT = dict(os.environ)
_ROOM = "-" * 60
"""Room in the command line for the names of processes (`ps`)."""


class Launched:
    """A process of the nursery, with what tests use of `subprocess.Popen`."""

    def __init__(self, process: "ForkedProcess | subprocess.Popen[bytes]") -> None:
        self._process = process
        self.pid = process.pid
        self.pidfd = process.pidfd if isinstance(process, ForkedProcess) else os.pidfd_open(process.pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("gatepost", timeout or 0)
            with _LOCK:
                self.returncode = self._process.wait()
            os.close(self.pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


_LOCK = threading.Lock()
_BEGUN: list["subprocess.Popen[bytes]"] = []


def begun() -> Sequence[int]:
    """Return the pids of this process's nurseries."""
    return [process.pid for process in _BEGUN]


@functools.cache
def _nursery(antispam: bool) -> ForkServer:
    """Return this process's nursery; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno()), json.dumps(antispam), _ROOM],
        pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    theirs.close()
    _BEGUN.append(process)
    server = ForkServer(ours, process.pid)
    fork_server.ANSWER_TIMEOUT_S = WAIT_S  # the first answer waits for all the imports, on a machine that others share
    atexit.register(process.poll)
    atexit.register(server.close)
    return server


def launch(
    *arguments: str,
    env: Mapping[str, str],
    antispam: bool = False,
    stdin: int | None = None,
    stdout: int = 1,
    stderr: int = 2,
    module: str = "",
    path: Sequence[str] = (),
) -> Launched:
    """Start `gatepost ARGUMENTS`, or another module's `main(ARGUMENTS)`, in a session of its own.

    `path`: directories it finds modules in besides.
    """
    how = json.dumps({
        "env": dict(env), "cwd": str(Path.cwd()), "arguments": arguments, "module": module, "path": path,
    })  # fmt: skip
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        with _LOCK:
            process = _nursery(antispam).launch(
                "tests.support.nursery", (how,), title="master",
                stdin=null if stdin is None else stdin, stdout=stdout, channel=stderr,
            )  # fmt: skip
    finally:
        os.close(null)
    return Launched(process)


def run_command(
    *arguments: str, env: Mapping[str, str], timeout_s: float, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `gatepost ARGUMENTS` to its end, in a process of its own."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        process = launch(*arguments, env=env, stdin=given.fileno(), stdout=out.fileno(), stderr=err.fileno())
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(["gatepost", *arguments], status, *texts)


def main(arguments: Sequence[str]) -> None:
    """Be the command or the module: called in the forked process, whose descriptor `CHANNEL` is to be its standard error."""
    how = json.loads(arguments[0])
    os.setsid()
    os.dup2(fork_server.CHANNEL, 2)
    os.close(fork_server.CHANNEL)
    for name in _ENVIRONMENT.keys() - how["env"].keys():
        os.environ.pop(name, None)  # what modules have set for libraries that are yet to come stays
    os.environ.update(how["env"])
    os.chdir(how["cwd"])
    sys.path[:0] = how["path"]
    if FAULT in how["env"]:
        _put_in(*json.loads(how["env"][FAULT]))
    if how["module"]:
        import_module(how["module"]).main(how["arguments"])
        return
    sys.argv = ["gatepost", *how["arguments"]]
    import_module(COMMAND).run_command()


def _put_in(faulty: str, file: str) -> None:
    """Have the fork server of this gateway, which is yet to begin, execute the file in processes of that module."""
    code = compile(Path(file).read_text(), file, "exec")

    def import_faulty(name: str) -> ModuleType:
        module = import_module(name)
        if name == faulty == sys.argv[0]:  # it is to be that, and not only to have it at hand
            exec(code, {"__name__": "fault"})
        return module

    vars(fork_server)["import_module"] = import_faulty


if __name__ == "__main__":
    fork_server.WARM = WARM_ANTISPAM if json.loads(sys.argv[2]) else WARM
    fork_server._serve(socket.socket(fileno=int(sys.argv[1])))
