"""The AV record: one line of eight fields for each scanned message, to a file or a TCP socket (F-LOG-10).

`Time Size Sender Recipients Status VirusList IP Message-id`, separated by TAB; the last three may be empty. A view of
the records (`recorder.view`): what is scanned is written at the next flush, at most a second later. When the target
cannot be reached the lines are lost, which the log tells with their number, and nothing else waits. After a kill of the
recorder lines of its last second may come twice.
"""

import contextlib
import datetime as dt
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from gatepost.model.record import Scanned
from gatepost.recorder.envelopes import Envelopes, Kept
from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.view import Batch
from gatepost.storage.log_file import is_current

FIELD_LIMIT: Final = 1000
"""Characters of a field: recipients and names beyond it are left out."""
CONNECT_S: Final = 3.0
"""Longest wait for the listener, to connect and to take lines."""
PAUSE_S: Final = 1.0
"""Between two tries to reach a listener that is down."""
PARCELS_LIMIT: Final = 64
"""Flushes that may wait for a slow listener: about a minute's."""
END_S: Final = 1.0
"""How long the end of the recorder waits for the last lines."""
TOLD_S: Final = 60.0
"""Pause between two words about lost lines."""

_NO_STATUS: Final = "not_checked"
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ADDRESS: Final = re.compile(r"(?:tcp:)?(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+):([0-9]{1,5})")

Say = Callable[[str, str], None]


def build_line(at: float, kept: Kept, statuses: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return a line with its end: eight fields, whatever the strangers' texts in them hold."""
    moment = dt.datetime.fromtimestamp(int(at), dt.UTC)
    fields = (
        f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        str(kept.size),
        join_field((kept.sender,)),
        join_field(kept.recipients),
        join_field(statuses),
        join_field(names),
        kept.ip,
        join_field((kept.message_id,)),
    )
    return "\t".join(fields) + "\n"


def join_field(values: tuple[str, ...]) -> str:
    """Return them in one field; those for which there is no room are left out."""
    text = ",".join(_CONTROLS.sub("?", value) for value in values)
    return text if len(text) <= FIELD_LIMIT else text[: FIELD_LIMIT - 1] + "…"


class Gathering:
    """Puts together what several records tell of a message. Bounded in memory."""

    def __init__(self) -> None:
        self._envelopes = Envelopes()
        self._scanned: list[Scanned] = []

    def take(self, batch: Batch) -> None:
        """Take records of one commit."""
        for record in batch.records:
            if isinstance(record, Scanned):
                if _NO_STATUS not in record.statuses:
                    self._scanned.append(record)
            else:
                self._envelopes.take(record)

    def lines(self) -> list[str]:
        """Return the lines of what was scanned, and forget it. What tells of it may have come after it."""
        lines = [
            build_line(record.at, self._envelopes.find(record.id, record.source), record.statuses, record.names)
            for record in self._scanned
        ]
        self._envelopes.forget([(record.id, record.source) for record in self._scanned])
        self._scanned.clear()
        return lines


class Target(Protocol):
    """Where lines go."""

    def write(self, lines: list[str]) -> None:
        """Write lines, or lose them; OSError says why. Does not block."""

    def close(self) -> None:
        """Let go of it."""


class FileTarget:
    """A file that is added to."""

    def __init__(self, path: str) -> None:
        """OSError when it cannot be opened."""
        Path(path).parent.mkdir(0o755, parents=True, exist_ok=True)
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)

    @property
    def current(self) -> bool:
        """It is still the file of that name: nobody has rotated or removed it."""
        return is_current(self._fd, self._path)

    def write(self, lines: list[str]) -> None:
        """Write lines in one go: others that add to the file do not get between them."""
        data = "".join(lines).encode("utf-8", "replace")
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


class TcpTarget:
    """A listener, written to by a thread of its own: nobody waits for it."""

    def __init__(self, host: str, port: int, lost: Callable[[int, str], None]) -> None:
        """`lost(lines, why)` is told of lines that nobody got, on any thread."""
        self._address = host, port
        self._lost = lost
        self._socket: socket.socket | None = None
        self._failed_at = -PAUSE_S
        self._why = ""
        self._parcels: queue.Queue[list[str] | None] = queue.Queue(PARCELS_LIMIT)
        self._thread = threading.Thread(target=self._work, name="av-record", daemon=True)
        self._thread.start()

    def write(self, lines: list[str]) -> None:
        """Hand lines over."""
        try:
            self._parcels.put_nowait(lines)
        except queue.Full:
            self._lost(len(lines), "the listener is too slow")

    def close(self) -> None:
        """Give the thread a moment to bring away what it has; what it has not even begun by then is lost. What it is
        at may take it as long as a connection may (CONNECT_S), and nobody waits for that.
        """
        with contextlib.suppress(queue.Full):
            self._parcels.put_nowait(None)
        self._thread.join(END_S)
        if self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                while True:
                    self._lost(len(self._parcels.get_nowait() or ()), "the listener is too slow")
            self._parcels.put_nowait(None)

    def _work(self) -> None:
        while (lines := self._parcels.get()) is not None:
            try:
                self._send("".join(lines).encode("utf-8", "replace"))
            except OSError as error:
                self._drop()
                self._failed_at = time.monotonic()
                self._why = error.strerror or str(error)
                self._lost(len(lines), self._why)
        self._drop()

    def _send(self, data: bytes) -> None:
        if self._socket is not None and _has_closed(self._socket):
            self._drop()
        if self._socket is None:
            if time.monotonic() - self._failed_at < PAUSE_S:
                raise OSError(0, self._why)
            self._socket = socket.create_connection(self._address, CONNECT_S)
        self._socket.sendall(data)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _has_closed(connected: socket.socket) -> bool:
    """Tell whether the other side has: what is written then would be lost without a word."""
    try:
        return connected.recv(4096, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def parse_target(text: str) -> tuple[str, int] | None:
    """Return host and port of a TCP target (`host:port`, `[address]:port`, with or without `tcp:`), None for a path."""
    found = None if text.startswith("/") else _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 65536:
        return None
    return found[1].strip("[]"), int(found[2])


class AvRecord:
    """The AV record as a view of the records."""

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        """`say(level, text)` logs, from any thread. `clock`: monotonic seconds."""
        self._say = say
        self._clock = clock
        self._name = ""
        self._target: Target | None = None
        self._gathering = Gathering()
        self._guard = threading.Lock()
        self._lost = 0
        self._told_at = -TOLD_S
        self.lost = 0
        """Lines that nobody got, since the recorder started."""

    def configure(self, settings: RecorderSettings) -> None:
        """Open the target, anew after a rotation."""
        self.flush()
        tcp = parse_target(settings.av_statistics)
        if self._target is not None and settings.av_statistics == self._name and tcp is not None:
            return
        self._let_go()
        self._name = settings.av_statistics
        if tcp is not None:
            self._target = TcpTarget(*tcp, self._lose)
        elif self._name:
            try:
                self._target = FileTarget(self._name)
            except OSError as error:
                self._lose(0, error.strerror or str(error))

    def consume(self, batch: Batch) -> None:
        """Take records."""
        if self._name:
            self._gathering.take(batch)

    def flush(self) -> None:
        """Write what was scanned."""
        if not self._name:
            return
        lines = self._gathering.lines()
        if not lines:
            return
        try:
            if isinstance(self._target, FileTarget) and not self._target.current:
                self._let_go()
            if self._target is None:
                self._target = FileTarget(self._name)
            self._target.write(lines)
        except OSError as error:
            self._lose(len(lines), error.strerror or str(error))

    def close(self) -> None:
        """Write what is left, and let go of the target."""
        self.flush()
        self._let_go()

    def _let_go(self) -> None:
        if self._target is not None:
            self._target.close()
            self._target = None

    def _lose(self, lines: int, why: str) -> None:
        """Count lines as lost, and say so now and then."""
        with self._guard:
            self.lost += lines
            self._lost += lines
            now = self._clock()
            if now - self._told_at < TOLD_S:
                return
            self._told_at = now
            number, self._lost = self._lost, 0
        self._say("W", f"AV record: {self._name}: {why}: {number} line(s) lost, mail goes on")
