"""A real gateway, started from a configuration file as an administrator would, for the length of a `with`."""

import contextlib
import io
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self
from unittest import mock

from gatepost.config.default import build_default_config
from tests.support.bases import bring_compiled, keep_compiled
from tests.support.nursery import Launched, launch, run_command
from tests.support.ports import free_port
from tests.support.waiting import WAIT_S, wait_for

GATEPOST = [sys.executable, "-m", "gatepost.cli.main"]

_NOTICES = tuple(
    f'{name} = ["infected", "suspicious", "protected", "error", "filtered"]\n'
    for name in ("notify_admin", "notify_recipient")
)
_PAGE = 200
_START_LOOK_S = 0.05
"""Between looks at a gateway that starts: each look is work for those who are starting."""
_QUEUED = re.compile(r"queued as ([0-9A-Z]{13})")


def run_here(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command `gatepost` in this process: all that the real one does between its start and its exit status."""
    from gatepost.cli import main

    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with (
        mock.patch.object(sys, "argv", ["gatepost", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main.run_command()
        except SystemExit as ended:
            status = ended.code or 0
    assert isinstance(status, int), status
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


class Gateway:
    """One gateway below `state`. Everything it listens on is 127.0.0.1."""

    def __init__(
        self,
        state: Path,
        sink_port: int,
        *,
        relays: int = 1,
        settings: str = "",
        replace: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        notices: bool = False,
        antispam: bool = False,
        spam_fields: bool = False,
        console: bool = False,
    ) -> None:
        """`settings` is appended to the shipped default configuration; `replace` changes texts in it first. Only with
        `notices` it notifies people as shipped: other tests count what arrives. Only with `antispam` it checks for spam
        as shipped: its templates need a second more to start. Only with `spam_fields` it adds fields about spam as
        shipped: other tests compare what arrives with what was sent. Only with a `[watch]` section of its own it mails its
        problems. Only with `console` it has one, at `console_port`.
        """
        self.state = state
        self.antispam = antispam
        self.port = free_port()
        self.config = state / "gatepost.toml"
        self.log_file = state / "log" / "gatepost.log"
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | Launched | None = None
        state.mkdir(parents=True, exist_ok=True)
        text = build_default_config(
            state_path=str(state),
            hostname="gw.example.org",
            listen=f"127.0.0.1:{self.port}",
            next_hop=f"[127.0.0.1:{sink_port}]",
            protected_domains=("example.org",),
            log_filename=str(self.log_file),
        )
        silence = {} if notices else dict.fromkeys(_NOTICES, "")
        changes = {
            **silence,
            "relays = 0": f"relays = {relays}",
            "maximal_incoming_sessions_per_ip = 50": "maximal_incoming_sessions_per_ip = 400",
            'minimal_queue_free_space_size = "500 MiB"': 'minimal_queue_free_space_size = "0 MiB"',
            **(replace or {}),
        }
        for old, new in changes.items():
            assert old in text, f"the shipped configuration has no {old!r}"
            text = text.replace(old, new)
        if not antispam:
            text = text.replace("[policy]\n", "[policy]\ncheck_spam = false\n", 1)
        if not spam_fields:
            text = text.replace("[policy]\n", "[policy]\nspam_headers = false\n", 1)
        self.console_port = free_port() if console else 0
        where = f'listen = ["127.0.0.1:{self.console_port}"]' if console else "enabled = false"
        text = text.replace("[policy]\n", f"[console]\n{where}\n\n[policy]\n", 1)
        if "[watch]" not in settings:
            text = text.replace("[policy]\n", "[watch]\nmail = false\n\n[policy]\n", 1)
        self.config.write_text(text + settings)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()

    def edit(self, old: str, new: str) -> None:
        """Change the configuration file: the gateway hears of it by a reload, or when it starts again."""
        text = self.config.read_text()
        assert old in text, f"the configuration has no {old!r}"
        self.config.write_text(text.replace(old, new))

    # --- life

    def start(self) -> None:
        """Start and wait until it is in service."""
        assert self.process is None
        bring_compiled(self.state, antispam=self.antispam)
        self.process = launch("run", "-c", str(self.config), env=self.env, antispam=self.antispam)
        wait_for(self._in_service, "the gateway to come into service", pause_s=_START_LOOK_S)
        if self.console_port:  # it comes up beside the relays, and no sooner than they
            wait_for(self._console_listens, "the console to listen", pause_s=_START_LOOK_S)
        keep_compiled(self.state, antispam=self.antispam)

    def _console_listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.console_port), timeout=5):
            return True
        return False

    def _in_service(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}:\n{self.log()[-3000:]}"
        answer = self.ask("status", check=False)
        return bool(answer) and answer["pid"] == self.process.pid and all("error" not in r for r in answer["relays"])

    def stop(self) -> int:
        """Stop cleanly (TERM) and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(WAIT_S)
        self.process = None
        return status

    def kill_all(self) -> None:
        """SIGKILL to everything at once: master, relays, template and filters are one session."""
        if self.process is None:
            return
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(WAIT_S)
        self.process = None
        wait_for(lambda: not self._session_members(), "killed processes to be gone")

    def pids(self) -> list[int]:
        """All processes of the gateway, the master first."""
        assert self.process is not None
        return [self.process.pid, *(p for p in self._session_members() if p != self.process.pid)]

    def _session_members(self) -> list[int]:
        leader = self.process.pid if self.process else self._last_leader
        self._last_leader = leader
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # With threads that are still ending, a zombie holds what it had open.
            if int(fields[3]) == leader and (fields[0] != "Z" or int(fields[17]) > 1):
                found.append(int(entry.name))
        return found

    _last_leader = 0

    # --- asking

    def run(
        self, *arguments: str, timeout_s: float = WAIT_S, conf_file: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `gatepost ARGUMENTS -c CONFIG`, with the gateway's own configuration or another, in a new process."""
        given = (*arguments, "-c", str(conf_file or self.config))
        return run_command(*given, env=self.env, timeout_s=timeout_s)

    def command(self, *arguments: str, conf_file: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Do as `run` does, inside this process, which spares the start of another.

        For commands that end by themselves; nobody is at their standard input.
        """
        return run_here(*arguments, "-c", str(conf_file or self.config))

    def ask(self, call_name: str, check: bool = True, **arguments: object) -> Any:
        """Call the control socket (cheaper than a command)."""
        from gatepost.control.socket import ControlError, call

        try:
            return call(self.state / "run" / "control.sock", call_name, **arguments)
        except ControlError:
            if check:
                raise
            return None

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("status")
        return answer

    def counter(self, name: str) -> int:
        return int(self.status()["counters"].get(name, 0))

    def queue(self) -> list[dict[str, Any]]:
        """Return what waits, all of it, as `gatepost queue list --json` prints it."""
        rows: list[dict[str, Any]] = []
        page: dict[str, Any] = {"upto": 0, "ended": False}
        while not page["ended"]:
            page = self.ask("queue", after=page["upto"], limit=_PAGE)
            rows += page["items"]
        return rows

    def switch(self, module: str, *, on: bool) -> None:
        """Switch `recv`, `send` or `scan`."""
        self.ask("switch", module=module, on=on)

    def relay_pids(self) -> list[int]:
        return [relay["pid"] for relay in self.status()["relays"]]

    def log(self) -> str:
        """All whole lines of the log: the last may be in the middle of being written."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return text[: text.rfind("\n") + 1]

    def lines(self, word: str, queue_id: str = "") -> list[str]:
        """Log lines that contain a word (and belong to a message)."""
        return [line for line in self.log().splitlines() if word in line and queue_id in line]

    # --- sending

    def client(self, timeout: float = WAIT_S) -> smtplib.SMTP:
        """A connection after EHLO."""
        client = smtplib.SMTP("127.0.0.1", self.port, timeout=timeout)
        client.ehlo("client.example.net")
        return client

    def send(
        self,
        content: bytes,
        recipients: list[str] | str = "user@example.org",
        sender: str = "sender@example.net",
        options: list[str] | None = None,
    ) -> str:
        """Send one mail with the standard library's client and return its queue id."""
        if isinstance(recipients, str):
            recipients = [recipients]
        with self.client() as client:
            code, text = client.mail(sender, options or [])
            assert code == 250, text
            for recipient in recipients:
                code, text = client.rcpt(recipient)
                assert code == 250, text
            code, text = client.data(content)
        assert code == 250, text
        found = _QUEUED.search(text.decode())
        assert found, text
        return found.group(1)

    def socket(self, timeout: float = WAIT_S) -> socket.socket:
        """A bare connection, greeting unread."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
