"""JSON lines: one object for each record, in the file that `[tracking] json_file` names.

Each line says which outbox (`source`) and number it comes from. After a kill the end of the file tells what it holds
already, so nothing is written twice, and nothing is missing; what had been written before a rotation is kept in a note
beside the tracking files.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.telling import name_lines
from gatepost.recorder.view import Batch
from gatepost.storage.log_file import is_current

TAIL_BYTES: Final = 16 * 1024 * 1024
"""End of the file that is read at a start: far more than was ever written since the last commit."""
NOTE_FILE: Final = "json-lines.note"


class _Line(msgspec.Struct):
    """What is read of a line."""

    source: str
    number: int


_LINES: Final = msgspec.json.Decoder(_Line)
_NOTES: Final = msgspec.json.Decoder(dict[str, int])
_ENCODER: Final = msgspec.json.Encoder()
_BEGINNING: Final = b'{"source":'
"""Of every line."""


class JsonView:
    """The file of JSON lines as a view of the records."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        """`say(level, text)` logs."""
        self._say = say
        self._fd = -1
        self._path = ""
        self._note = Path()
        self._written: dict[str, int] = {}
        """Outboxes, and the number up to which they were written."""
        self._lines: list[bytes] = []
        """By batch."""
        self._complained = False

    def configure(self, settings: RecorderSettings) -> None:
        """Open the file, anew after a rotation."""
        self.flush()
        self._note = Path(settings.directory) / NOTE_FILE
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path = settings.json_file
        if self._path:
            try:
                self._open()
            except OSError as error:
                self._complain(error)

    def _open(self) -> None:
        Path(self._path).parent.mkdir(0o755, parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            self._raise_to(_NOTES.decode(self._note.read_bytes()))
        self._raise_to(self._read_tail())

    def _raise_to(self, numbers: dict[str, int]) -> None:
        for source, number in numbers.items():
            self._written[source] = max(number, self._written.get(source, 0))

    def _read_tail(self) -> dict[str, int]:
        """Return the last numbers in the file. A line that was cut off by a kill is taken away, if it is one of ours:
        of a file that was something else before nothing is.
        """
        size = os.fstat(self._fd).st_size
        start = max(0, size - TAIL_BYTES)
        tail = os.pread(self._fd, TAIL_BYTES, start)
        whole = tail.rfind(b"\n") + 1
        torn = tail[whole:]
        if torn and (whole or not start) and (torn.startswith(_BEGINNING) or _BEGINNING.startswith(torn)):
            os.ftruncate(self._fd, start + whole)
        elif torn:
            os.write(self._fd, b"\n")
        found: dict[str, int] = {}
        for line in reversed(tail[:whole].splitlines()):
            with contextlib.suppress(msgspec.MsgspecError):
                seen = _LINES.decode(line)
                found.setdefault(seen.source, seen.number)
        return found

    def consume(self, batch: Batch) -> None:
        """Make lines of the records that are not in the file yet."""
        if not self._path:
            return
        done = self._written.get(batch.source, 0)
        last = batch.first + len(batch.records) - 1
        if last <= done:
            return
        skipped = max(0, done + 1 - batch.first)
        new = batch.records[skipped:] if skipped else batch.records
        self._lines.append(_ENCODER.encode_lines(name_lines(new, batch.source, batch.first + skipped, batch.shard)))
        self._written[batch.source] = last

    def flush(self) -> None:
        """Write the lines, and note how far they go."""
        if not self._lines:
            return
        if self._fd < 0 or not is_current(self._fd, self._path):
            self._open_again()
        if self._fd < 0:
            return  # kept, within what the recorder has not confirmed to the relays
        data = b"".join(self._lines)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fdatasync(self._fd)
            self._complained = False
        except OSError as error:
            self._complain(error)
        self._lines.clear()
        note = self._note.with_suffix(".new")
        with contextlib.suppress(OSError):
            note.write_bytes(_ENCODER.encode(self._written))
            note.replace(self._note)

    def _open_again(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        try:
            self._open()
        except OSError as error:
            self._lines.clear()
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            self._say("E", f"JSON lines: {self._path}: {error.strerror}: lines are lost until that is mended")

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
