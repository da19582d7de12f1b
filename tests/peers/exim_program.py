"""A throw-away Exim: two listeners (one with TLS), ways out by domain, and one mailbox for everything else."""

import contextlib
import functools
import os
import pwd
import shutil
import smtplib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import pytest
from tests.peers.conftest import open_directory
from tests.support.certificates import Certificate
from tests.support.ports import free_port
from tests.support.waiting import wait_for

USER = "Debian-exim"
"""Debian's Exim looks this user up whatever is configured."""

_MAIN = """\
exim_path = {base}/exim
exim_user = {user}
primary_hostname = {name}
spool_directory = {base}/spool
log_file_path = {base}/log/%slog
pid_file_path = {base}/exim.pid
keep_environment =
disable_ipv6 = true
daemon_smtp_ports = {ports}
local_interfaces = 127.0.0.1
tls_advertise_hosts = ${{if eq{{$received_port}}{{{tls}}}{{*}}{{}}}}
tls_certificate = {chain}
tls_privatekey = {key}
dsn_advertise_hosts = *
chunking_advertise_hosts = *
pipelining_advertise_hosts = *
smtputf8_advertise_hosts = *
accept_8bitmime = true
received_headers_max = 50
smtp_accept_queue = 0
deliver_drop_privilege = false
log_selector = +smtp_protocol_error +tls_certificate_verified +8bitmime +received_recipients
host_lookup =
acl_smtp_rcpt = refuse_nobody
acl_smtp_data = look_at_content
{main}

begin acl
refuse_nobody:
  deny message = no such user
       local_parts = nobody
  accept
look_at_content:
{look_at_content}  accept

begin routers
{routers}
mailbox:
  driver = accept
  transport = mailbox

begin transports
{transports}
mailbox:
  driver = appendfile
  maildir_format
  directory = {base}/mail
  batch_max = 50
  user = {user}
  envelope_to_add
  return_path_add

begin retry
* * F,1h,1s
"""

_ROUTER = """\
way{number}:
  driver = manualroute
  domains = {domain}
  route_list = * localhost::{port} byname
  self = send
  transport = way{number}
"""

_TRANSPORT = """\
way{number}:
  driver = smtp
  {settings}
"""


class Exim:
    """One instance in a directory of its own; `plain` and `tls` are its ports."""

    def __init__(self, program: str, name: str, certificate: Certificate) -> None:
        self._program = program
        self._stack = contextlib.ExitStack()
        self.base = self._stack.enter_context(open_directory("exim"))
        self._name = name
        self._certificate = certificate
        self._ways: list[tuple[str, int, Mapping[str, str]]] = []
        self.plain, self.tls, self.back = free_port(), free_port(), free_port()
        """In clear, with TLS, and in clear for what comes back from a filter."""
        self.main = self.look_at_content = self.routers = self.transports = ""
        """More lines of the configuration, with `(base)` for the instance's directory: options, the ACL for content, and
        routers and transports in front of the others."""
        self.adapt: Callable[[], None] = lambda: None
        """Called when the configuration is written and nothing has read it yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def way(self, domain: str, port: int, settings: Mapping[str, str] | None = None) -> None:
        """Send mail for a domain to a port, the transport with these settings."""
        self._ways.append((domain, port, settings or {}))

    def readable(self, file: Path) -> Path:
        """Return a copy of a file that Exim's user can read."""
        copy = self.base / file.name
        shutil.copy(file, copy)
        copy.chmod(0o644)
        return copy

    def __enter__(self) -> Self:
        try:
            owner = pwd.getpwnam(USER)
        except KeyError:
            pytest.skip(f"there is no user {USER}: make peers")
        for directory in ("spool", "log", "mail"):
            (self.base / directory).mkdir()
            os.chown(self.base / directory, owner.pw_uid, owner.pw_gid)
        # It starts itself anew for every delivery, from where its user can read, and becomes root by the file's mode.
        shutil.copy(self._program, self.base / "exim")
        (self.base / "exim").chmod(0o4755)
        shown = self._certificate
        routers, transports = self.routers, self.transports
        for number, (domain, port, settings) in enumerate(self._ways):
            routers += _ROUTER.format(number=number, domain=domain, port=port)
            lines = "\n  ".join(f"{key} = {value}" for key, value in settings.items())
            transports += _TRANSPORT.format(number=number, settings=lines)
        text = _MAIN.format(
            base=self.base,
            user=USER,
            name=self._name,
            ports=f"{self.plain} : {self.tls} : {self.back}",
            tls=self.tls,
            chain=self.readable(shown.chain),
            key=self.readable(shown.key),
            routers=routers,
            transports=transports,
            main=self.main,
            look_at_content=self.look_at_content,
        ).replace("(base)", str(self.base))
        (self.base / "exim.conf").write_text(text)
        self.adapt()
        command = [str(self.base / "exim"), "-C", str(self.base / "exim.conf"), "-bdf", "-q1s"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for port in (self.plain, self.tls):
                wait_for(functools.partial(self._listens, port), "Exim to listen")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(120)
        self._stack.close()

    def _listens(self, port: int) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Exim ended with {self._process.returncode}:\n{self.log()[-1500:]}"
        with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, timeout=5):
            return True
        return False

    def log(self) -> str:
        return "".join(file.read_text(errors="replace") for file in sorted((self.base / "log").glob("*log")))

    def mails(self) -> list[bytes]:
        """What lies in the mailbox, line ends LF."""
        return [file.read_bytes() for file in (self.base / "mail" / "new").glob("*")]

    def arrived(self, subject: str) -> bytes:
        """Wait for the mail with this subject and return it."""
        wanted = f"\nSubject: {subject}\n".encode()
        try:
            return wait_for(lambda: [mail for mail in self.mails() if wanted in mail], f"mail {subject!r}")[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None
