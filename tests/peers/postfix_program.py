"""A throw-away Postfix: any number of listeners and of ways out, each with settings of its own, and mailboxes.

Settings are Postfix's own parameters. A listener or a way out is a line of `master.cf`; mail for a mailbox domain goes
to `Maildir`s below the instance, everything else goes by `ways` (recipient domain to `transport:next hop`).
"""

import contextlib
import grp
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import pytest
from tests.peers.conftest import open_directory
from tests.support.ports import free_port
from tests.support.waiting import wait_for

Settings = Mapping[str, str]

_SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
smtp unix - - n - - smtp
relay unix - - n - - smtp
virtual unix - n n - - virtual
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

_QUEUES = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"]
_SETTLED_S = 60
_MAILBOX_OWNER = 65534
"""nobody"""


class Postfix:
    """One instance, called `name`, in a directory of its own. Say what it needs, then run it with `with`."""

    def __init__(self, program: str, name: str) -> None:
        self._program = program
        self._stack = contextlib.ExitStack()
        self.base = base = self._stack.enter_context(open_directory("postfix"))
        self._services = _SERVICES
        self._ways: dict[str, str] = {}
        self._mailboxes: list[str] = []
        self.adapt: Callable[[Path], None] = lambda _: None
        """Called with the directory of its configuration when that is written and nothing has read it yet."""
        self.settings = {
            "compatibility_level": "3.6",
            "queue_directory": f"{base}/spool",
            "data_directory": f"{base}/data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "maillog_file": f"{base}/log",
            "maillog_file_prefixes": str(base),
            "myhostname": name,
            "myorigin": name,
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "all",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtp_host_lookup": "native",
            "disable_dns_lookups": "yes",
            "multi_instance_enable": "yes",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s",
            "queue_run_delay": "1s",
        }

    def listener(self, settings: Settings | None = None, host: str = "127.0.0.1") -> int:
        """Listen on one more port; return it."""
        port = free_port()
        self._services += f"{host}:{port} inet n - n - - smtpd{_options(settings)}\n"
        return port

    def way(self, domain: str, port: int, settings: Settings | None = None, host: str = "127.0.0.1") -> None:
        """Send mail for a domain to a port, by a client of its own when it has settings of its own."""
        transport = "smtp"
        if settings:
            transport = f"way{len(self._ways)}"
            self._services += f"{transport} unix - - n - - smtp{_options(settings)}\n"
        self._ways[domain] = f"{transport}:[{host}]:{port}"

    def mailboxes(self, *addresses: str) -> None:
        """Keep mail for these addresses; others of their domains do not exist."""
        self._mailboxes += addresses

    def __enter__(self) -> Self:
        try:
            owner = pwd.getpwnam("postfix")
        except KeyError:
            pytest.skip("there is no user postfix")
        for directory in ("etc", "spool", "data", "mail"):
            (self.base / directory).mkdir()
        self._make_queues(owner.pw_uid)
        os.chown(self.base / "data", owner.pw_uid, owner.pw_gid)
        os.chown(self.base / "mail", _MAILBOX_OWNER, _MAILBOX_OWNER)
        self.settings["transport_maps"] = _table(self._ways)
        self.settings |= {
            "virtual_mailbox_domains": " ".join(sorted({a.partition("@")[2] for a in self._mailboxes})),
            "virtual_mailbox_base": f"{self.base}/mail",
            "virtual_mailbox_maps": _table({address: f"{address}/" for address in self._mailboxes}),
            "virtual_uid_maps": f"static:{_MAILBOX_OWNER}",
            "virtual_gid_maps": f"static:{_MAILBOX_OWNER}",
        }
        etc = self.base / "etc"
        (etc / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in self.settings.items()))
        (etc / "master.cf").write_text(self._services)
        self.adapt(etc)
        # Every process of it waits, and reads again, while a file looks as if it were being written.
        for file in etc.iterdir():
            os.utime(file, (time.time() - _SETTLED_S,) * 2)
        self._stack.callback(self._stop)
        try:
            started = self._run("start")
            assert started.returncode == 0, started.stderr[-1500:] + self.log()[-1500:]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make_queues(self, owner: int) -> None:
        """Make what the first start would, at a tenth of its cost, and ask for a start without the checks."""
        spool = self.base / "spool"
        for name in _QUEUES:
            (spool / name).mkdir(mode=0o700)
            os.chown(spool / name, owner, 0)
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            (spool / name).mkdir()
            os.chown(spool / name, owner, grp.getgrnam("postdrop").gr_gid)
            (spool / name).chmod(mode)
        (spool / "pid").mkdir(mode=0o755)
        (spool / "quick-start").touch()

    def _stop(self) -> None:
        """Kill all of it, which is one process group; its own way to stop takes a second."""
        file = self.base / "spool/pid/master.pid"
        if file.exists():
            master = int(file.read_text())
            with contextlib.suppress(ProcessLookupError):
                os.killpg(master, signal.SIGKILL)
            wait_for(lambda: not _lives(master), "Postfix to be gone")

    def reload(self) -> None:
        """Make every process of it finish what it is at and be replaced."""
        assert self._run("reload").returncode == 0

    def flush(self) -> None:
        """Have all that waits tried now, however long it was to wait."""
        assert self._run("flush").returncode == 0

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [self._program, "-c", str(self.base / "etc"), *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    # --- looking

    def log(self) -> str:
        path = self.base / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def lines(self, *words: str) -> list[str]:
        """Log lines that contain all the words."""
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def idle(self) -> bool:
        """Tell whether nothing is in its queue."""
        queues = (self.base / "spool" / name for name in ("maildrop", "incoming", "active", "deferred"))
        return not any(path.is_file() for queue in queues for path in queue.rglob("*"))

    def mails(self, address: str) -> list[bytes]:
        """What lies in a mailbox, line ends as Postfix writes them (LF)."""
        return [file.read_bytes() for file in (self.base / "mail" / address / "new").glob("*")]

    def empty(self, address: str) -> None:
        """Remove what lies in a mailbox."""
        for file in (self.base / "mail" / address / "new").glob("*"):
            file.unlink()

    def arrived(self, address: str, subject: str) -> bytes:
        """Wait for the mail with this subject and return it."""
        wanted = f"\nSubject: {subject}\n".encode()

        def look() -> list[bytes]:
            return [mail for mail in self.mails(address) if wanted in mail]

        try:
            return wait_for(look, f"mail {subject!r} in {address}")[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None


def _options(settings: Settings | None) -> str:
    return "".join(f"\n  -o {{ {key} = {value} }}" for key, value in (settings or {}).items())


def _table(rows: Settings) -> str:
    """Return a table that needs no file."""
    return "inline:{ " + ", ".join(f"{{ {key} = {value} }}" for key, value in rows.items()) + " }" if rows else ""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def body_of(mail: bytes) -> bytes:
    """What follows the header, with LF line ends."""
    return mail.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
