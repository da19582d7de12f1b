"""A throw-away Sendmail: one listener, everything goes on to a sink. Its configuration is made by m4, as an
administrator makes it. Debian's package excludes Postfix, so it is only unpacked, below `build/peers/sendmail`.
"""

import contextlib
import os
import signal
import subprocess
from typing import Self

from tests.peers.conftest import UNPACKED, open_directory, program, root_program
from tests.support.ports import free_port
from tests.support.waiting import wait_for

ROOT = UNPACKED.parents[1] / "sendmail"
_MACROS = ROOT / "usr/share/sendmail/cf"
_PROGRAM = ROOT / "usr/libexec/sendmail/sendmail"

NAME = "sendmail.example.net"
"""Sendmail waits a minute for a host name that has no domain, and asks DNS about it, whatever it is configured."""
SEEN_AT = "/mnt"
"""Where Sendmail sees its own directory: it trusts no socket below one that everybody can write to."""
_START = f'hostname {NAME} && mount --bind "$1/hosts" /etc/hosts && mount --bind "$1" {SEEN_AT} && shift && exec "$@"'

_CONFIGURATION = """\
divert(0)dnl
define(`_CF_DIR_', `{macros}/')dnl
include(`{macros}/m4/cf.m4')dnl
VERSIONID(`test')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `sendmail.example.net')dnl
define(`confPID_FILE', `{base}/pid')dnl
define(`QUEUE_DIR', `{base}/queue')dnl
define(`STATUS_FILE', `{base}/statistics')dnl
define(`confCW_FILE', `-o {base}/names')dnl
define(`ALIAS_FILE', `{base}/aliases')dnl
define(`confDEF_USER_ID', `nobody:nogroup')dnl
define(`confTRUSTED_USER', `root')dnl
define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe')dnl
define(`confSERVICE_SWITCH_FILE', `{base}/switch')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confTO_IDENT', `0')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confDELIVERY_MODE', `i')dnl
define(`confMILTER_LOG_LEVEL', `14')dnl
define(`SMART_HOST', `relay:[127.0.0.1]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {sink}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`promiscuous_relay')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port={port}')dnl
{filters}
MAILER(`smtp')dnl
"""


class Sendmail:
    """One instance; `filters` are lines of its macros, as INPUT_MAIL_FILTER."""

    def __init__(self, sink: int, filters: str = "") -> None:
        root_program(str(_PROGRAM))
        self._stack = contextlib.ExitStack()
        self.base = self._stack.enter_context(open_directory("sendmail"))
        self._sink = sink
        self.filters = filters
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        base = self.base
        for name in ("queue", "names", "aliases"):
            (base / name).mkdir(mode=0o700) if name == "queue" else (base / name).touch()
        (base / "hosts").write_text(f"127.0.0.1 {NAME} localhost\n")
        (base / "switch").write_text("hosts files\naliases files\n")
        text = _CONFIGURATION.format(macros=_MACROS, base=base, sink=self._sink, port=self.port, filters=self.filters)
        made = subprocess.run([program("m4")], input=text.encode(), capture_output=True, check=True, timeout=120)
        (base / "sendmail.cf").write_bytes(made.stdout)
        with (base / "out").open("wb") as out:
            self._process = subprocess.Popen(
                ["unshare", "-m", "-u", "sh", "-c", _START, "sh", str(base), str(_PROGRAM), "-bD", "-C", f"{base}/sendmail.cf"],
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self._stack.callback(self._stop)
        try:
            wait_for((base / "pid").exists, "Sendmail to start")
        except BaseException as error:
            said = (base / "out").read_text(errors="replace")
            self.__exit__()
            raise AssertionError(said) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(120)
