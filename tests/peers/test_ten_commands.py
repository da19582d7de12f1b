"""The page of the manual for strangers: its ten commands, as they stand there, from nothing to a protected Postfix.

A throw-away Postfix is the host's; the package is not installed (its own proof does that), the commands are. They run in
directories of their own: to each the options are added that say which.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.support.bases import bring_compiled, keep_compiled
from tests.support.gateway import run_here
from tests.support.ports import free_port
from tests.support.waiting import wait_for

from gatepost.cli import setup
from gatepost.cli.setup_host import Host
from gatepost.master.pid_file import read_pid

PAGE = Path(__file__).resolve().parents[2] / "docs" / "manual" / "ten-commands.md"
DOOR, MAILBOX = "tcp:127.0.0.1:7357", "postmaster@example.org"
DIALOGUE = """\
mx.example.org
server


127.0.0.0/8
milter {door}
[127.0.0.1:{port}]
-


no

{console}
-
daemon
y
"""
"""What is typed: the host name, and of the rest what a test cannot leave to the host."""


def commands() -> list[str]:
    """Return the commands of the numbered steps."""
    steps = re.split(r"(?m)^(?=\d+\. )", PAGE.read_text().partition("\n## ")[0])[1:]
    return [command.strip() for step in steps for command in re.findall(r"(?m)^ {7,}(\S.*)$", step)]


class Stranger:
    """Somebody who types what the page says."""

    def __init__(self, base: Path, postfix: Postfix, port: int) -> None:
        self.base = base
        self.postfix = postfix
        self.file = base / "etc" / "gatepost.toml"
        self.state = base / "state"
        self.door = f"tcp:127.0.0.1:{free_port()}"
        self.port = port

    def type(self, command: str) -> str:
        """Run a command; return what it says."""
        first, *words = shlex.split(command.removeprefix("sudo ").replace(DOOR, self.door))
        if "|" in command:
            etc = self.postfix.base / "etc"
            sent = command.replace("| sendmail", f"| {root_program('sendmail')} -C {etc} -f anna@example.org")
            done = subprocess.run(["bash", "-c", sent], capture_output=True, text=True, timeout=120, check=False)
        elif first == "postfix":
            done = self.postfix._run(*words)
        else:
            assert first == "gatepost"
            done = run_here(*words, *self._places(words))
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def _places(self, words: list[str]) -> list[str]:
        if words[:2] == ["client", "status"]:
            return ["--state", str(self.base / "undo")]
        if words[0] == "client":
            return ["--config", str(self.postfix.base / "etc"), "--state", str(self.base / "undo"), "--yes"]
        more = ["--state-path", str(self.state), "--user", ""] if words[0] == "setup" else []
        return [*more, "-c", str(self.file)]


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    postfix = Postfix(root_program("postfix"), "mx.example.org")
    postfix.mailboxes(MAILBOX)
    port = postfix.listener()
    postfix.settings |= {"append_at_myorigin": "yes", "myorigin": "example.org"}
    monkeypatch.setattr(setup, "look_at_host", lambda: Host(mail_system=True))
    monkeypatch.setattr("gatepost.cli.client._checked", lambda _: "")
    with postfix:
        one = Stranger(tmp_path, postfix, port)
        try:
            yield one
        finally:
            run_here("stop", "-c", str(one.file))
            if pid := read_pid(one.state / "run" / "gatepost.pid"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


def test_ten_commands_protect_a_postfix(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    install, set_up, *rest = commands()
    assert len(rest) == 8, "ten in all"
    assert install == "sudo apt-get install ./gatepost_*.deb"
    assert set_up == "sudo gatepost setup"
    bring_compiled(stranger.state, antispam=True)
    with monkeypatch.context() as patch:
        # `run_here` gives a command an empty standard input; this one asks.
        typed = iter(
            DIALOGUE.format(door=stranger.door, port=stranger.port, console=f"127.0.0.1:{free_port()}").splitlines()
        )
        patch.setattr(setup, "_read", lambda _: next(typed).strip())
        told = stranger.type(set_up)
        assert next(typed, "all was asked") == "all was asked"
    assert "the gateway runs" in told
    keep_compiled(stranger.state, antispam=True)
    said = {command: stranger.type(command) for command in rest[:-3]}
    assert stranger.door.removeprefix("tcp:") in said["sudo gatepost status"]
    assert "is set up" in next(text for command, text in said.items() if "client setup" in command)
    assert b"Subject: Lunch" in stranger.postfix.arrived(MAILBOX, "Lunch")

    trace, status, code = rest[-3:]
    searched = [*shlex.split(trace)[2:], "-c", str(stranger.file)]
    wait_for(lambda: "infected" in run_here(*searched).stdout, "the record of the virus")
    assert stranger.type(trace).count(MAILBOX) >= 2
    mails = stranger.postfix.mails
    wait_for(lambda: any(b"EICAR" in mail for mail in mails(MAILBOX)), "the postmaster to hear of it")
    assert not [mail for mail in mails(MAILBOX) if b"EICAR-STANDARD-" in mail]
    assert stranger.type(status).startswith("postfix: milter")
    assert re.fullmatch(r"\S+\n", stranger.type(code))
    assert wait_for(stranger.postfix.idle, "Postfix to have nothing left")
