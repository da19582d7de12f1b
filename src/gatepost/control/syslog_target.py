"""Lines to the system's log over its local socket (RFC 3164 §4.1, as glibc writes it). Used by `control.log`.

Promises: nobody waits. A daemon that is down or takes nothing more costs lines, and nothing else.
"""

import os
import socket
import syslog
import time
from typing import Final

SOCKET: Final = "/dev/log"
FACILITIES: Final = {
    "mail": syslog.LOG_MAIL,
    "user": syslog.LOG_USER,
    "daemon": syslog.LOG_DAEMON,
    "auth": syslog.LOG_AUTH,
    "authpriv": syslog.LOG_AUTHPRIV,
    "syslog": syslog.LOG_SYSLOG,
    **{f"local{number}": getattr(syslog, f"LOG_LOCAL{number}") for number in range(8)},
}
PRIORITIES: Final = {
    "F": syslog.LOG_CRIT,
    "E": syslog.LOG_ERR,
    "W": syslog.LOG_WARNING,
    "I": syslog.LOG_NOTICE,
    "A": syslog.LOG_INFO,
    "D": syslog.LOG_DEBUG,
}


class SyslogTarget:
    """One process's way to the system's log."""

    def __init__(self, facility: str, path: str = SOCKET) -> None:
        self._facility = FACILITIES.get(facility, syslog.LOG_MAIL)
        self._path = path
        self._socket: socket.socket | None = None

    def write(self, letter: str, text: str, now: float) -> None:
        """Write one line of this letter. `now`: Unix seconds. OSError when it is lost."""
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(now))
        head = f"<{self._facility | PRIORITIES[letter]}>{stamp} gatepost[{os.getpid()}]: "
        data = (head + text).encode("utf-8", "replace")
        if self._socket is not None:
            try:
                self._socket.send(data)
            except BlockingIOError:
                raise
            except OSError:
                self.close()  # the daemon was started anew
            else:
                return
        self._connect().send(data)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            connection.setblocking(False)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        return connection

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
